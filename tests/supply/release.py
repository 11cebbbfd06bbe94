"""A release: looked at, built twice over to the same bytes, summed up, and tagged. Nothing is uploaded, and nobody fetches it by itself.

    python -m tests.supply.release 1.2.3       into .local/release/1.2.3; `make release VERSION=1.2.3`

    compute_subnet-1.2.3-py3-none-any.whl      the packages
    compute_subnet-1.2.3.tar.gz                the whole tree of the commit, locks and tests included
    compute-subnet-1.2.3[-development].cdx.json  what it brings (tests/supply/bom.py)
    SHA256SUMS                                 of all these

Times in the files are the commit's, so that whoever builds the tag gets the same bytes and may compare.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.supply import bom, licences
from tests.supply.locked import REPOSITORY

SUMS = "SHA256SUMS"
_VERSION = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}")


@dataclass(frozen=True, slots=True)
class Tree:
    """What is looked at before a release."""

    version: str
    """Of pyproject.toml."""
    changelog: str
    changed: str
    """What git has as changed or unknown; empty: the tree is the commit."""
    tags: frozenset[str]


def faults(tree: Tree, wanted: str) -> Iterator[str]:
    """What stands against releasing this tree as that version."""
    if not _VERSION.fullmatch(wanted):
        yield f"{wanted!r} is no version: three numbers such as 1.2.3"
        return
    if tree.version != wanted:
        yield f"pyproject.toml has version {tree.version}: change it, and run `make setup`"
    sections = _sections(tree.changelog)
    heading = next((name for name in sections if name.partition(" ")[0] == wanted), None)
    if heading is None or not re.fullmatch(
        rf"{re.escape(wanted)} - [0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}", heading
    ):
        yield f"CHANGELOG.md has no heading `## {wanted} - YYYY-MM-DD`"
    elif not sections[heading].strip():
        yield f"CHANGELOG.md says nothing of {wanted}"
    if re.search(r"^- ", sections.get("Unreleased", ""), re.MULTILINE):
        yield f"CHANGELOG.md has entries under Unreleased: move them below {wanted}"
    if tree.changed:
        yield f"the tree is not the commit: {tree.changed.splitlines()[0].strip()} and whatever else `git status` shows"
    if f"v{wanted}" in tree.tags:
        yield f"v{wanted} is tagged already"


def looked_at(root: Path) -> Tree:
    """This repository."""
    return Tree(
        tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"],
        (root / "CHANGELOG.md").read_text(),
        _git(root, "status", "--porcelain").decode(),
        frozenset(_git(root, "tag", "--list").decode().split()),
    )


def build(root: Path, folder: Path) -> list[Path]:
    """Wheel and source of the commit that is checked out; the same commit gives the same bytes."""
    moment = int(_git(root, "show", "--no-patch", "--format=%ct", "HEAD"))
    archive = _git(root, "archive", "--format=tar", "HEAD")
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name) / "tree"
        with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
            packed.extractall(tree, filter="data")
        wheel = _wheel(tree, folder, moment)
    return [wheel, _source(archive, wheel, folder, moment)]


def summed(paths: list[Path]) -> str:
    """As sha256sum writes and reads it."""
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(paths)
    )


def release(root: Path, wanted: str) -> list[Path]:
    """All files. SystemExit with what stands against it."""
    wrong = [*faults(looked_at(root), wanted), *(f"{n}: {why}" for n, why in licences.faults().items())]
    if wrong:
        raise SystemExit("\n".join(f"not released: {one}" for one in wrong))
    folder = root / ".local/release" / wanted
    folder.mkdir(parents=True, exist_ok=True)
    paths = [*build(root, folder), *bom.write(folder)]
    (folder / SUMS).write_text(summed(paths))
    signing = "-s" if _is_signing(root) else "-a"
    _git(root, "tag", signing, f"v{wanted}", "--message", f"{wanted}\n\n{summed(paths)}")
    return [*paths, folder / SUMS]


def _sections(changelog: str) -> dict[str, str]:
    parts = re.split(r"^## (.+)$", changelog, flags=re.MULTILINE)
    return dict(zip((name.strip() for name in parts[1::2]), parts[2::2], strict=True))


def _wheel(tree: Path, folder: Path, moment: int) -> Path:
    """By setuptools as it is installed here: nothing is fetched."""
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(moment), "PYTHONHASHSEED": "0"}
    build_it = "import sys, setuptools.build_meta as b; print(b.build_wheel(sys.argv[1]), file=sys.stderr)"
    command = [sys.executable, "-c", build_it, str(folder.absolute())]
    done = subprocess.run(command, cwd=tree, env=environment, check=True, capture_output=True, text=True)
    return folder / done.stderr.strip().splitlines()[-1]


def _source(archive: bytes, wheel: Path, folder: Path, moment: int) -> Path:
    """The commit's tree with the metadata that make it a source distribution."""
    base = "-".join(wheel.name.split("-")[:2])
    with zipfile.ZipFile(wheel) as packed:
        about = packed.read(f"{base}.dist-info/METADATA")
    sink = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive)) as tree,
        tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as packed,
    ):
        for member in tree.getmembers():
            member.name, member.mtime, member.pax_headers = f"{base}/{member.name}", moment, {}
            packed.addfile(member, tree.extractfile(member) if member.isfile() else None)
        added = tarfile.TarInfo(f"{base}/PKG-INFO")
        added.size, added.mtime = len(about), moment
        packed.addfile(added, io.BytesIO(about))
    path = folder / f"{base}.tar.gz"
    path.write_bytes(gzip.compress(sink.getvalue(), 9, mtime=moment))
    return path


def _is_signing(root: Path) -> bool:
    found = subprocess.run(["git", "config", "user.signingkey"], cwd=root, check=False, capture_output=True)
    return bool(found.stdout.strip())


def _git(root: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True).stdout


if __name__ == "__main__":
    for path in release(REPOSITORY, sys.argv[1]):
        print(path)
    print(f"tagged v{sys.argv[1]}; nothing was uploaded: tag and files are yours to pass on")
