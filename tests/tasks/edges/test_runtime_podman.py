"""Podman by the same calls as Docker: a container's whole life, its volume, a private image."""

import io
import random

import pytest

from deployments.localnet.engine import plain_root
from tasks.edges.bounded import Bounds
from tasks.edges.engine import RegistryLogin
from tasks.edges.shell import Shell, ShellSettings
from tasks.edges.toolbox import keys_file, keys_seed
from tasks.errors import ContainerRefused, ImageRefused, VolumeRefused
from tasks.renting.containers import Mount
from tests import registries
from tests.deployments.localnet.visiting import wait_for
from tests.engines import PLAIN, executor, soon
from tests.tasks.edges.rented import Renter, fill, members, rented, spec

pytestmark = pytest.mark.xdist_group("engine")


@pytest.fixture(scope="module")
def runtime(podman, tmp_path_factory):
    roomy = Shell(ShellSettings(bounds=Bounds.for_bytes(256 << 20, 900.0)))
    with podman.runtime(tmp_path_factory.mktemp("machine"), shell=roomy) as runtime:
        yield runtime


@pytest.fixture(scope="module")
def renter(tmp_path_factory):
    return Renter(tmp_path_factory.mktemp("renter"))


def test_a_container_from_making_to_removing(podman, runtime, renter):
    """Made, logged into through its published port, its card and variable seen, stopped, started, gone."""
    wanted = spec(
        words=("sh", "-c", "echo hello; exec sleep 1000000"),
        environment={"ODD": "a 'b' $(id)"},
        mounts=(Mount("data", "/data"),),
        memory_bytes=64 << 20,
        cpus=0.5,
    )
    with rented(podman, runtime, wanted, renter, is_started=False) as box:
        assert runtime.inspect(box.name, deadline=soon()).started_at is None
        runtime.start(box.name, deadline=soon())
        told = box.ssh(renter, 'echo "$ODD"; nvidia-smi -L; echo kept > /data/file')
        assert told.stdout.splitlines() == [
            "a 'b' $(id)",
            f"GPU 0: {executor().model} (UUID: {wanted.card_uuids[0]})",
        ]
        running = runtime.inspect(box.name, deadline=soon())
        assert (running.status, running.ports, running.attempt) == ("running", wanted.ports, 1)
        assert running.started_at is not None
        assert [c.name for c in runtime.containers(deadline=soon())] == [box.name]
        assert runtime.logs(box.name, deadline=soon()).stdout == b"hello\n"
        assert (
            runtime.execute(box.name, ["sh", "-c", "cat; exit 3"], stdin=b"in", deadline=soon()).exit_code
            == 3
        )
        used = runtime.stats(box.name, deadline=soon())
        assert used.pids >= 4
        assert used.memory_limit_bytes == pytest.approx(64 << 20, rel=0.01)
        runtime.put_keys(box.name, keys_seed([]), keys_file([]), deadline=soon())
        assert "Permission denied" in box.ssh(renter, "true").stderr
        runtime.stop(box.name, 5, deadline=soon())
        runtime.put_keys(box.name, keys_seed([renter.key]), keys_file([renter.key]), deadline=soon())
        assert runtime.inspect(box.name, deadline=soon()).status == "exited"
        with pytest.raises(ContainerRefused, match="NOT_RUNNING"):
            runtime.execute(box.name, ["true"], deadline=soon())
        runtime.start(box.name, deadline=soon())
        assert box.ssh(renter, "cat /data/file").stdout == "kept\n"
        (volume,) = runtime.volumes(deadline=soon())
        with pytest.raises(VolumeRefused, match="IN_USE"):
            runtime.remove_volume(volume.name, deadline=soon())
        runtime.remove(box.name, deadline=soon())
        runtime.remove(box.name, deadline=soon())
        assert runtime.inspect(box.name, deadline=soon()) is None
    saved, again = [], []
    runtime.backup_volume(volume.name, saved.append, limit_bytes=1 << 20, deadline=soon())
    other = runtime.create_volume("r-1", "other", deadline=soon())
    runtime.restore_volume(other, saved, deadline=soon())
    runtime.backup_volume(other, again.append, limit_bytes=1 << 20, deadline=soon())
    assert b"kept\n" in b"".join(again)
    for name in (volume.name, other):
        runtime.remove_volume(name, deadline=soon())
        runtime.remove_volume(name, deadline=soon())
    assert runtime.volumes(deadline=soon()) == ()


