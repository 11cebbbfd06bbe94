"""All targets of the fuzzer, by name."""

from __future__ import annotations

from collections.abc import Mapping

from tests.fuzz import http, parsers, planted, sessions
from tests.fuzz.target import Target

TARGETS: Mapping[str, Target] = {
    target.name: target for target in (*parsers.TARGETS, *http.TARGETS, *sessions.TARGETS)
}


def named(name: str) -> Target:
    """The target of this name, planted ones included; KeyError when there is none."""
    return {**TARGETS, **{target.name: target for target in planted.TARGETS}}[name]
