"""An image that is blocked is blocked under all of its names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.renting.blocking import image_blocked, repository_of

DIGEST = "sha256:" + "5f" * 32


@pytest.mark.parametrize(
    "image",
    [
        "evil/miner",
        "evil/miner:2",
        "Evil/Miner:2",
        "docker.io/evil/miner",
        "index.docker.io/evil/miner:latest",
        f"evil/miner@{DIGEST}",
        f"registry-1.docker.io/evil/miner:2@{DIGEST}",
    ],
)
def test_the_registry_tag_and_digest_hide_nothing(image):
    """One pattern for a repository blocks every way of writing it."""
    assert image_blocked(image, ["evil/miner"]) == "evil/miner"
    assert image_blocked(image, ["ok/*", "docker.io/evil/*"]) == "docker.io/evil/*"


@pytest.mark.parametrize(
    "image", ["ubuntu", "ubuntu:latest", "library/ubuntu", "docker.io/library/ubuntu:latest"]
)
def test_a_name_without_owner_is_the_librarys(image):
    """All of these are one image."""
    for pattern in ("ubuntu", "ubuntu:latest", "docker.io/library/ubuntu", "library/ubuntu:*"):
        assert image_blocked(image, [pattern]) == pattern


@pytest.mark.parametrize(
    ("image", "pattern"),
    [
        ("ubuntu:22.04", "ubuntu:latest"),
        ("other/miner", "evil/miner"),
        ("ghcr.io/evil/miner", "evil/miner"),
        ("ghcr.io/evil/miner", "docker.io/*"),
        ("evil/miner-not", "evil/miner"),
        ("host:5000/a", "host"),
        (f"a@{DIGEST}", "a:latest"),
    ],
)
def test_others_are_not_blocked(image, pattern):
    """Another tag, owner, registry or longer name is another image."""
    assert image_blocked(image, [pattern]) is None


def test_a_digest_is_found_under_any_name():
    """Told by the engine after the pull, or written by the renter."""
    assert image_blocked("harmless/name", [f"*@{DIGEST}"]) is None
    assert image_blocked("harmless/name", [f"*@{DIGEST}"], DIGEST) == f"*@{DIGEST}"
    assert image_blocked(f"harmless/name@{DIGEST}", [f"*@{DIGEST}"]) == f"*@{DIGEST}"
    assert image_blocked("host:5000/a:1", ["host:5000/a:?"]) == "host:5000/a:?"


@given(st.text(max_size=80), st.lists(st.text(max_size=40), max_size=5))
def test_any_text_has_an_answer(image, patterns):
    """Whatever is typed: a pattern of the list, or none; `*` blocks everything."""
    assert image_blocked(image, patterns) in {*patterns, None}
    assert image_blocked(image, ["*"]) == "*"


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        ("ubuntu", "docker.io/library/ubuntu"),
        ("docker.io/library/ubuntu:22.04", "docker.io/library/ubuntu"),
        ("alice/model@sha256:00", "docker.io/alice/model"),
        ("ghcr.io/alice/model:1@sha256:00", "ghcr.io/alice/model"),
        ("registry.example:5000/model:1", "registry.example:5000/model"),
    ],
)
def test_a_repository_has_one_name(image, repository):
    """However an image of it is written."""
    assert repository_of(image) == repository
