"""Feeds over a real server: what happens comes at once, goes on where it was left, and ends when it should."""

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest

from deployments.marketplace import feeds
from deployments.marketplace.guard import identify
from storage.health import LeaseHealth, Metric
from storage.rental import CardUse, Party
from tasks.errors import HostAway
from tasks.renting.moves import ended, ending
from tests.deployments.marketplace.serving import feed, served
from tests.deployments.marketplace.world import NO_LIMITS, ask, printed, world
from tests.tasks.renting.leases import NOON

QUICK = replace(NO_LIMITS, heartbeat_s=0.2, key_check_s=0.2, poll_s=0.05, streams_per_key=2)


@pytest.fixture
def market(tmp_path):
    """A marketplace whose feeds say often that they are alive."""
    with world(tmp_path, limits=QUICK) as made:
        yield made


def told(events, *kinds):
    """The next event of one of these kinds."""
    return next((kind, name, json.loads(data)) for kind, name, data in events if kind in kinds)


def end_of(market, lease):
    """The lease is torn down."""
    rentals = market.stores.rentals
    last = ending(rentals.get(lease.lease_id), NOON, Party.RENTER, "done")
    assert rentals.move(rentals.get(lease.lease_id), last)
    assert rentals.move(last, ended(last, NOON))


def test_a_leases_states_come_as_they_are_reached(market):
    """Those before it too, numbered; the feed ends with the lease."""
    client = market.client()
    lease = market.active(client)
    with (
        served(market.app) as url,
        feed(url, f"/v1/leases/{lease.lease_id}/events?follow=true", market.key()) as events,
    ):
        before = [told(events, "lease")[2]["kind"] for _ in range(4)]
        end_of(market, lease)
        after = [told(events, "lease")[2]["kind"] for _ in range(2)]
        last = told(events, "end")

    assert before == ["REQUESTED", "RESERVED", "PROVISIONING", "ACTIVE"]
    assert after == ["ENDING", "ENDED"]
    assert last[2]["code"] == "LEASE_OVER"


def test_a_feed_goes_on_where_it_was_left(market):
    """Behind the Last-Event-ID, without a gap and without a repetition."""
    client = market.client()
    lease = market.active(client)
    path = f"/v1/leases/{lease.lease_id}/events?follow=true"
    with served(market.app) as url:
        with feed(url, path, market.key()) as events:
            first = told(events, "lease")
        with feed(url, path, market.key(), after=first[1]) as events:
            second = told(events, "lease")

    assert (first[2]["kind"], second[2]["kind"]) == ("REQUESTED", "RESERVED")
    assert int(second[1]) == int(first[1]) + 1


def test_a_renters_feed_has_all_of_its_leases_and_nobody_elses(market):
    """From now on, unless it is told from where."""
    alice, bob = market.client(), market.client("bob")
    ask(alice, key="old")
    with served(market.app) as url, feed(url, "/v1/events?follow=true", market.key()) as events:
        assert next(events)[0] == ":"
        ask(bob, key="bobs")
        mine = [ask(alice, key=key).json()["lease_id"] for key in ("new-1", "new-2")]
        seen = [told(events, "lease")[2]["lease_id"] for _ in range(2)]

    assert seen == mine


def test_a_silent_feed_says_that_it_is_alive(market):
    """With comments, which no reader takes for an event."""
    client = market.client()
    lease_id = ask(client).json()["lease_id"]
    with (
        served(market.app) as url,
        feed(url, f"/v1/leases/{lease_id}/events?follow=true", market.key()) as events,
    ):
        kinds = [next(events)[0] for _ in range(4)]

    assert kinds == [":", "lease", ":", ":"]


def test_feeds_are_bounded_and_one_that_is_closed_makes_room(market):
    """Two for each key; the third is refused until one is gone."""
    client, token = market.client(), market.key()
    path = f"/v1/leases/{ask(client).json()['lease_id']}/events?follow=true"
    headers = {"Authorization": f"Bearer {token}"}
    with served(market.app) as url, feed(url, path, token) as one:
        with feed(url, path, token) as two:
            next(one), next(two)
            refused = httpx.get(url + path, headers=headers, trust_env=False)
            assert (refused.status_code, refused.json()["code"]) == (429, "TOO_MANY_FEEDS")
        statuses = []
        for _ in range(100):
            with httpx.stream("GET", url + path, headers=headers, trust_env=False) as answer:
                statuses.append(answer.status_code)
            if statuses[-1] == 200:
                break
        assert statuses[-1] == 200


