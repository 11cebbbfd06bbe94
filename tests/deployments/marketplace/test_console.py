"""Commands and logs of a lease's container while a request waits."""

import base64
from datetime import timedelta

import pytest

from deployments.marketplace.console import LogTail
from tasks.errors import BadAnswer, ContainerRefused, EngineAway, HostAway
from tests.deployments.marketplace.test_leases import code
from tests.deployments.marketplace.world import ask, printed
from tests.tasks.renting.leases import NOON


@pytest.fixture
def leased(market):
    """Alice's client, and her active lease."""
    client = market.client()
    return client, market.active(client)


def test_a_command_is_a_vector_and_its_output_bytes(leased, market):
    """Nothing of it is read by a shell; in and out are base64, and the session is closed."""
    client, lease = leased
    market.console.answers = [printed(b"\xff\0", b"warn", 3, is_truncated=True)]
    argv, stdin = ["printf", "$(id)", "--", "'"], base64.b64encode(b"\0in").decode()
    answer = client.post(f"/v1/leases/{lease.lease_id}/exec", {"argv": argv, "stdin": stdin, "timeout_s": 7})

    assert answer.json() == {"exit_code": 3, "stdout": "/wA=", "stderr": "d2Fybg==", "truncated": True}
    assert market.console.asked[-1] == ("execute", ("printf", "$(id)", "--", "'"), b"\0in", 7.0)


@pytest.mark.parametrize(
    "body",
    [{"argv": []}, {"argv": ["a"] * 257}, {"argv": ["a\0"]}, {"argv": ["a"], "stdin": "?"}]
    + [{"argv": ["a"], "timeout_s": seconds} for seconds in (0, 301, 1.5)],
)
def test_a_command_is_bounded(leased, body):
    """In words, in bytes, in time."""
    client, lease = leased

    assert code(client.post(f"/v1/leases/{lease.lease_id}/exec", body)) == (422, "DOES_NOT_FIT")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (HostAway("connect", "silent"), (504, "MACHINE_AWAY")),
        (EngineAway("engine", "down"), (504, "MACHINE_AWAY")),
        (ContainerRefused("exec", "NOT_RUNNING", "no"), (502, "CONTAINER_REFUSED")),
        (BadAnswer("nonsense"), (502, "MACHINE_ANSWERED_BADLY")),
    ],
)
def test_a_machines_fault_is_told_as_one(leased, market, error, expected):
    """With what to do."""
    client, lease = leased
    market.console.answers = [error]

    assert code(client.post(f"/v1/leases/{lease.lease_id}/exec", {"argv": ["ls"]})) == expected


def test_what_is_not_there_can_not_be_talked_to(market):
    """A request has no container yet."""
    client = market.client()
    path = f"/v1/leases/{ask(client).json()['lease_id']}"

    for answer in (client.post(f"{path}/exec", {"argv": ["ls"]}), client.get(f"{path}/logs")):
        assert code(answer) == (409, "NOT_FROM_THIS_STATE")
    assert code(client.get(f"{path}/logs?follow=true")) == (409, "NOT_FROM_THIS_STATE")
    assert market.console.asked == []


def test_the_last_lines_of_a_log(leased, market):
    """Without the engine's times, or with them."""
    client, lease = leased
    path = f"/v1/leases/{lease.lease_id}/logs"
    log = printed(
        b"2026-08-01T12:00:00.000000001Z hello\n2026-08-01T12:00:00.000000002Z caf\xff\n", is_truncated=True
    )
    market.console.answers = [log, log]

    assert client.get(f"{path}?tail=2").json() == {
        "lease_id": lease.lease_id,
        "text": "hello\ncaf\ufffd\n",
        "truncated": True,
    }
    assert client.get(f"{path}?timestamps=true&since=2026-08-01T12:00:00Z").json()["text"].startswith("2026-")
    assert market.console.asked[1:4:2] == [("logs", 2, None), ("logs", 100, NOON)]


def test_each_line_of_a_log_is_given_once():
    """By its time to the nanosecond, in whatever zone the engine prints it; a line without one belongs to the one before."""
    tail = LogTail()
    first = printed(b"2026-08-01T14:00:00.000001001+02:00 a\n  of a\n2026-08-01T12:00:00.000001002Z b\n")
    more = printed(
        b"2026-08-01T14:00:00.000001001+02:00 a\n  of a\n2026-08-01T12:00:00.000001002Z b\n2026-08-01T12:00:01Z c\n"
    )

    assert tail.since is None
    assert tail.fresh(first)[0] == "a\n  of a\nb\n"
    assert tail.since == NOON + timedelta(microseconds=1)
    assert tail.fresh(more)[0] == "c\n"
    assert tail.fresh(more)[0] == ""


@pytest.mark.parametrize("end", ["\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_a_line_ends_where_the_engine_ends_it(end):
    """Times behind other marks are the program's own words: nothing is lost, and what follows is followed."""
    tail = LogTail()
    words = f"epoch 1{end}2099-01-01T00:00:00Z epoch 2"
    first = printed(f"2026-08-01T12:00:01Z {words}\n".encode())
    more = printed(f"2026-08-01T12:00:01Z {words}\n2026-08-01T12:00:02Z {words}\n".encode())

    assert tail.fresh(first)[0] == f"{words}\n"
    assert tail.since == NOON + timedelta(seconds=1)
    assert tail.fresh(more)[0] == f"{words}\n"


@pytest.mark.parametrize(
    "line", ["9999-99-99T99:99:99Z x", "9999-12-31T23:59:59-23:59 x", "2026-08-01 x", "\0", "", "Z" * 9_000]
)
def test_a_line_that_a_machine_made_up_is_a_line(line):
    """Nothing of it is a fault of ours."""
    tail = LogTail()
    text, _ = tail.fresh(printed(line.encode()))

    assert text in (line, line.partition(" ")[2])
    assert tail.since is None or tail.since.year >= 1970
