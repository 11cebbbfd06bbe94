"""What engines say, as they say it, gets one of our codes; and each code has one party."""

import pytest

from storage.rental import Party
from tasks.errors import (
    ContainerRefused,
    EngineAway,
    HostAway,
    ImageRefused,
    SpecRefused,
    StoreAway,
    VolumeRefused,
)
from tasks.renting.blame import CODES, code_of, party_of, party_of_overrun

DOCKER = "Error response from daemon: "


@pytest.mark.parametrize(
    ("about", "words", "code"),
    [
        ("image", DOCKER + "manifest for x/y:z not found: manifest unknown: manifest unknown", "IMAGE_NOT_FOUND"),
        ("image", DOCKER + "pull access denied for x, repository does not exist or may require 'docker login'", "IMAGE_DENIED"),
        ("image", DOCKER + 'Head "http://127.0.0.1:5/v2/x": no basic auth credentials', "IMAGE_DENIED"),
        ("image", DOCKER + "toomanyrequests: You have reached your pull rate limit.", "RATE_LIMITED"),
        ("image", "failed to register layer: write /a: no space left on device", "NO_SPACE"),
        ("image", DOCKER + 'Get "https://r.example/v2/": dial tcp: lookup r.example: no such host', "REGISTRY_AWAY"),
        ("image", "Error: initializing source docker://x: reading manifest: unauthorized", "IMAGE_DENIED"),
        ("image", "no matching manifest for linux/arm64/v8 in the manifest list entries", "WRONG_PLATFORM"),
        ("image", "Error: x: image not known", "IMAGE_NOT_FOUND"),
        ("image", "Cannot connect to the Docker daemon at unix:///x.sock. Is the docker daemon running?", "ENGINE_DOWN"),
        ("container", DOCKER + 'Conflict. The container name "/subnet-l-1" is already in use by container', "NAME_TAKEN"),
        ("container", DOCKER + "driver failed: listen tcp4 0.0.0.0:40001: bind: address already in use", "PORT_TAKEN"),
        ("container", DOCKER + 'could not select device driver "" with capabilities: [[gpu]].', "CARD_MISSING"),
        ("container", "Error: unresolvable CDI devices nvidia.com/gpu=GPU-9", "CARD_MISSING"),
        ("container", DOCKER + "Unknown runtime specified sysbox-runc: unknown or invalid runtime name", "NO_RUNTIME"),
        ("container", 'runc: exec: "x": executable file not found in $PATH: unknown', "COMMAND_NOT_FOUND"),
        ("container", 'runc: exec: "/etc": permission denied: unknown', "COMMAND_NOT_FOUND"),
        ("container", DOCKER + "Container 12ab is not running", "NOT_RUNNING"),
        ("container", DOCKER + "removal of container 12ab is already in progress", "BUSY"),
        ("container", "Error: No such container: subnet-l-1", "NOT_THERE"),
        ("volume", DOCKER + "remove v: volume is in use - [12ab]", "IN_USE"),
        ("volume", DOCKER + "get v: no such volume", "NOT_THERE"),
        ("volume", "the moon is full", "REFUSED"),
    ],
)  # fmt: skip
def test_words_become_codes(about, words, code):
    """The first meaning that fits, of those for what it is about; REFUSED for what nobody has said before."""
    assert code_of(words, about) == code
    assert code == "ENGINE_DOWN" or code in CODES


@pytest.mark.parametrize(
    ("error", "party"),
    [
        (ImageRefused("pull", "IMAGE_NOT_FOUND", ""), Party.RENTER),
        (ImageRefused("pull", "NO_SPACE", ""), Party.MACHINE),
        (ImageRefused("pull", "TIMED_OUT", ""), Party.PLATFORM),
        (ContainerRefused("start", "TIMED_OUT", ""), Party.MACHINE),
        (ImageRefused("pull", "RATE_LIMITED", ""), Party.PLATFORM),
        (ContainerRefused("start", "CARD_MISSING", ""), Party.MACHINE),
        (ContainerRefused("start", "COMMAND_NOT_FOUND", ""), Party.RENTER),
        (ContainerRefused("start", "REFUSED", ""), Party.MACHINE),
        (ContainerRefused("create", "NO_TOOLBOX", ""), Party.PLATFORM),
        (VolumeRefused("backup", "TOO_LARGE", ""), Party.RENTER),
        (SpecRefused("image", "", ""), Party.RENTER),
        (EngineAway("engine", ""), Party.MACHINE),
        (HostAway("talk", ""), Party.MACHINE),
        (StoreAway(""), Party.PLATFORM),
    ],
)
def test_each_failure_has_one_party(error, party):
    """What a renter asked for is the renter's, what a machine can't do the machine's, the rest is ours."""
    assert party_of(error) is party


@pytest.mark.parametrize(
    ("step", "is_at_machine", "party"),
    [
        ("enter", True, Party.MACHINE),
        ("probe", True, Party.MACHINE),
        ("probe", False, Party.PLATFORM),
        ("pull", True, Party.PLATFORM),
    ],
)
def test_time_that_ran_out_is_its_steps(step, is_at_machine, party):
    """The machine's if it was at it; but a slow registry can't be told from a slow line, and our own books are ours."""
    assert party_of_overrun(step, is_at_machine=is_at_machine) is party