def test_a_renter_with_many_keys_leaves_room_for_others(tmp_path):
    """However many keys it makes, its feeds are bounded in all."""
    few = replace(QUICK, streams_per_renter=1)
    with world(tmp_path, limits=few) as market, served(market.app) as url:
        path = "/v1/events?follow=true"
        with feed(url, path, market.key()) as one:
            next(one)
            headers = {"Authorization": f"Bearer {market.key()}"}
            refused = httpx.get(url + path, headers=headers, trust_env=False)
            with feed(url, path, market.key("bob")) as bobs:
                assert next(bobs)[0] == ":"

    assert (refused.status_code, refused.json()["code"]) == (429, "TOO_MANY_FEEDS")
    assert refused.json()["detail"] == "you have 1 feeds open, or too many are open in all"


def test_a_client_that_is_gone_before_the_first_piece_makes_room(market):
    """More often than a key may have feeds: none of them is counted for ever."""
    caller = identify(market.desk, market.key(), "203.0.113.9")

    async def gone():
        return {"type": "http.disconnect"}

    async def send(_):
        await asyncio.sleep(0)

    async def once():
        pieces = feeds.lease_events(market.desk, caller, 0)
        scope = {"type": "http", "asgi": {"spec_version": "2.3"}}
        await feeds.respond(market.desk, caller, pieces)(scope, gone, send)

    for _ in range(3):
        asyncio.run(once())
    assert market.desk.streams.enter(caller.key.key_id)


def test_a_revoked_key_ends_its_feeds(market):
    """Within a few seconds."""
    client, reader = market.client(), market.client()
    path = f"/v1/leases/{ask(client).json()['lease_id']}/events?follow=true"
    key_id = reader.get("/v1/me").json()["key_id"]
    with served(market.app) as url, feed(url, path, reader.headers["Authorization"][7:]) as events:
        told(events, "lease")
        client.delete(f"/v1/api-keys/{key_id}")
        last = told(events, "end")

    assert last[2]["code"] == "KEY_ENDED"


def lines(*texts, at="2026-08-01T12:00:00"):
    """A log as the engine prints it with times."""
    return printed("".join(f"{at}.{n:09}Z {text}\n" for n, text in enumerate(texts, 1)).encode())


def test_a_log_is_followed_over_one_session(market):
    """Each line once, though it is asked for again from the last one on; when the client goes, the session is closed."""
    lease = market.active(market.client())
    market.console.answers = [lines("one", "two"), lines("one", "two"), lines("one", "two", "three")]
    with served(market.app) as url:
        with feed(url, f"/v1/leases/{lease.lease_id}/logs?follow=true&tail=2", market.key()) as events:
            seen = [told(events, "log")[2]["text"] for _ in range(2)]
        deadline = time.monotonic() + 10
        while not market.console.closed and time.monotonic() < deadline:
            time.sleep(0.01)

    assert seen == ["one\ntwo\n", "three\n"]
    assert market.console.closed == 1
    assert [asked for asked in market.console.asked if asked[0] == "open"] == [("open", lease.lease_id)]
    assert market.console.asked[1] == ("logs", 2, None)
    assert market.console.asked[2][2] is not None


def test_a_log_ends_when_the_container_stands_still(market):
    """And says so."""
    lease = market.active(market.client())
    market.console.answers = [lines("last words")]
    with (
        served(market.app) as url,
        feed(url, f"/v1/leases/{lease.lease_id}/logs?follow=true", market.key()) as events,
    ):
        assert told(events, "log")[2]["text"] == "last words\n"
        end_of(market, lease)
        assert told(events, "end")[2]["code"] == "NOT_RUNNING"


def test_a_machine_that_goes_away_ends_the_feed_with_the_reason(market):
    """Not with a broken connection."""
    lease = market.active(market.client())
    market.console.answers = [HostAway("read", "silent")]
    with (
        served(market.app) as url,
        feed(url, f"/v1/leases/{lease.lease_id}/logs?follow=true", market.key()) as events,
    ):
        assert told(events, "end")[2]["code"] == "MACHINE_AWAY"


def test_what_a_lease_uses_comes_as_it_is_measured(market):
    """Each sample once."""
    lease = market.active(market.client())
    health = LeaseHealth(market.market.engine)

    def measured(second):
        at = NOON.replace(second=second)
        sample = Metric(lease.lease_id, at, (CardUse("GPU-1", 50.0, 900),), 120.0, 1_000, 2_000)
        health.add(sample)

    path = f"/v1/leases/{lease.lease_id}/metrics?follow=true"
    with served(market.app) as url, feed(url, path, market.key()) as events:
        next(events)
        measured(1)
        first = told(events, "metrics")[2]
        measured(2)
        second = told(events, "metrics")[2]

    unsaid = dict.fromkeys(("memory_total_mib", "temperature_c", "power_w", "power_limit_w"))
    assert first["cards"] == [{"card_uuid": "GPU-1", "use_percent": 50.0, "memory_used_mib": 900} | unsaid]
    assert second["at"] == "2026-08-01T12:00:02Z"
    page = market.client().get(f"/v1/leases/{lease.lease_id}/metrics").json()["items"]
    assert page == [first, second]


