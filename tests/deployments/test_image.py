"""The container image: made of what was tested, by nobody's root, with nothing of a developer's in it."""

import re

import pytest

from deployments.sites import REPOSITORY
from tests.test_layout import PACKAGES

IMAGE = REPOSITORY / "deployments" / "image"
DOCKERFILE = (IMAGE / "Dockerfile").read_text()
_PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", re.MULTILINE)


def pins(path):
    """Package and version of each line of a lock."""
    return dict(_PIN.findall(path.read_text()))


def hashes(path, name):
    """What a lock lets this package be."""
    block = re.search(rf"^{re.escape(name)}==.*?(?=^\S|\Z)", path.read_text(), re.MULTILINE | re.DOTALL)
    return set(re.findall(r"sha256:[0-9a-f]{64}", block.group()))


def test_what_is_in_it_is_what_was_tested():
    """Each package of the image has the version and the hashes that the tests ran with; `make lock` writes both."""
    ours, tested = IMAGE / "requirements.lock", REPOSITORY / "requirements.lock"

    assert pins(ours)
    assert pins(ours).items() <= pins(tested).items()
    assert hashes(ours, "numba") == hashes(tested, "numba")


def test_what_is_only_for_work_on_it_stays_out():
    """No linters, no test runner, no gigabyte of CUDA: the prover's own environment is the miner's machine's."""
    named = set(pins(IMAGE / "requirements.lock"))

    assert not named & {"pytest", "ruff", "mypy", "hypothesis", "schemathesis"}
    assert not [name for name in named if name.startswith("nvidia")]


@pytest.mark.parametrize("name", [*PACKAGES, "prefect.toml", "prefect.yaml", "pyproject.toml"])
def test_all_that_runs_is_copied(name):
    """By the Dockerfile, and let in by .dockerignore."""
    copied = [
        word for line in DOCKERFILE.splitlines() if line.startswith("COPY ") for word in line.split()[1:-1]
    ]

    assert name in copied
    assert f"!{name}" in (REPOSITORY / ".dockerignore").read_text().splitlines()


def test_nothing_else_gets_in():
    """Everything is left out but what is named: wallets, .env and .local/ never reach the engine."""
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]

    assert rules[0] == "*"
    assert not [rule for rule in rules if rule.startswith("!") and rule[1:].startswith((".", "*"))]


def test_it_is_nobodys_root():
    """The last user is a number, so that an orchestrator can tell."""
    users = re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)

    assert users == ["10001:10001"]
