from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

from tasks.policy import ProofPolicy
from tasks.proof.wave import MonotonicClock, Wave, gate_limits_s
from tests.tasks.proof.clocks import HandClock


def test_gate_waits_for_everybody():
    """A gate opens when the last member has come, for all at one instant."""
    clock = HandClock()
    wave = Wave("abc", (10.0, 10.0), clock)
    with ThreadPoolExecutor(3) as pool:
        early = [pool.submit(wave.pass_gate, m, 0) for m in "ab"]
        clock.until_waiting(2)
        clock.move(3.0)
        assert not any(f.done() for f in early)
        last = pool.submit(wave.pass_gate, "c", 0)
        assert [f.result(30) for f in [*early, last]] == [3.0, 3.0, 3.0]
    assert wave.deadline(1) == 13.0


def test_late_member_costs_only_itself():
    """At the deadline the gate opens for those who are there; who comes later is out for good."""
    clock = HandClock()
    wave = Wave("abc", (10.0, 10.0, 10.0), clock)
    with ThreadPoolExecutor(2) as pool:
        there = [pool.submit(wave.pass_gate, m, 0) for m in "ab"]
        clock.until_waiting(2)
        clock.move(10.0)
        assert [f.result(30) for f in there] == [10.0, 10.0]
        assert wave.pass_gate("c", 0) is None
        assert wave.members == {"a", "b"}
        again = [pool.submit(wave.pass_gate, m, 1) for m in "ab"]
        assert [f.result(30) for f in again] == [10.0, 10.0]
    assert wave.pass_gate("c", 2) is None


def test_failed_member_frees_the_others():
    """Nobody waits for a member that left, whether it was at the gate or not."""
    clock = HandClock()
    wave = Wave("abc", (10.0,), clock)
    with ThreadPoolExecutor(2) as pool:
        there = [pool.submit(wave.pass_gate, m, 0) for m in "ab"]
        clock.until_waiting(2)
        with wave.seat("c"):
            clock.move(1.0)
        assert [f.result(30) for f in there] == [1.0, 1.0]


def test_everybody_gone_is_no_deadlock():
    """A wave whose members have all left opens nothing and holds nobody."""
    wave = Wave("ab", (10.0,), HandClock())
    wave.leave("a")
    wave.leave("b")
    assert wave.pass_gate("a", 0) is None


def test_hundreds_pass_all_gates_in_step():
    """Four hundred members of several pools see the same instants, though one in ten drops out at some gate."""
    policy = ProofPolicy(rounds=4)
    names = [f"executor-{i}" for i in range(400)]
    wave = Wave(names, gate_limits_s(policy, assembly_s=60.0), MonotonicClock())
    ticket = threading.Barrier(len(names))

    def run(i: int) -> list[float | None]:
        ticket.wait()
        with wave.seat(names[i]):
            gates = 7 if i % 10 else i // 10 % 7
            return [wave.pass_gate(names[i], gate) for gate in range(gates)]

    with ThreadPoolExecutor(200) as one, ThreadPoolExecutor(200) as other:
        futures: list[Future[list[float | None]]] = [(one, other)[i % 2].submit(run, i) for i in range(400)]
        seen = [f.result(60) for f in futures]
    whole = seen[1]
    assert None not in whole
    assert sorted(whole) == whole
    assert all(s == whole[: len(s)] for s in seen)


def test_limits_follow_the_policy():
    """There is a gate for GO, for each round's nonce, for the product's and for OPEN."""
    policy = ProofPolicy(rounds=2, barrier_deadline_s=90.0, round_deadline_s=10.0)
    assert gate_limits_s(policy, assembly_s=5.0) == (5.0, 90.0, 10.0, 10.0, 10.0)
