"""Starting what was asked for: once, in order, and when Prefect is back if it was away."""

import asyncio
import threading
import time

import pytest
import yaml

from deployments.marketplace import starter
from deployments.marketplace.starter import NotDeployed, OrchestratorAway, Starting
from deployments.sites import REPOSITORY
from tests.deployments.marketplace.serving import served
from tests.deployments.marketplace.world import ask, world


class Prefect:
    """Makes runs by key, or is away."""

    def __init__(self, *, is_away=False):
        self.is_away, self.runs, self.asked = is_away, {}, 0
        self.has_run, self.has_been_asked = threading.Event(), threading.Semaphore(0)

    async def start(self, work):
        """The same run for the same work."""
        self.asked += 1
        self.has_been_asked.release()
        if self.is_away:
            raise OrchestratorAway("nobody listens")
        self.has_run.set()
        return self.runs.setdefault(work.work_id, f"run-{len(self.runs)}")


def until(is_so):
    """Wait for it, for ten seconds at most."""
    end = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def start(market, prefect):
    """One round."""
    return asyncio.run(Starting().start_waiting(market.desk, prefect))


def test_what_waits_is_started_once(market):
    """A second round finds nothing."""
    client, prefect = market.client(), Prefect()
    for number in range(3):
        ask(client, key=f"k-{number}")

    assert [start(market, prefect), start(market, prefect)] == [3, 0]
    assert len(prefect.runs) == 3
    assert client.get("/v1/leases").json()["items"][0]["queued"] is False


def test_a_crash_before_it_is_written_down_makes_no_second_run(market):
    """The run is made under the work's name."""
    client, prefect = market.client(), Prefect()
    ask(client)
    (work,) = market.stores.works.unstarted()
    asyncio.run(prefect.start(work))  # and then the process dies

    assert start(market, prefect) == 1
    assert len(prefect.runs) == 1


def test_while_it_is_away_one_is_tried_and_all_wait(market):
    """Nothing is lost; when it is back, all are started."""
    client, prefect = market.client(), Prefect(is_away=True)
    for number in range(3):
        ask(client, key=f"k-{number}")
    with pytest.raises(OrchestratorAway):
        start(market, prefect)
    assert prefect.asked == 1

    prefect.is_away = False
    assert start(market, prefect) == 3


def test_a_request_is_started_at_once(tmp_path):
    """The route pokes the starter; whether it is away is told by health."""
    prefect, starting = Prefect(), Starting()
    with world(tmp_path, beside=(lambda desk: starting.running(desk, prefect),)) as market:
        made = market.rebuilt(starter=starting)
        with served(made.app):
            ask(made.client())
            assert prefect.has_run.wait(10)

    assert len(prefect.runs) == 1


def test_health_says_that_it_is_away(tmp_path):
    """And that requests wait."""
    prefect, starting = Prefect(is_away=True), Starting()
    with world(tmp_path) as market:
        made = market.rebuilt(starter=starting)
        ask(made.client())

        async def once():
            async with starting.running(made.desk, prefect):
                assert await asyncio.to_thread(prefect.has_been_asked.acquire, timeout=10)
                assert await asyncio.to_thread(prefect.has_been_asked.acquire, timeout=10)

        asyncio.run(once())
        health = made.stranger().get("/v1/health").json()

    assert (health["status"], health["orchestrator"], health["queued"]) == ("degraded", "away", 1)
    assert "requests wait" in health["detail"]


class Broken(Prefect):
    """Breaks on one work as nobody foresaw, and on all of them while it is broken altogether."""

    def __init__(self, subject="", fault=KeyError):
        super().__init__()
        self.subject, self.fault = subject, fault

    async def start(self, work):
        """As Prefect does, but for what breaks."""
        if self.subject in (work.subject, "all"):
            self.asked += 1
            self.has_been_asked.release()
            raise self.fault("nobody foresaw this")
        return await super().start(work)


@pytest.mark.parametrize("fault", [KeyError, NotDeployed])
def test_one_that_breaks_keeps_no_other_from_being_started(market, fault):
    """Not even when it waits longest, or its deployment was not made yet; the fault is told."""
    client = market.client()
    names = [ask(client, key=f"k-{number}").json()["lease_id"] for number in range(3)]
    prefect = Broken(names[0], fault)
    with pytest.raises(fault):
        start(market, prefect)

    assert set(prefect.runs.values()) == {"run-0", "run-1"}
    assert [work.subject for work in market.stores.works.unstarted()] == names[:1]


def test_a_fault_that_nobody_foresaw_ends_no_starter(tmp_path, caplog):
    """It is logged and told by health, tried again after a pause, and forgotten when all goes well."""
    prefect, starting = Broken("all"), Starting()
    with world(tmp_path) as market:
        made = market.rebuilt(starter=starting)
        ask(made.client())

        async def until_it_goes_on():
            async with starting.running(made.desk, prefect):
                assert await asyncio.to_thread(prefect.has_been_asked.acquire, timeout=10)
                assert await asyncio.to_thread(prefect.has_been_asked.acquire, timeout=10)
                told = await asyncio.to_thread(lambda: made.stranger().get("/v1/health").json())
                prefect.subject = ""
                await asyncio.to_thread(until, lambda: starting.orchestrator == "ok")
                return told

        health = asyncio.run(until_it_goes_on())

    assert (health["status"], health["orchestrator"], health["queued"]) == ("degraded", "failing", 1)
    assert "the log says why" in health["detail"]
    assert "nobody foresaw this" in caplog.text
    assert len(prefect.runs) == 1


def test_every_kind_of_work_has_its_deployment():
    """With the one parameter that its flow takes: an id."""
    from storage.rental import WorkKind

    assert set(starter.DEPLOYMENTS) == set(WorkKind)
    assert {parameter for _, parameter in starter.DEPLOYMENTS.values()} == {"lease_id", "operation_id"}


@pytest.mark.parametrize("file", ["prefect.yaml", "deployments/localnet/prefect.yaml"])
def test_every_deployment_is_made(file):
    """Each that works are started by stands in the file; what copies data is in a queue of its own, and it alone."""
    told = yaml.safe_load((REPOSITORY / file).read_text())["deployments"]
    renting = {f"{one['entrypoint'].rpartition('.')[2]}/{one['name']}": one["work_pool"] for one in told}
    wanted = {deployment for deployment, _ in starter.DEPLOYMENTS.values()}

    assert wanted <= renting.keys()
    assert {renting[name]["name"] for name in wanted} == {"renting"}
    assert [name for name in sorted(wanted) if "work_queue_name" in renting[name]] == ["operate/copies"]
