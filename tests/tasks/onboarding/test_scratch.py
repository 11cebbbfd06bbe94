"""Temporary files of programs that are run on a miner's machine: where we can take them away again."""

from pathlib import Path

from tasks.onboarding.changing.system import run


def test_they_lie_in_the_folder_that_is_named(tmp_path):
    """A program that is killed leaves them: in a tree of ours they go with it."""
    scratch = tmp_path / "ours" / ".scratch"

    told = run(["/bin/sh", "-c", 'echo left > "$TMPDIR/half"; kill -9 $$'], scratch=str(scratch))

    assert told.returncode == -9
    assert Path(scratch / "half").read_text() == "left\n"
    assert scratch.stat().st_mode & 0o777 == 0o700


def test_without_one_they_are_where_the_machine_has_them(tmp_path, monkeypatch):
    """The machine's own setting is kept."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    assert run(["/bin/sh", "-c", 'echo "$TMPDIR"']).stdout == f"{tmp_path}\n"
