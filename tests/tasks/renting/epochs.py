"""A state with one finished epoch: what renting knows of the network."""

from dataclasses import replace

from storage.records import EpochHeader, ExecutorRecord, MinerReply
from storage.state import State
from tasks.policy import DEFAULT
from tests.tasks.renting.leases import NOON
from tests.tasks.scoring.worlds import executor, report, score, verdict, view
from tests.tasks.scoring.worlds import grounds as grounds_of

MINER = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"


def finish(
    engine,
    machines,
    *,
    epoch=7,
    endpoint="127.0.0.1:1",
    leased=(),
    quotes=(),
    cards=2,
    listed=("NVIDIA L4", 23_034, None),
    wanted=(),
    weights=(),
    **terms,
):
    """Finish an epoch that has proved these machines, given as executors; `terms` are of all their scores.

    `listed`: the cards' model as nvidia-smi names it, their MiB, and their UUIDs, where they are not made up.
    `wanted`: what the miner wants of its machines' leases. `weights`: a vector and what became of it.
    """
    model, vram_mib, uuids = listed
    miners = sorted({machine.miner_hotkey for machine in machines})
    subnet = view(*miners)
    subnet = replace(
        subnet,
        neurons=tuple(replace(n, endpoint=endpoint) if n.hotkey in miners else n for n in subnet.neurons),
    )
    state = State(engine)
    state.open_epoch(
        EpochHeader(epoch, 51, epoch * 50, "0xab", "5Validator", "default", "0" * 16, "0.1", NOON)
    )
    replies = [MinerReply(MINER, 1, (), (), terms=tuple(wanted))] if wanted else []
    state.save_discovery(epoch, replies, machines)
    state.save_reports(
        epoch, [named(report(m, model=model, cards=cards, vram_mib=vram_mib), uuids) for m in machines]
    )
    state.save_verdicts(epoch, [proof(m, cards, uuids) for m in machines])
    records = [ExecutorRecord(m.key, NOON, epochs_seen=10, epochs_passed=9) for m in machines]
    state.save_grounds(epoch, grounds_of(subnet, records, leased=leased, quotes=quotes, policy=DEFAULT))
    given = {
        "model": "L4",
        "card_count": cards,
        "vram_bytes": cards * 23_034 << 20,
        "performance": 1.0,
        "passed": 1.0,
        **terms,
    }
    state.save_scores(
        epoch,
        [replace(score(1.0, m.miner_hotkey, m.executor_id), **given) for m in machines],
    )
    if weights:
        state.save_weights(*weights)
    state.finish_counted(epoch, records, [])


def proof(machine, cards=2, uuids=None):
    """A machine's verdict, with UUIDs that are its own."""
    made = verdict(machine, *[300.0] * cards)
    own = uuids or [f"GPU-{machine.key}-{index}" for index in range(cards)]
    return replace(made, cards=tuple(replace(c, card_uuid=own[c.card_index]) for c in made.cards))


def named(told, uuids):
    """A report whose cards have these UUIDs, where some are given."""
    if uuids is None:
        return told
    cards = tuple(replace(card, uuid=uuids[card.index]) for card in told.facts.cards)
    return replace(told, facts=replace(told.facts, cards=cards))


def machine(name="a", miner=MINER, price=1.0):
    """A machine, for so many dollars an hour."""
    return executor(miner, name, 1, price)
