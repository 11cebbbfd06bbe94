"""Saved volumes of one engine in the other's form: nothing but the beginning of names changes."""

import io
import os
import random
import tarfile

import pytest

from tasks.edges.volume_tar import PODMAN_MARK, rooted
from tasks.errors import VolumeRefused


def packed(root, *, form=tarfile.PAX_FORMAT):
    """As an engine saves it: Podman's has a mark of ours and no root, not even when a folder is called as Docker's."""
    return PODMAN_MARK * (root == "") + tree(root, form)


def tree(root, form):
    """A small tree with every kind of member: folders, files, links of both kinds, a pipe, long and odd names."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as archive:

        def add(name, kind, content=b"", **fields):
            member = tarfile.TarInfo(f"{root}{name}".lstrip("/"))
            member.type, member.size = kind, len(content)
            for key, value in fields.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(content))

        if root:
            add("", tarfile.DIRTYPE, mode=0o711)
        else:
            add("/volume", tarfile.DIRTYPE, mode=0o700)
        add("/d", tarfile.DIRTYPE, mode=0o1777, uid=1_000)
        add("/d/f", tarfile.REGTYPE, os.urandom(300_001), mode=0o4755, mtime=1_500_000_000, uname="me")
        add("/empty", tarfile.REGTYPE)
        add(f"/{'long/' * 60}name", tarfile.REGTYPE, b"x" * 512)
        add("/é\u202e$(id) --x", tarfile.REGTYPE, b"y")
        add("/volume/volume", tarfile.REGTYPE, b"z")
        add("/soft", tarfile.SYMTYPE, linkname="../../volume/d/f")
        add("/hard", tarfile.LNKTYPE, linkname=f"{root}/d/f".lstrip("/"))
        add("/pipe", tarfile.FIFOTYPE)
    return target.getvalue()


def told(archive):
    """All that a tar says of its members, in their order."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return [
            (
                m.name.strip("/"),
                m.type,
                m.mode,
                m.uid,
                m.mtime,
                m.uname,
                m.linkname.strip("/"),
                tar.extractfile(m).read() if m.isreg() else b"",
            )
            for m in tar
        ]


@pytest.mark.parametrize("size", [1, 7, 512, 100_000])
@pytest.mark.parametrize("root", ["volume", ""])
def test_its_own_form_passes_as_it_is(root, size):
    """Byte for byte, however it is cut."""
    archive = packed(root)
    if size == 1:
        archive = archive[:70_000] + bytes(1_024)
    pieces = [archive[i : i + size] for i in range(0, len(archive), size)]

    assert b"".join(rooted(pieces, root)) == archive.removeprefix(PODMAN_MARK)


@pytest.mark.parametrize("size", [7, 512, 100_000])
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize(("root", "at"), [("volume", ""), ("", "volume")])
def test_the_other_form_is_written_anew(root, at, form, size):
    """Names and hard links begin otherwise; contents, modes, owners, times and soft links are what they were."""
    archive = packed(root, form=form)
    pieces = [archive[i : i + size] for i in range(0, len(archive), size)]
    moved = told(b"".join(rooted(pieces, at)))

    def inner(members, start):
        found = {m[0].removeprefix(start).strip("/"): m[1:-2] + m[-1:] for m in members}
        found.pop("", None)
        return found

    assert inner(moved, at) == inner(told(archive), root)
    links = {name: link for name, *_, link, _ in moved if link}
    assert links == {
        f"{at}/soft".strip("/"): "../../volume/d/f",
        f"{at}/hard".strip("/"): f"{at}/d/f".strip("/"),
    }


NO_VOLUMES = {
    "nothing": b"",
    "text": b"no tar",
    "zeros": bytes(10_240),
    "noise": random.Random(1).randbytes(5_000),
}


@pytest.mark.parametrize("archive", NO_VOLUMES.values(), ids=NO_VOLUMES)
def test_what_is_no_saved_volume_is_refused_at_once(archive):
    """Before a byte of it is sent anywhere."""
    with pytest.raises(VolumeRefused):
        rooted([archive], "volume")


def test_another_folder_is_no_volume():
    """A stream whose names begin otherwise was not saved from a volume."""
    with pytest.raises(VolumeRefused, match="saved volume"):
        rooted([packed("etc")], "volume")