class Ready:
    """A container that answers at once."""

    async def open(self, *_):
        """A session is itself."""
        return self

    def execute(self, *_):
        """It ran."""
        return printed()

    def logs(self, *_):
        """One line."""
        return lines("one")

    def close(self):
        """Nothing."""


def test_followed_logs_take_no_place_from_commands(tmp_path):
    """Alice follows as many logs as there may be in all: she and bob run commands; bob follows none, and is told so."""
    few = replace(QUICK, followers=2, followers_per_renter=2, containers_waiting=1, containers_per_renter=1)
    with world(tmp_path, limits=few, consoles_are=Ready()) as market, served(market.app) as url:
        hers, his = (market.active(market.client(name)).lease_id for name in ("alice", "bob"))
        path = f"/v1/leases/{hers}/logs?follow=true"
        with feed(url, path, market.key()) as one, feed(url, path, market.key()) as two:
            assert [told(events, "log")[2]["text"] for events in (one, two)] == ["one\n"] * 2
            with feed(url, f"/v1/leases/{his}/logs?follow=true", market.key("bob")) as events:
                refused = told(events, "end")[2]
            answers = []
            for name, lease_id in (("alice", hers), ("bob", his)):
                headers = {"Authorization": f"Bearer {market.key(name)}"}
                command = f"{url}/v1/leases/{lease_id}/exec"
                answers.append(httpx.post(command, json={"argv": ["ls"]}, headers=headers, trust_env=False))

    assert refused["code"] == "TOO_MANY_FEEDS"
    assert [answer.json()["exit_code"] for answer in answers] == [0, 0]


class Hanging:
    """A container that does not answer until it is let go."""

    def __init__(self):
        self.entered, self.release = threading.Semaphore(0), threading.Event()

    async def open(self, *_):
        """A session is itself."""
        return self

    def execute(self, *_):
        """It waits."""
        self.entered.release()
        self.release.wait(20)
        return printed(b"late")

    def logs(self, *_):
        """It waits, too."""
        return self.execute()

    def close(self):
        """Nothing."""


def test_a_log_that_is_read_holds_its_place_until_its_machine_answers(tmp_path):
    """Also when its reader has gone: whoever comes again and again takes no more of the threads. Others wait and are told that we are alive."""
    hanging = Hanging()
    few = replace(QUICK, follower_reads=1, follower_reads_per_renter=1)
    with world(tmp_path, limits=few, consoles_are=hanging) as market:
        path = f"/v1/leases/{market.active(market.client()).lease_id}/logs?follow=true"
        with served(market.app) as url:
            with feed(url, path, market.key()) as gone:
                next(gone)
                assert hanging.entered.acquire(timeout=10)
            with feed(url, path, market.key()) as waiting:
                beats = [next(waiting)[0] for _ in range(3)]
                is_read = hanging.entered.acquire(blocking=False)
                hanging.release.set()
                text = told(waiting, "log")[2]["text"]

    assert (beats, is_read, text) == ([":"] * 3, False, "late")


def test_nobody_waits_for_somebody_elses_machine(market):
    """While four commands hang on a machine, offers are answered; the renter's fifth is refused, another's is not."""
    hanging = Hanging()
    made = market.rebuilt(consoles=hanging)
    lease = market.active(market.client())
    path, headers = f"/v1/leases/{lease.lease_id}/exec", {"Authorization": f"Bearer {market.key()}"}
    with (
        served(made.app) as url,
        httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=20) as client,
        ThreadPoolExecutor(4) as pool,
    ):
        asked = [pool.submit(client.post, path, json={"argv": ["sleep"]}) for _ in range(4)]
        assert all(hanging.entered.acquire(timeout=10) for _ in asked)
        offers, fifth = client.get("/v1/offers"), client.post(path, json={"argv": ["ls"]})
        hanging.release.set()
        exit_codes = [one.result().json()["exit_code"] for one in asked]

    assert (offers.status_code, fifth.json()["code"]) == (200, "TOO_MANY_SESSIONS")
    assert exit_codes == [0] * 4
