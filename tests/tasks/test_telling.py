"""Every miner is told what its machines got, all of it, in a form that its door takes."""

import asyncio
from dataclasses import replace

import pytest

from deployments.miner.agent import build_app
from deployments.miner.listening import serve
from storage.records import ExecutorRecord, Grounds, MinerReply, Reason, Severity, Standing
from tasks.edges import wire
from tasks.edges.nonces import NonceStore
from tasks.edges.peers import Peers, PeerSettings
from tasks.offering.config import MinerConfig
from tasks.offering.memory import told_results
from tasks.scoring.reading import terms_of
from tasks.telling import by_miner, machine_result, results_of
from tests.deployments.miner.test_agent import MINER, VALIDATOR
from tests.storage.outcomes import NOON, small_outcome
from tests.tasks.scoring.worlds import view

DISK = Reason("DISK_BELOW_MINIMUM", Severity.FAIL, "20 GiB \u202e free\n", "100 GiB", "Free some disk.")
LOWERED = Reason("HOST_MINIMUM_LOWERED", Severity.WARN, "", "", "")
REPLY = MinerReply("5Alice", 4, (), (), b"signed")


def outcome(machines=2):
    """An epoch in which Alice's machines were scored."""
    base = small_outcome(128, machines=machines)
    scores = tuple(replace(s, reasons=(LOWERED, DISK)) for s in base.scores)
    standings = tuple(
        Standing(
            s.executor_key,
            ExecutorRecord(s.executor_key, passed_since=NOON, card_uuids=("GPU-1",)),
            is_leased=False,
            deposited_rao=0,
        )
        for s in scores
    )
    return replace(base, scores=scores, grounds=Grounds(NOON, "{}", "5Owner", (), standings))


def test_a_bill_has_every_term_and_every_reason():
    """All factors that are used, the cards that the machine is held to, reasons that decide first, foreign text plain."""

    told = results_of(outcome(), REPLY)

    first = told.machines[0]
    assert (told.epoch, told.weight, told.scored_at) == (128, 1.0, int(NOON.timestamp()))
    assert (first.executor_id, first.score, first.cards) == ("m-0", 0.3, ("GPU-1",))
    assert first.terms == {
        "card_count": 1.0,
        "rate_usd_per_hour": 0.3,
        "performance": 1.0,
        "bandwidth": 1.0,
        "uptime": 1.0,
        "collateral": 1.0,
        "passed": 1.0,
    }
    assert [(r.code, r.got) for r in first.reasons] == [
        ("DISK_BELOW_MINIMUM", "20 GiB ? free?"),
        ("HOST_MINIMUM_LOWERED", ""),
    ]


def test_a_formulas_own_terms_are_told_where_it_uses_them():
    """A term that changes nothing in this formula is left out."""
    score = replace(outcome().scores[0], isolation=1.2)

    assert terms_of(score)["isolation"] == 1.2
    assert "portion" not in terms_of(score)


def test_an_epoch_is_split_by_miner_once():
    """Each miner's part tells it what the whole would; of ten thousand machines nobody looks through all for each miner."""
    whole = outcome()
    other = replace(whole.scores[1], executor_key="5Bob/m-1", miner_hotkey="5Bob")
    whole = replace(whole, scores=(whole.scores[0], other))

    parts = by_miner(whole)

    assert set(parts) == {"5Alice", "5Bob"}
    assert results_of(parts["5Alice"], REPLY) == results_of(whole, REPLY)
    assert [s.executor_key for s in parts["5Bob"].scores] == ["5Bob/m-1"]


def test_other_miners_machines_are_nobodys_business():
    """A miner is told of its own machines only."""

    assert results_of(outcome(), replace(REPLY, hotkey="5Bob")).machines == ()


def test_what_does_not_fit_is_counted():
    """As many machines as the door takes bytes; the rest is a number."""
    long = Reason("DISK_BELOW_MINIMUM", Severity.FAIL, "x" * 900, "y" * 900, "z" * 900)
    many = outcome(machines=256)
    many = replace(many, scores=tuple(replace(s, reasons=(long,) * 40) for s in many.scores))

    told = results_of(many, REPLY)

    assert len(told.model_dump_json()) <= wire.MAX_RESULTS_BYTES
    assert (len(told.machines) > 5, len(told.machines) + told.left_out) == (True, 256)
    assert wire.Results.model_validate_json(told.model_dump_json()) == told


@pytest.mark.parametrize(("folder", "took"), [("memory", True), (None, False)])
def test_a_door_takes_results_where_it_keeps_them(tmp_path, folder, took):
    """Over real HTTP; an agent without a folder, and one that is away, cost a bounded wait."""
    config = MinerConfig((), folder=tmp_path / folder if folder else None)
    app = build_app(config, MINER, lambda _: True, NonceStore(tmp_path / "n.sqlite"))
    neuron = replace(view(MINER.ss58_address).neurons[1], hotkey=MINER.ss58_address)
    told = results_of(outcome(), REPLY)

    async def exchange():
        async with Peers(VALIDATOR, PeerSettings(allow_private=True, deadline_s=5.0)) as peers:
            async with serve(app, "127.0.0.1", 0) as port:
                first = await peers.tell(replace(neuron, endpoint=f"127.0.0.1:{port}"), told)
            return first, await peers.tell(replace(neuron, endpoint=f"127.0.0.1:{port}"), told)

    assert asyncio.run(exchange()) == (took, False)
    assert told_results(tmp_path / "memory") == ({VALIDATOR.ss58_address: told} if took else {})


def test_a_first_meeting_has_no_record():
    """A machine that nothing is known of is told what there is."""
    told = machine_result(outcome().scores[0], None)

    first = machine_result(outcome().scores[0], None, ("GPU-1",))

    assert (told.cards, told.passed_since) == ((), None)
    assert first.cards == ("GPU-1",)


def test_a_miner_is_told_why_its_uptime_begins_anew():
    """How often the record was set back, when the last time, and for which reason."""
    record = ExecutorRecord("5Alice/m-0", resets=2, reset_at=NOON, reset_code="FAILURE_BUDGET")

    told = machine_result(outcome().scores[0], record)

    assert (told.resets, told.reset_at, told.reset_code) == (2, int(NOON.timestamp()), "FAILURE_BUDGET")
