"""What a look makes of what a machine tells."""

import pytest

from storage.rental import Access, CardUse
from tasks.edges.engine import Container
from tasks.renting.looking import Found, container_of, dead_by
from tests.tasks.renting.leases import running

NAME = "subnet-l-1-1"
LEASE = running(access=Access("127.0.0.1", 40_000, (), "ssh-ed25519 AAAA", "sha256:0", NAME))


def container(status="running", exit_code=0, *, lease="l-1", oom=False):
    """The lease's container as its engine tells it."""
    told = (NAME, "0" * 64, "sha256:0", lease, 1, "5Renter", "5Us", "5Miner/a", "", status, exit_code, oom)
    return Container(*told, None, None, ())


@pytest.mark.parametrize(
    ("found", "dead"),
    [
        (None, "gone"),
        (container(), ""),
        (container("restarting", 1), ""),
        (container("created"), ""),
        (container(lease="l-2"), "gone"),
        (container("paused"), "paused"),
        (container("dead"), "dead"),
        (container("removing"), "gone"),
        (container("exited", 137), "killed"),
        (container("exited", 137, oom=True), "out of memory"),
        (container("exited", 0), "stopped"),
        (container("anything"), "stopped"),
    ],
)
def test_a_container_lives_or_is_dead_somehow(found, dead):
    """Running, or about to; everything else has a name, and another lease's container is not ours."""
    assert dead_by(LEASE, found) == dead


def test_a_lease_without_access_has_no_container():
    """Nothing that an engine could tell is its."""
    assert container_of(running()) == ""
    assert dead_by(running(), None) == "gone"


def test_the_busiest_card_counts():
    """What nothing can run on uses nothing that is known."""
    cards = (CardUse("a", 7.0, 0), CardUse("b", 3.0, 0))

    assert Found(cards=cards).gpu_percent == 7.0
    assert Found(dead="gone", cards=cards).gpu_percent is None
    assert Found().gpu_percent is None
