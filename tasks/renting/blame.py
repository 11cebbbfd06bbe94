"""What a container engine's words mean, and whose fault it is. Pure.

    code_of("manifest unknown", "image") -> "IMAGE_NOT_FOUND";  party_of(error) -> Party.RENTER

The words are a machine's own: they choose among our codes and nothing else, and a machine that lies about them
gains a lease that fails elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from storage.rental import Party
from tasks.errors import (
    EngineAway,
    EngineRefused,
    HostAway,
    HostileAnswer,
    ImageRefused,
    ProofRefused,
    SpecRefused,
    StepFailed,
    SubnetError,
)

About = Literal["image", "container", "volume"]
Meanings = tuple[tuple[str, str], ...]

_ANY: Meanings = (
    ("ENGINE_DOWN", r"connect to the docker daemon|is the docker daemon running|docker\.sock|podman\.sock"),
    ("NO_SPACE", r"no space left on device|disk quota exceeded"),
)
_IMAGE: Meanings = (
    ("RATE_LIMITED", r"toomanyrequests|too many requests|pull rate limit"),
    ("IMAGE_DENIED", r"unauthorized|access denied|no basic auth|authentication required|\b40[13]\b|denied:"),
    ("IMAGE_NOT_FOUND", r"manifest unknown|name unknown|no such image|image not known|\b404\b|not found"),
    ("WRONG_PLATFORM", r"no matching manifest|no image found in .* for (architecture|platform)"),
    (
        "REGISTRY_AWAY",
        r"no such host|timeout|connection (refused|reset)|tls handshake|unreachable|x509|\b50[0-4]\b|eof|server gave http",
    ),
)
_CONTAINER: Meanings = (
    ("NAME_TAKEN", r"is already in use by|name .* is (already )?in use"),
    ("PORT_TAKEN", r"address already in use|port is already allocated|cannot assign requested address"),
    ("CARD_MISSING", r"could not select device driver|unknown device|unresolvable cdi|cdi device|nvidia"),
    ("NO_RUNTIME", r"unknown or invalid runtime|oci runtime .* not found"),
    (
        "COMMAND_NOT_FOUND",
        r"executable file( `.*`)? not found|exec: .*(no such file|permission denied|is a directory)",
    ),
    ("WRONG_PLATFORM", r"exec format error"),
    ("NOT_RUNNING", r"is not running|state improper|can only .* running containers"),
    ("BUSY", r"already in progress|is being removed|is restarting"),
    ("IMAGE_NOT_FOUND", r"no such image|image not known|unable to find image"),
    ("NOT_THERE", r"no such (container|object)|no container with name|could not find the file|no such file"),
)
_VOLUME: Meanings = (
    ("IN_USE", r"volume is (in use|being used)|in use"),
    ("NOT_THERE", r"no such volume|no volume with name|get .*: no such"),
)
_PATTERNS: Mapping[About, tuple[tuple[str, re.Pattern[str]], ...]] = MappingProxyType(
    {
        "image": tuple((c, re.compile(p, re.IGNORECASE)) for c, p in _ANY + _IMAGE),
        "container": tuple((c, re.compile(p, re.IGNORECASE)) for c, p in _ANY + _CONTAINER),
        "volume": tuple((c, re.compile(p, re.IGNORECASE)) for c, p in _ANY + _VOLUME),
    }
)
"""Code and what engines say for it, the more telling first: the first that matches is meant."""

BUSY_CODES = frozenset({"BUSY", "BUSY_OUR_OWN"})
"""Of a proof: another of ours, or another validator, was at the cards for all the time that there was."""
REFUSED, TIMED_OUT = "REFUSED", "TIMED_OUT"
BLOCKED = "BLOCKED"
"""An operator has blocked this image."""
TOO_LARGE = "TOO_LARGE"
NO_TOOLBOX = "NO_TOOLBOX"
"""Our programs are for another kind of processor than the machine has."""
CODES = frozenset(
    {code for code, _ in _ANY + _IMAGE + _CONTAINER + _VOLUME}
    | {REFUSED, TIMED_OUT, BLOCKED, TOO_LARGE, NO_TOOLBOX}
)

_PARTIES: Mapping[str, Party] = MappingProxyType(
    {
        "IMAGE_DENIED": Party.RENTER,
        "IMAGE_NOT_FOUND": Party.RENTER,
        "WRONG_PLATFORM": Party.RENTER,
        "COMMAND_NOT_FOUND": Party.RENTER,
        TOO_LARGE: Party.RENTER,
        "IN_USE": Party.RENTER,
        BLOCKED: Party.RENTER,
        # A registry that limits or is down is nobody's on this side: the renter owes nothing for it.
        "RATE_LIMITED": Party.PLATFORM,
        "REGISTRY_AWAY": Party.PLATFORM,
        "NAME_TAKEN": Party.PLATFORM,
        NO_TOOLBOX: Party.PLATFORM,
    }
)


def code_of(words: str, about: About) -> str:
    """The stable code for what an engine said; REFUSED for what says nothing that we know."""
    return next((code for code, pattern in _PATTERNS[about] if pattern.search(words)), REFUSED)


def party_of(error: SubnetError) -> Party:
    """Whose fault it is that a step of a lease failed; what the machine's engine can't do is the machine's."""
    if isinstance(error, EngineRefused):
        is_slow_pull = isinstance(error, ImageRefused) and error.code == TIMED_OUT
        return _PARTIES.get("REGISTRY_AWAY" if is_slow_pull else error.code, Party.MACHINE)
    if isinstance(error, ProofRefused):
        return Party.PLATFORM if error.code in BUSY_CODES else Party.MACHINE
    if isinstance(error, StepFailed):
        return Party(error.party)
    if isinstance(error, SpecRefused):
        return Party.RENTER
    if isinstance(error, HostAway | EngineAway | HostileAnswer):
        return Party.MACHINE
    return Party.PLATFORM


def party_of_overrun(step: str, *, is_at_machine: bool) -> Party:
    """Whose fault it is that the time for a machine ran out in this step; ours, unless the machine was at it.

    A registry that is slow looks like a line that is: of a pull nobody is blamed more than for one that is away.
    """
    if not is_at_machine:
        return Party.PLATFORM
    return _PARTIES["REGISTRY_AWAY"] if step == "pull" else Party.MACHINE
