"""A release: what stands against one, and that whoever builds the tag again gets the same bytes."""

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import replace

import pytest

from tests.supply.locked import REPOSITORY
from tests.supply.release import SUMS, Tree, build, faults, looked_at, summed

GOOD = Tree(
    "1.2.3",
    "# Changelog\n\n## Unreleased\n\n## 1.2.3 - 2026-11-27\n\n- Something.\n",
    "",
    frozenset({"v1.2.2"}),
)


def test_a_tree_that_is_ready_has_nothing_against_it():
    """Version, changelog, a clean tree and no such tag."""
    assert list(faults(GOOD, "1.2.3")) == []


@pytest.mark.parametrize(
    ("changes", "wanted", "fault"),
    [
        ({}, "1.2", "is no version"),
        ({}, "v1.2.3", "is no version"),
        ({"version": "1.2.2"}, "1.2.3", "pyproject.toml has version 1.2.2"),
        ({"changelog": "# Changelog\n\n## Unreleased\n"}, "1.2.3", "has no heading"),
        ({"changelog": "## 1.2.3\n\n- Something.\n"}, "1.2.3", "has no heading"),
        (
            {"changelog": "## 1.2.3 - 2026-11-27\n\n## 1.2.2 - 2026-11-01\n\n- Old.\n"},
            "1.2.3",
            "says nothing of",
        ),
        (
            {"changelog": GOOD.changelog.replace("Unreleased\n", "Unreleased\n\n- New.\n")},
            "1.2.3",
            "under Unreleased",
        ),
        ({"changed": " M README.md\n"}, "1.2.3", "the tree is not the commit"),
        ({"tags": frozenset({"v1.2.3"})}, "1.2.3", "tagged already"),
    ],
)
def test_what_is_not_ready_is_named(changes, wanted, fault):
    """Each with what to do about it."""
    found = list(faults(replace(GOOD, **changes), wanted))

    assert len(found) == 1
    assert fault in found[0]


def test_this_trees_changelog_and_version_can_be_read():
    """The version has three numbers, and what is new stands under Unreleased until it is released."""
    tree = looked_at(REPOSITORY)

    assert tree.version.count(".") == 2
    assert "## Unreleased" in tree.changelog


def test_sums_are_as_sha256sum_reads_them(tmp_path):
    """In the order of names."""
    for name in ("b.whl", "a.tar.gz"):
        (tmp_path / name).write_text(name)
    (tmp_path / SUMS).write_text(summed([tmp_path / "b.whl", tmp_path / "a.tar.gz"]))
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", SUMS], cwd=tmp_path, capture_output=True, check=True
    )

    assert done.stdout == b"a.tar.gz: OK\nb.whl: OK\n"


@pytest.mark.long
def test_a_release_can_be_made_again_byte_for_byte(tmp_path):
    """Of a clone: released once, refused a second time, and whoever builds the tag gets the same wheel and source. The wheel
    has all that is tracked in our packages, and runs.
    """
    clone = tmp_path / "clone"
    run("git", "clone", "--quiet", str(REPOSITORY), str(clone), cwd=tmp_path)
    wanted = "9.8.7"
    edit(clone / "pyproject.toml", 'version = "0.1.0"', f'version = "{wanted}"')
    edit(clone / "CHANGELOG.md", "## Unreleased\n", f"## Unreleased\n\n## {wanted} - 2026-11-27\n")
    run(
        "git",
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b",
        "commit",
        "--quiet",
        "--all",
        "--message",
        "x",
        cwd=clone,
    )
    first = release(clone, wanted)
    second = release(clone, wanted)
    made = clone / ".local/release" / wanted
    again = build(clone, tmp_path)

    assert first.returncode == 0, first.stderr
    assert second.returncode != 0
    assert "tagged already" in second.stderr
    assert {path.name for path in made.iterdir()} >= {SUMS, *(path.name for path in again)}
    for path in again:
        assert digest(path) == digest(made / path.name)
    run("sha256sum", "--check", "--strict", SUMS, cwd=made)
    assert wanted in run("git", "tag", "--list", "--format", "%(contents)", f"v{wanted}", cwd=clone)
    tracked = run("git", "ls-files", "flows", "tasks", "kernels", "storage", "deployments", cwd=clone).split()
    with zipfile.ZipFile(again[0]) as wheel:
        assert set(tracked) <= set(wheel.namelist())
        wheel.extractall(tmp_path / "installed")
    told = run(
        sys.executable,
        "-c",
        "from deployments.cli import main; main()",
        "--version",
        cwd=tmp_path / "installed",
    )
    assert wanted in told


def release(clone, wanted):
    """As `make release` does."""
    identity = {
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
    }
    command = [sys.executable, "-m", "tests.supply.release", wanted]
    return subprocess.run(command, cwd=clone, env=identity, capture_output=True, text=True, check=False)


def run(*command, cwd):
    """What it prints."""
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


def edit(path, old, new):
    """One replacement."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def digest(path):
    """SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
