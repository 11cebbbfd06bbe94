from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace

import pytest

from deployments.localnet.fleet.figures import NOT_TRIED, NOT_VISITED, outcomes_of, percentile, steps_of
from storage.records import Bandwidth, Card, HostFacts, HostReport, Reason, Severity, Verdict
from tests.storage.outcomes import small_outcome

AWAY = Reason("HOST_TIMEOUT", Severity.NO_VERDICT, "silence", "an answer", "Be there.")
CARD = Card(0, "GPU-1", "NVIDIA L4", 24_000, "570.0", None, None, None, None, None, None, None, None)
WARNED = Reason("OLD_SYSTEM", Severity.WARN, "18.04", "20.04", "Upgrade.")


def _report(key, *reasons, connect_s=0.5, is_there=True):
    facts = HostFacts(cards=(CARD,)) if is_there else HostFacts()
    return HostReport(key, facts, (), Bandwidth(90.0, 90.0, 1, 100.0), reasons, connect_s, connect_s + 1.0)


def _transcript(ready_s):
    def exchange(sent_s):
        return {"nonce": "", "roots": [], "sent_s": sent_s, "received_s": sent_s + 0.25}

    reply = {
        "ready_s": ready_s,
        "rounds": [exchange(ready_s + 1), exchange(ready_s + 2)],
        "product": exchange(ready_s + 3),
        "opened_s": ready_s + 4.0,
    }
    return json.dumps({"challenge": {}, "reply": reply, "failure": None}).encode()


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_a_value_that_was_measured(share, value):
    """The least that so great a share does not exceed, of 1 to 100 in any order."""
    assert percentile([*range(100, 50, -1), *range(1, 51)], share) == value


def test_steps_are_told_of_machines_that_came_to_their_end():
    """Visits from the reports, the proof's parts from the transcripts; who never answered has no time of a visit."""
    outcome = replace(
        small_outcome(machines=3),
        reports=(
            _report("a", connect_s=0.5),
            _report("b", connect_s=0.7),
            _report("c", AWAY, is_there=False),
        ),
    )
    told = {s.name: s for s in steps_of(outcome, [("a", _transcript(5.0)), ("b", b"")])}

    assert (told["connect and login"].count, told["connect and login"].most_s) == (2, 0.7)
    assert told["round trip"].p50_s == 0.1
    assert told["facts and bandwidth"].p99_s == pytest.approx(1.0)
    assert told["proof: fill"].p50_s == 5.0
    assert told["proof: walk 2"].p50_s == told["proof: product"].p50_s == 0.25
    assert told["proof: from product to opened"].p50_s == 0.75


def test_steps_that_records_keep_appear_by_themselves():
    """Whatever their names; then nobody reads the transcripts."""

    @dataclass(frozen=True)
    class Step:
        name: str
        seconds: float

    @dataclass(frozen=True)
    class Timed(Verdict):
        steps: tuple = ()

    outcome = small_outcome(machines=1)
    old = {f.name: getattr(outcome.verdicts[0], f.name) for f in fields(Verdict)}
    timed = Timed(**old | {"steps": (Step("start", 1.5), Step("ready", 2.0))})
    outcome = replace(outcome, verdicts=(timed,))

    told = steps_of(outcome, [("a", b"never read")])

    assert [(step.name, step.p50_s) for step in told] == [("proof: start", 1.5), ("proof: ready", 2.0)]


def test_a_failed_proof_has_no_parts():
    """Its transcript holds a failure in the place of a reply."""
    failed = json.dumps({"challenge": {}, "reply": None, "failure": {}}).encode()

    assert steps_of(small_outcome(), [("a", failed)]) == ()


def test_every_machine_has_one_end():
    """What decided, else the verdict, else that nobody came so far; most frequent first."""
    outcome = small_outcome(machines=5)
    keys = [e.key for e in outcome.executors]
    reports = (_report(keys[0]), _report(keys[1], WARNED), _report(keys[2], WARNED, AWAY), _report(keys[3]))
    outcome = replace(outcome, reports=reports, verdicts=outcome.verdicts[:2])

    assert outcomes_of(outcome) == {"PROVED": 2, "HOST_TIMEOUT": 1, NOT_TRIED: 1, NOT_VISITED: 1}
