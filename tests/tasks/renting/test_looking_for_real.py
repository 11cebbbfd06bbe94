"""A look at a real container engine, and a notice in a real container."""

from dataclasses import replace
from datetime import timedelta

import pytest

from storage.rental import Access
from tasks.errors import ContainerRefused
from tasks.renting.looking import look
from tasks.renting.noticing import NOTICE_AT, deliver, text_of
from tests.deployments.localnet.visiting import wait_for
from tests.engines import executor, soon
from tests.tasks.edges.rented import rented, spec
from tests.tasks.renting.leases import NOON, running

pytestmark = pytest.mark.xdist_group("engine")
CATCHES = "trap 'echo caught' USR1; echo ready; while :; do sleep 0.1; done"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("machine")


@pytest.fixture
def runtime(docker, home):
    with docker.runtime(home) as runtime:
        yield runtime


def lease_of(box, made_of):
    """The lease of a container, as it stands in our state."""
    access = Access(box.address, box.port, (), "", "", box.name)
    return replace(running(access=access, card_uuids=made_of.card_uuids), lease_id=made_of.lease_id)


def test_a_look_finds_what_lives_and_what_uses(docker, runtime):
    """One that runs tells its use and its card's; one that was stopped over there, and one that is gone, are dead."""
    made_of, other = spec(), spec(card_uuids=executor().card_uuids[1:2])
    with rented(docker, runtime, made_of) as box, rented(docker, runtime, other) as second:
        leases = [lease_of(box, made_of), lease_of(second, other)]
        gone = replace(
            leases[0], lease_id="l-gone", access=replace(leases[0].access, container="subnet-gone-1")
        )
        found = look(runtime, [*leases, gone], deadline=soon())
        docker.run("stop", "--time=5", box.name)
        later = look(runtime, leases, deadline=soon())
        docker.run("kill", second.name)
        last = look(runtime, leases, deadline=soon())

    first = found[made_of.lease_id]
    assert (first.dead, [card.uuid for card in first.cards]) == ("", list(made_of.card_uuids))
    assert 0 <= first.gpu_percent <= 100
    assert first.stats.pids > 0
    assert first.stats.memory_bytes > 0
    assert (found["l-gone"].dead, found["l-gone"].stats) == ("gone", None)
    assert (later[made_of.lease_id].dead, later[made_of.lease_id].stats) == ("stopped", None)
    assert later[other.lease_id].dead == ""
    assert later[other.lease_id].stats.pids > 0
    assert last[other.lease_id].dead == "killed"


def test_a_notice_is_a_file_and_one_signal(docker, runtime):
    """What catches SIGUSR1 gets one, however often the notice is delivered; a later one is another notice."""
    made_of = spec(words=("sh", "-c", CATCHES))
    with rented(docker, runtime, made_of) as box:
        wait_for(lambda: b"ready" in runtime.logs(box.name, deadline=soon()).stdout)
        text = text_of(NOON, "the cards are\nwanted")
        for _ in range(3):
            deliver(runtime, box.name, text, deadline=soon())
        kept = runtime.execute(box.name, ["cat", NOTICE_AT], deadline=soon()).stdout
        wait_for(lambda: b"caught" in runtime.logs(box.name, deadline=soon()).stdout)
        deliver(runtime, box.name, text_of(NOON + timedelta(hours=1), "later"), deadline=soon())
        wait_for(lambda: runtime.logs(box.name, deadline=soon()).stdout.count(b"caught") == 2)

    assert kept == b"until=2026-08-01T12:00:00+00:00\nreason=the cards are wanted\n"


def test_a_notice_ends_no_program_that_does_not_catch_it(docker, runtime):
    """It finds the file, and works on; SSH does, too."""
    made_of = spec(words=("sh", "-c", "sleep 1000001"))
    with rented(docker, runtime, made_of) as box:
        deliver(runtime, box.name, text_of(NOON, "x"), deadline=soon())
        processes = runtime.execute(box.name, ["/opt/subnet/busybox", "ps"], deadline=soon()).stdout.decode()
        assert "sleep 1000001" in processes
        assert "dropbear" in processes
        assert b"ended" not in runtime.logs(box.name, deadline=soon()).stdout


def test_a_container_that_stands_still_can_be_told_nothing(docker, runtime):
    """Refused, with what the engine said."""
    with rented(docker, runtime, is_started=False) as box, pytest.raises(ContainerRefused):
        deliver(runtime, box.name, text_of(NOON, "x"), deadline=soon())
