"""Small worlds to score: machines of miners on a subnet, everything about them an argument."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from storage.records import (
    ALPHA_TAO,
    TOKEN,
    Bandwidth,
    Card,
    CardProof,
    Executor,
    ExecutorRecord,
    Grounds,
    Head,
    HostFacts,
    HostReport,
    Lease,
    Neuron,
    Quote,
    Score,
    Standing,
    SubnetView,
    Verdict,
)
from tasks.policy import DEFAULT, CollateralPolicy

NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)
MODELS = {"NVIDIA GeForce RTX 4090": 24_564, "NVIDIA H200": 143_771, "NVIDIA L4": 23_034}

ISOLATED, SHARED = ("runc", "sysbox-runc"), ("runc",)
"""Runtimes of a container engine."""


def executor(miner="5Alice", name="m-0", uid=1, price=0.1):
    """A machine of a miner."""
    return Executor(name, miner, uid, 1, "127.0.0.2", 22, "root", "/usr/bin/python3", b"k" * 51, price)


def report(
    machine,
    *,
    model="NVIDIA H200",
    cards=1,
    mbit_s=1_000.0,
    reasons=(),
    runtimes=ISOLATED,
    driver="580.65.06",
    vram_mib=None,
):
    """What inspection told of it."""
    listed = tuple(
        Card(i, f"GPU-{machine.key}-{i}", model, vram_mib or MODELS.get(model, 8_192), driver, *[None] * 8)
        for i in range(cards)
    )
    bandwidth = None if mbit_s is None else Bandwidth(mbit_s, mbit_s, 1)
    facts = HostFacts(cards=listed, container_runtimes=runtimes, disk_free_bytes=10**13)
    return HostReport(machine.key, facts, (), bandwidth, reasons, 0.1, 0.2)


def verdict(machine, *gb_s, severity=None, reasons=()):
    """Its proof: a bandwidth for each card."""
    cards = tuple(
        CardProof(f"GPU-{i}", i, severity is None, "PROVED", "", 1 << 30, 1.0, 1.0, figure, 1.0)
        for i, figure in enumerate(gb_s)
    )
    return Verdict(
        machine.key, "PROVED" if severity is None else "PROOF_TOO_LATE", severity, cards, reasons, b"", 0
    )


def record(machine, *, passed_for=None, up=None, down=None):
    """What earlier epochs know of it."""
    since = None if passed_for is None else NOW - passed_for
    return ExecutorRecord(machine.key, NOW, 5, 5, 5, since, "NVIDIA H200", 1, (), up, down)


def view(*hotkeys, owner="5Owner", locked=None):
    """A subnet on which the owner has uid 0 and the hotkeys those after it."""
    neurons = tuple(
        Neuron(
            uid=uid,
            hotkey=hotkey,
            coldkey="5Cold",
            endpoint=None,
            is_active=True,
            has_permit=False,
            stake_rao=0,
            last_update_block=0,
            registered_at_block=0,
            incentive=0.0,
            dividends=0.0,
            collateral_locked_rao=(locked or {}).get(hotkey),
        )
        for uid, hotkey in enumerate((owner, *hotkeys))
    )
    head = Head(350, "0xab", NOW, 12.0, 360, 0, 360)
    return SubnetView(3, head, neurons, owner, 0, 100, 1, is_commit_reveal=False)


def score(value, miner="5Alice", name="m-0"):
    """A machine's score, as far as weights look at it."""
    return Score(f"{miner}/{name}", miner, 1, "H200", 1, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, value, ())


def lease(machine, *cards, rent=1.0, since=NOW - timedelta(days=1)):
    """A renter's right to a machine, or to some of its cards by number."""
    uuids = tuple(f"GPU-{machine.key}-{number}" for number in cards)
    return Lease(f"lease-{machine.key}-{cards}", machine.key, uuids, rent, since)


def grounds(subnet, records=(), *, leased=(), leases=(), deposits=(), quotes=(), policy=DEFAULT, now=NOW):
    """What scoring is given of a subnet, of machines that are known, leased (by key, whole, for 1 USD an hour) or deposited for."""
    known, deposited = {r.executor_key: r for r in records}, dict(deposits)
    leases = (*leases, *(Lease(f"lease-{key}", key, (), 1.0, now - timedelta(days=1)) for key in leased))
    rented = {lease.executor_key for lease in leases}
    standings = tuple(
        Standing(key, known.get(key) or ExecutorRecord(key), key in rented, deposited.get(key, 0))
        for key in sorted({*known, *rented, *deposited})
    )
    return Grounds(now, policy.to_json(), subnet.owner_hotkey, subnet.neurons, standings, quotes, leases)


ASKING = replace(
    DEFAULT, collateral=CollateralPolicy(source="chain", units_rao=(), other_unit_rao=10**9, days=1)
)
"""One TAO of a miner's lock for each card."""
PAR = (Quote(TOKEN, ALPHA_TAO, 1.0, "chain", NOW),)
"""An alpha that costs a TAO."""
DAYS_5 = timedelta(days=5)
