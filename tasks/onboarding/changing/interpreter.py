"""The prover's Python: an environment of ours, beside the system's."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from tasks.onboarding.changing.filing import kept, refuse_read_only
from tasks.onboarding.changing.journal import (
    WORDS,
    Change,
    Entry,
    Failed,
    Journal,
    Left,
    Work,
    remove,
    replace_whole,
)
from tasks.onboarding.changing.packages import install_packages
from tasks.onboarding.changing.system import delete, run

PIP_S = 1_500
MARK = ".modules"
"""Of an environment that is whole."""


def has_modules(wanted: Change, _: Work) -> list[str]:
    """Nothing is done to an interpreter of the owner's: it has what the prover imports, or not."""
    python, imports = wanted["python"], ", ".join(wanted["imports"])
    done = run([python, "-I", "-c", f"import {imports}"])
    if done.returncode != 0:
        raise Failed("PROVER_MISSING", f"{python} can't import {imports}: {done.stdout[-WORDS:]}")
    return []


def make_venv(wanted: Change, work: Work) -> list[str]:
    """An environment of ours with these modules, whole; one of the owner's that lacks some is left alone."""
    folder, mark = wanted["folder"], f"{wanted['folder']}/{MARK}"
    own, text = f"{folder}/bin/python", "\n".join(wanted["modules"]) + "\n"
    begun = work.journal.find("tree", folder)
    if begun and kept(mark) and Path(mark).read_text() == text:
        return []
    if os.path.lexists(folder) and not begun:
        if run([own, "-I", "-c", f"import {', '.join(wanted['imports'])}"]).returncode == 0:
            return []
        raise Failed("PYTHON_NOT_OURS", f"there is a {folder} without {', '.join(wanted['imports'])}")
    refuse_read_only(folder)
    if run([wanted["python"], "-I", "-c", "import ensurepip"]).returncode != 0:
        install_packages({"names": [wanted["package"]], "data": []}, work)
    if work.is_dry:
        return [own]
    work.journal.note("tree", folder)
    wheels = wheels_of(folder)
    clear(folder, wheels if wanted["has_wheels"] else "")
    scratch = f"{folder}/.scratch"  # within the tree that is ours: what a killed pip leaves goes with it
    done = run([wanted["python"], "-I", "-m", "venv", folder], PIP_S, scratch=scratch)
    if done.returncode != 0:
        raise Failed("PYTHON_FAILED", done.stdout[-WORDS:])
    source = ["--no-index", "--find-links", wheels] if wanted["has_wheels"] else []
    options = ["--disable-pip-version-check", "--no-input", "--no-cache-dir", "--quiet", *source]
    done = run([own, "-I", "-m", "pip", "install", *options, *wanted["modules"]], PIP_S, scratch=scratch)
    if done.returncode != 0:
        raise Failed("PIP_FAILED", done.stdout[-WORDS:])
    delete(wheels)
    delete(scratch)
    replace_whole(mark, text.encode(), 0o644)
    return [own]


def clear(folder: str, but: str) -> None:
    """Nothing of an environment that was begun, but this; its mark goes first."""
    if Path(folder).is_dir():
        remove([f"{folder}/{MARK}"])
        for child in Path(folder).iterdir():
            if str(child) != but:
                delete(str(child))


def wheels_of(folder: str) -> str:
    """Where packages that are handed over lie until they are installed: within what is ours."""
    return f"{folder}/.wheels"


def take_wheel(request: dict[str, Any]) -> dict[str, object]:
    """A package of the miner's, which stands after the request."""
    folder, wheels, journal = request["folder"], wheels_of(request["folder"]), Journal(request["step"])
    if os.path.lexists(folder) and not journal.find("tree", folder):
        raise Failed("PYTHON_NOT_OURS", f"there is a {folder} already")
    refuse_read_only(folder)
    journal.note("tree", folder)
    Path(wheels).mkdir(parents=True, exist_ok=True)
    with Path(wheels, request["name"]).open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return {"done": [request["name"]], "code": "", "detail": ""}


def undo_tree(entry: Entry) -> Left:
    """Away with all of it."""
    delete(entry["key"])
    return []