def test_making_it_twice_makes_one(podman, runtime):
    """A retry finds what the first try has made."""
    wanted = spec(mounts=(Mount("data", "/data"),))
    with rented(podman, runtime, wanted, is_started=False) as box:
        image = runtime.image(PLAIN, deadline=soon())
        toolbox = podman.run("inspect", "--format={{range .Mounts}}{{.Source}} {{end}}", box.name).split()[-1]
        runtime.create(wanted, image, toolbox, deadline=soon())
        assert runtime.inspect(box.name, deadline=soon()) == box.container
    runtime.remove_volume(runtime.volumes(deadline=soon())[0].name, deadline=soon())


def test_words_arrive_as_they_are(podman, runtime):
    """Options, quotes and line breaks are the words of the container's program."""
    words = ["--privileged", "$(id)", "a\nb", "'\"", "{{json .}}", "", "é\u202e"]
    script = 'for w in "$@"; do printf "%s\\0" "$w"; done > /words; exec sleep 1000000'
    with rented(podman, runtime, spec(words=("sh", "-c", script, "sh", *words))) as box:
        wanted = b"".join(w.encode() + b"\0" for w in words)
        assert wait_for(
            lambda: runtime.execute(box.name, ["cat", "/words"], deadline=soon()).stdout == wanted
        )


def test_a_volume_moves_between_engines(podman, docker, runtime, tmp_path):
    """Saved by Docker and restored by Podman, and back: the same files, links that lead out and all."""
    tree, saved, moved, back = io.BytesIO(), [], [], []
    fill(tree, random.Random(5))
    with docker.runtime(
        tmp_path, shell=Shell(ShellSettings(bounds=Bounds.for_bytes(256 << 20, 900.0)))
    ) as other:
        here, there = (r.create_volume("r-1", "moving", deadline=soon()) for r in (other, runtime))
        other.restore_volume(here, [tree.getvalue()], deadline=soon())
        other.backup_volume(here, saved.append, limit_bytes=64 << 20, deadline=soon())
        runtime.restore_volume(there, saved, deadline=soon())
        runtime.backup_volume(there, moved.append, limit_bytes=64 << 20, deadline=soon())
        again = other.create_volume("r-1", "again", deadline=soon())
        other.restore_volume(again, moved, deadline=soon())
        other.backup_volume(again, back.append, limit_bytes=64 << 20, deadline=soon())
        for name in (here, again):
            other.remove_volume(name, deadline=soon())
    runtime.remove_volume(there, deadline=soon())

    before, after = members(b"".join(saved)), members(b"".join(back))
    assert len(before) > 100
    assert before.pop("volume")[1] == 0o711
    assert after.pop("volume")[1] == 0o755  # Podman does not save the mode of the volume itself
    assert after == before


def test_a_private_registry(podman, runtime):
    """Let in with the login, kept out with a wrong one; an unknown image is told as such."""
    with registries.serving(plain_root(), password="right") as registry:
        for password, code in (("wrong", "IMAGE_DENIED"), ("right", "IMAGE_NOT_FOUND")):
            login = RegistryLogin(registry.address, "renter", password)
            with pytest.raises(ImageRefused) as refused:
                runtime.pull(registry.reference(tag="none"), login, deadline=soon())
            assert refused.value.code == code
        image = runtime.pull(f"{registry.address}/team/image@{registry.digest}", login, deadline=soon())

    assert image.digests
    assert image.size_bytes > 1_000_000
