"""What is asked of this program, and its answers."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from tasks.onboarding.changing.filing import make_folder, put_file, undo_file, undo_folder
from tasks.onboarding.changing.interpreter import has_modules, make_venv, take_wheel, undo_tree
from tasks.onboarding.changing.journal import (
    JOURNAL,
    Change,
    Entry,
    Failed,
    Journal,
    Left,
    Work,
    alone,
    failures,
    remove,
    temporary,
)
from tasks.onboarding.changing.packages import configure_runtime, have_engine, install_packages, undo_packages
from tasks.onboarding.changing.server import tell_sshd, undo_sshd
from tasks.onboarding.changing.sessions import start_keeper, undo_keeper
from tasks.onboarding.changing.system import is_systemd, run
from tasks.onboarding.changing.users import (
    add_account,
    add_group,
    undo_account,
    undo_group,
    undo_membership,
)


def main() -> int:
    """Do what is asked, alone on this machine."""
    os.umask(0o022)
    request = json.loads(sys.stdin.buffer.readline())
    try:
        with failures(), alone():
            answer = ASKED[request["do"]](request)
    except Failed as failed:
        answer = {"refused": failed.code, "detail": failed.detail}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


def look(request: dict[str, Any]) -> dict[str, object]:
    """What each step would do."""
    journal = Journal()
    return {
        "steps": {
            step: answered(changes, Work(journal, is_dry=True)) for step, changes in request["steps"].items()
        }
    }


def change(request: dict[str, Any]) -> dict[str, object]:
    """Make the changes of one step."""
    return answered(request["changes"], Work(Journal(request["step"]), is_dry=False))


def answered(changes: list[Change], work: Work) -> dict[str, object]:
    """What was done, up to the first that can't be."""
    done: list[str] = []
    try:
        for wanted in changes:
            with failures():
                done += CHANGES[wanted["kind"]](wanted, work)
    except Failed as failed:
        return {"done": done, "code": failed.code, "detail": failed.detail}
    return {"done": done, "code": "", "detail": ""}


def undo(request: dict[str, Any]) -> dict[str, object]:
    """Undo one step backwards; an entry goes when its change is undone."""
    journal, undone = Journal(request["step"]), 0
    left: Left = []
    for entry in [e for e in reversed(journal.entries) if e["step"] == request["step"]]:
        try:
            with failures():
                left += UNDOES[entry["kind"]](entry)
        except (
            Failed
        ) as failed:  # it stays in the journal, with what it was built on: another undo may find the way free
            left.append((entry["key"], failed.detail))
            break
        journal.entries.remove(entry)
        journal.save()
        undone += 1
    return {"undone": undone, "left": left}


def forget(_: dict[str, Any]) -> dict[str, object]:
    """The journal itself goes last."""
    if not Journal().entries:
        if is_systemd():
            run(["systemctl", "daemon-reload"])
        remove([temporary(JOURNAL), JOURNAL])
    return {"undone": 0, "left": []}


ASKED = {"look": look, "change": change, "undo": undo, "forget": forget, "wheel": take_wheel}
CHANGES: Mapping[str, Callable[[Change, Work], list[str]]] = {
    "file": put_file,
    "folder": make_folder,
    "group": add_group,
    "account": add_account,
    "engine": have_engine,
    "packages": install_packages,
    "runtime": configure_runtime,
    "modules": has_modules,
    "venv": make_venv,
    "keeper": start_keeper,
    "sshd": tell_sshd,
}
UNDOES: Mapping[str, Callable[[Entry], Left]] = {
    "file": undo_file,
    "folder": undo_folder,
    "group": undo_group,
    "account": undo_account,
    "membership": undo_membership,
    "packages": undo_packages,
    "tree": undo_tree,
    "keeper": undo_keeper,
    "sshd": undo_sshd,
}
