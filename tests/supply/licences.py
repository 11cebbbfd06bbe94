"""Whether we may use what we use: every locked package's licence, from the metadata it is installed with.

    python -m tests.supply.licences         a line a package that has none we know; exit code 1 when there is any

A licence is an SPDX expression. Of alternatives (OR) one has to be allowed, of what holds together (AND) all. What is not
allowed by its licence may be by name, with a reason, and then for work on this repository alone unless it says so.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from types import MappingProxyType

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from tests.supply.locked import IMAGE_LOCK, LOCK, locked

ALLOWED = frozenset(
    [
        "0BSD",
        "Apache-2.0",
        "Artistic-1.0-Perl",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "CNRI-Python",
        "ISC",
        "LicenseRef-Public-Domain",
        "LLVM-exception",
        "MIT",
        "MIT-0",
        "MIT-CMU",
        "MPL-2.0",
        "PSF-2.0",
        "Python-2.0",
        "Unlicense",
        "ZPL-2.1",
        "Zlib",
    ]
)
"""Licences that ask for a notice at most, and MPL-2.0, which asks for changes of its own files alone."""


@dataclass(frozen=True, slots=True)
class Excepted:
    """A package that may be used though its licence is none of the allowed."""

    licence: str
    """As its metadata has it: with another one it is no exception any more."""
    why: str
    runs: bool = False
    """Also in what is released; else for work on this repository alone."""


EXCEPTIONS: Mapping[str, Excepted] = MappingProxyType(
    {
        "paramiko": Excepted(
            "LGPL-2.1", "a library, imported as it is: whoever has it may exchange it", runs=True
        ),
        "psycopg": Excepted(
            "LGPL-3.0-only", "the same; only who keeps the state on PostgreSQL installs it", runs=True
        ),
        "psycopg-binary": Excepted("LGPL-3.0-only", "the same", runs=True),
        "asyncssh": Excepted("EPL-2.0 OR GPL-2.0-or-later", "taken under the EPL-2.0, unchanged", runs=True),
        "text-unidecode": Excepted(
            "Artistic License AND GNU General Public License (GPL) AND GNU General Public License v2 or later (GPLv2+)",
            "the classifiers name alternatives; taken under the Artistic licence, unchanged",
            runs=True,
        ),
        "axe-playwright-python": Excepted(
            "", "MIT, by the licence that lies in it; the axe-core in it is MPL-2.0"
        ),
        "cuda-toolkit": Excepted("", "an empty package that names NVIDIA's"),
        **{
            f"nvidia-{name}": Excepted(
                "LicenseRef-NVIDIA-Proprietary", "NVIDIA's compiler, by its terms; nothing of it is passed on"
            )
            for name in (
                "cuda-cccl",
                "cuda-crt",
                "cuda-nvcc",
                "cuda-nvrtc",
                "cuda-runtime",
                "nvjitlink",
                "nvvm",
            )
        },
    }
)
_CLASSIFIED = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Public Domain": "LicenseRef-Public-Domain",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "Zope Public License": "ZPL-2.1",
}
_TOLD = {
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "MIT License": "MIT",
}
"""How those write it who use no classifier and no SPDX."""
_TOKENS = re.compile(r"[()]|[^\s()]+")


def licence_of(about: PackageMetadata) -> str:
    """What a package's metadata say, as an SPDX expression where they can be read as one; empty when they say nothing.

    Several classifiers hold together: which of them may be chosen, nobody can tell.
    """
    told = about["License-Expression"] or (about["License"] or "").strip()
    spdx = _spdx(_TOLD.get(told, told))
    if spdx:
        return spdx
    names = [line.rsplit(" :: ", 1)[-1] for line in about.get_all("Classifier") or [] if _names_one(line)]
    return " AND ".join(dict.fromkeys(_CLASSIFIED.get(name, name) for name in names))


def is_allowed(licence: str, allowed: frozenset[str] = ALLOWED) -> bool:
    """Whether an SPDX expression can be met by allowed licences alone; what can't be read is not allowed."""
    if not _spdx(licence):
        return False
    tokens = _TOKENS.findall(licence)
    found = _either(tokens, allowed)
    return found and not tokens


def is_spdx(licence: str) -> bool:
    """Whether it can be read as an SPDX expression."""
    return bool(_spdx(licence))


def fault_of(name: str, about: PackageMetadata, *, runs: bool) -> str:
    """Why a package may not be used; empty: it may. `runs`: it is in what is released."""
    licence = licence_of(about)
    excepted = EXCEPTIONS.get(name)
    if is_allowed(licence):
        return ""
    if excepted is None or excepted.licence != licence:
        return f"its licence is {licence or 'not told'}"
    return "its exception is for work on this repository alone" if runs and not excepted.runs else ""


def faults() -> dict[str, str]:
    """Of the locked packages that are installed here, those that may not be used, each with why."""
    running = {one.name for one in locked(IMAGE_LOCK.read_text())}
    found = {}
    for one in locked(LOCK.read_text()):
        try:
            found[one.name] = fault_of(one.name, metadata(one.name), runs=one.name in running)
        except PackageNotFoundError:
            if one.marker is None or one.marker.evaluate():
                found[one.name] = "it is not installed here: run `make setup`"
    return {name: fault for name, fault in found.items() if fault}


def _spdx(text: str) -> str:
    try:
        return str(canonicalize_license_expression(text)) if text else ""
    except InvalidLicenseExpression:
        return ""


def _names_one(classifier: str) -> bool:
    return classifier.startswith("License :: ") and classifier != "License :: OSI Approved"


def _either(tokens: list[str], allowed: frozenset[str]) -> bool:
    found = _both(tokens, allowed)
    while tokens and tokens[0] == "OR":
        tokens.pop(0)
        found = _both(tokens, allowed) or found
    return found


def _both(tokens: list[str], allowed: frozenset[str]) -> bool:
    found = _one(tokens, allowed)
    while tokens and tokens[0] in {"AND", "WITH"}:
        tokens.pop(0)
        found = _one(tokens, allowed) and found
    return found


def _one(tokens: list[str], allowed: frozenset[str]) -> bool:
    token = tokens.pop(0)
    if token != "(":
        return token in allowed
    found = _either(tokens, allowed)
    tokens.pop(0)
    return found


if __name__ == "__main__":
    wrong = faults()
    for package, fault in wrong.items():
        print(f"{package}: {fault}")
    print(
        f"{len(locked(LOCK.read_text()))} packages, {len(EXCEPTIONS)} exceptions, {len(wrong)} that may not be used"
    )
    sys.exit(bool(wrong))
