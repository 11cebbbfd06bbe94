from dataclasses import replace
from datetime import UTC, datetime
from itertools import permutations

import pytest

from storage.records import Bandwidth, Card, ExecutorRecord, GpuProcess, HostFacts, Severity
from tasks.inspection.checks import CHECKS, Claim, check_host, find_duplicates, smooth
from tasks.policy import DEFAULT, GIB, LOCALNET

POLICY = DEFAULT.inspection
UUIDS = tuple(f"GPU-00000000-0000-4000-8000-{i:012x}" for i in range(20))
CARD = Card(
    index=0,
    uuid=UUIDS[0],
    model="NVIDIA GeForce RTX 4090",
    vram_mib=24_564,
    driver="570.133.20",
    graphics_clock_mhz=3_105,
    memory_clock_mhz=10_501,
    power_limit_w=450.0,
    power_default_w=450.0,
    pcie_generation=4,
    pcie_width=16,
    utilisation_pct=0,
    memory_used_mib=1,
)
FACTS = HostFacts(
    cards=(CARD,),
    gpu_count=1,
    ram_bytes=64 * GIB,
    disk_free_bytes=500 * GIB,
    os_id="ubuntu",
    os_version="22.04",
    kernel="Linux 5.15.0-91-generic x86_64",
    container_runtime="docker 28.2.2",
)
RECORD = ExecutorRecord("5Miner/a")
FAST = Bandwidth(up_mbit_s=900.0, down_mbit_s=900.0, samples=1)
PROCESS = GpuProcess(
    pid=77, card_uuid=UUIDS[0], name="python3", memory_mib=900, owner="container:1f2e3d4c5b6a"
)


def reasons(card=None, record=RECORD, bandwidth=FAST, policy=POLICY, owners=frozenset(), **facts):
    """All reasons against a good machine with one thing about it changed."""
    host = replace(FACTS, **facts)
    if card:
        host = replace(host, cards=(replace(CARD, **card),))
    return check_host(host, record, bandwidth, policy, owners)


def codes(found):
    return [reason.code for reason in found]


def cards(count, **changed):
    return tuple(replace(CARD, index=i, uuid=UUIDS[i], **changed) for i in range(count))


def test_good_machine_has_no_reason():
    """Nothing speaks against a machine that has all that is asked."""

    assert reasons() == ()


def test_machine_that_says_nothing_fails_all_it_needs():
    """A fact that was not given never passes a check that needs it, and all reasons come at once."""

    found = check_host(HostFacts(), RECORD, None, POLICY)

    assert [(r.code, r.severity.value) for r in found] == [
        ("GPU_COUNT_ZERO", "fail"),
        ("GPU_DETAILS_MISMATCH", "fail"),
        ("RAM_BELOW_MINIMUM", "fail"),
        ("DISK_BELOW_MINIMUM", "fail"),
        ("NETWORK_SPEED_TOO_SLOW", "no_verdict"),
        ("OS_NOT_LINUX", "fail"),
        ("OS_NOT_RECOMMENDED", "warn"),
        ("CONTAINER_RUNTIME_MISSING", "warn"),
    ]


@pytest.mark.parametrize(("rtt_ms", "mbit_s"), [(30.0, 100.0), (140.0, 25.0), (200.0, 17.6), (300.0, 11.7)])
def test_far_machine_passes_by_what_a_channel_carries(rtt_ms, mbit_s):
    """A third of window / round trip is enough: 1.31 MB in 200 ms are 52 Mbit/s at most, so 17.5 are asked for."""

    assert reasons(bandwidth=Bandwidth(mbit_s, mbit_s, 2, rtt_ms)) == ()


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"cards": (), "gpu_count": 0}, "GPU_COUNT_ZERO"),
        ({"cards": cards(15), "gpu_count": 15}, "GPU_COUNT_EXCEEDS_MAX"),
        ({"gpu_count": 2}, "GPU_DETAILS_MISMATCH"),
        ({"gpu_count": None}, "GPU_DETAILS_MISMATCH"),
        ({"card": {"model": "NVIDIA GeForce GTX 1080 Ti"}}, "GPU_MODEL_UNSUPPORTED"),
        ({"card": {"model": "NVIDIA GeForce RTX 4090 Laptop GPU"}}, "GPU_MODEL_UNSUPPORTED"),
        ({"card": {"model": "Tesla P100-PCIE-16GB"}}, "GPU_MODEL_UNSUPPORTED"),
        ({"card": {"model": "Tesla V100-SXM2-32GB"}}, "GPU_MODEL_UNSUPPORTED"),
        ({"card": {"vram_mib": 16_380}}, "GPU_VRAM_MISMATCH"),
        ({"card": {"vram_mib": 49_140}}, "GPU_VRAM_MISMATCH"),
        ({"card": {"driver": ""}}, "DRIVER_MISSING"),
        ({"card": {"uuid": "GPU-1234"}}, "GPU_UUID_MALFORMED"),
        ({"card": {"uuid": UUIDS[10].upper()}}, "GPU_UUID_MALFORMED"),
        ({"card": {"uuid": UUIDS[0] + "0"}}, "GPU_UUID_MALFORMED"),
        ({"cards": (CARD, replace(CARD, index=1)), "gpu_count": 2}, "GPU_UUID_REPEATED"),
        ({"card": {"power_limit_w": 404.9}}, "GPU_POWER_LIMIT_BELOW_DEFAULT"),
        ({"card": {"memory_used_mib": 3_072}}, "GPU_VRAM_HELD"),
        ({"ram_bytes": 15 * GIB}, "RAM_BELOW_MINIMUM"),
        ({"disk_free_bytes": 100 * GIB - 1}, "DISK_BELOW_MINIMUM"),
        ({"bandwidth": Bandwidth(99.9, 900.0, 1)}, "NETWORK_SPEED_TOO_SLOW"),
        ({"bandwidth": Bandwidth(900.0, 99.9, 1)}, "NETWORK_SPEED_TOO_SLOW"),
        ({"bandwidth": Bandwidth(float("nan"), 900.0, 1)}, "NETWORK_SPEED_TOO_SLOW"),
        ({"bandwidth": None}, "NETWORK_SPEED_TOO_SLOW"),
        ({"bandwidth": Bandwidth(99.9, 900.0, 1, rtt_ms=30.0)}, "NETWORK_SPEED_TOO_SLOW"),
        ({"bandwidth": Bandwidth(17.0, 900.0, 1, rtt_ms=200.0)}, "NETWORK_SPEED_TOO_SLOW"),
        ({"bandwidth": Bandwidth(11.0, 900.0, 1, rtt_ms=60_000.0)}, "NETWORK_SPEED_TOO_SLOW"),
        ({"kernel": "FreeBSD 14.1-RELEASE amd64"}, "OS_NOT_LINUX"),
        ({"os_version": "18.04"}, "OS_NOT_RECOMMENDED"),
        ({"os_id": "debian", "os_version": "12"}, "OS_NOT_RECOMMENDED"),
        ({"os_version": "rolling"}, "OS_NOT_RECOMMENDED"),
        ({"container_runtime": None}, "CONTAINER_RUNTIME_MISSING"),
        ({"record": replace(RECORD, model="NVIDIA GeForce RTX 3090", card_count=1)}, "SPEC_CHANGED"),
        ({"record": replace(RECORD, model="NVIDIA GeForce RTX 4090", card_count=2)}, "SPEC_CHANGED"),
        ({"record": replace(RECORD, card_uuids=(UUIDS[1],))}, "GPU_UUID_CHANGED"),
        ({"record": replace(RECORD, card_uuids=UUIDS[:2])}, "GPU_UUID_CHANGED"),
    ],
)
def test_one_thing_wrong_is_one_reason(changed, code):
    """Each defect alone gives its own code alone, with what was got, what was wanted and the mend."""

    found = reasons(**changed)

    assert codes(found) == [code]
    assert all((found[0].got, found[0].wanted, found[0].mend))


def test_a_card_before_turing_is_told_that_it_is_too_old():
    """Volta and Pascal are unsupported for good; an unknown name may still be added to the table."""

    (old,), (unknown,) = (reasons(card={"model": m}) for m in ("Tesla V100-SXM2-32GB", "NVIDIA B900"))

    assert (old.got, old.wanted) == (
        "Tesla V100-SXM2-32GB",
        "a card of Turing or newer (compute capability 7.5 or more) that the table of models has",
    )
    assert "don't run on Volta, Pascal and older" in old.mend
    assert "added with its datasheet" in unknown.mend


@pytest.mark.parametrize(
    "changed",
    [
        {"cards": cards(14), "gpu_count": 14},
        {"card": {"model": "GeForce  rtx 4090"}},
        {"card": {"vram_mib": 22_118}},  # 0.90 x 24,564 = 22,107.6
        {"card": {"vram_mib": 25_792}},  # 1.05 x 24,564 = 25,792.2
        {"card": {"model": "NVIDIA GeForce RTX 4060", "vram_mib": 8_188}},  # 8 GB on the box
        {"card": {"power_limit_w": 405.0}},  # exactly 90 % of 450 W
        {"card": {"power_limit_w": None}},
        {"card": {"memory_used_mib": 2_048}},
        {"card": {"utilisation_pct": 100}},  # nobody on the card: a driver's reading, no use
        {"ram_bytes": 16_374_000 << 10},  # MemTotal of a machine with 16 GiB of modules
        {"disk_free_bytes": 100 * GIB},
        {"bandwidth": Bandwidth(100.0, 100.0, 1)},
        {"os_version": "20.04"},
        {"os_version": "24.10"},
        {"record": replace(RECORD, model="GeForce RTX 4090", card_count=1, card_uuids=UUIDS[:1])},
    ],
)
def test_what_is_just_enough_passes(changed):
    """The edge of every bound belongs to the machine."""

    assert reasons(**changed) == ()


def test_memory_is_matched_to_one_real_size_never_to_a_span():
    """A 4060 Ti is sold with 8 and 16 GB, so 12 GB, in between, is a lie that shows both windows."""

    found = reasons(card={"model": "NVIDIA GeForce RTX 4060 Ti", "vram_mib": 12_282})

    assert codes(found) == ["GPU_VRAM_MISMATCH"]
    assert found[0].wanted == "GeForce RTX 4060 Ti: 14742 to 17199 MiB or 7369 to 8597 MiB"


def test_card_too_small_is_told_beside_its_other_faults():
    """A 2060 of 6 GB has too little memory and is not the edition of 12 GB that is supported."""

    found = reasons(card={"model": "NVIDIA GeForce RTX 2060", "vram_mib": 6_144})

    assert codes(found) == ["GPU_VRAM_MISMATCH", "GPU_VRAM_BELOW_MINIMUM"]


def test_mixed_models_are_counted():
    """Two models in one machine are told with their numbers."""

    other = replace(CARD, index=1, uuid=UUIDS[1], model="NVIDIA GeForce RTX 3090", vram_mib=24_576)
    found = reasons(cards=(CARD, other), gpu_count=2)

    assert codes(found) == ["MIXED_MODELS"]
    assert found[0].got == "1 x NVIDIA GeForce RTX 3090, 1 x NVIDIA GeForce RTX 4090"


@pytest.mark.parametrize(
    ("owner", "utilisation", "expected"),
    [
        ("container:1f2e3d4c5b6a", 100, []),
        ("alice", 0, ["GPU_FOREIGN_PROCESS"]),
        ("alice", 5, ["GPU_FOREIGN_PROCESS"]),
        ("alice", 6, ["GPU_USAGE_HIGH", "GPU_FOREIGN_PROCESS"]),
        ("", 0, ["GPU_FOREIGN_PROCESS"]),
    ],
)
def test_only_the_lease_may_hold_its_card(owner, utilisation, expected):
    """A process of the lease's container is at home; any other is foreign, and use when it works the card."""

    found = reasons(
        card={"utilisation_pct": utilisation, "memory_used_mib": 901},
        processes=(replace(PROCESS, owner=owner),),
        owners=frozenset({"container:1f2e3d4c5b6a"}),
    )

    assert codes(found) == expected


@pytest.mark.parametrize(
    ("used_mib", "processes", "is_held"),
    [
        (3_000, (), True),
        (3_000, (PROCESS,), True),  # 3,000 - 900 = 2,100 MiB that nobody owns
        (2_900, (PROCESS,), False),  # 2,900 - 900 = 2,000 MiB
        (3_000, (replace(PROCESS, memory_mib=None),), False),  # who holds how much is not said
        (3_000, (replace(PROCESS, card_uuid=UUIDS[5]),), True),  # it holds another card
        (None, (), False),
    ],
)
def test_memory_without_an_owner_is_held(used_mib, processes, is_held):
    """Memory in use is set against the processes of that very card."""

    found = reasons(
        card={"memory_used_mib": used_mib}, processes=processes, owners=frozenset({PROCESS.owner})
    )

    assert codes(found) == (["GPU_VRAM_HELD"] if is_held else [])


def test_lowered_host_minimum_is_said_in_every_row():
    """Under the local subnet's policy a small host passes, and a warning says what a real network asks."""

    found = reasons(ram_bytes=2 * GIB, disk_free_bytes=2 * GIB, policy=LOCALNET.inspection)

    assert [(r.code, r.severity) for r in found] == [("HOST_MINIMUM_LOWERED", Severity.WARN)]
    assert found[0].got == "minimum of 1.0 GiB RAM, 1.0 GiB disk, 1 Mbit/s"
    assert found[0].wanted == "on a real network 16.0 GiB RAM, 100.0 GiB disk, 100 Mbit/s"


def test_all_reasons_come_at_once():
    """A machine with six faults hears of all six."""

    found = reasons(
        card={"driver": "", "power_limit_w": 200.0, "memory_used_mib": 9_000},
        gpu_count=2,
        ram_bytes=1 * GIB,
        os_id="alpine",
    )

    assert codes(found) == [
        "GPU_DETAILS_MISMATCH",
        "DRIVER_MISSING",
        "GPU_POWER_LIMIT_BELOW_DEFAULT",
        "GPU_VRAM_HELD",
        "RAM_BELOW_MINIMUM",
        "OS_NOT_RECOMMENDED",
    ]


def test_every_check_says_its_rule():
    """A newcomer reads the list of checks, so each has a sentence and a name of its own."""

    assert len({check.__name__ for check in CHECKS}) == len(CHECKS)
    assert all((check.__doc__ or "").strip().endswith(".") for check in CHECKS)


@pytest.mark.parametrize(
    ("previous", "sample", "weight", "expected"),
    [(None, 40.0, 0.5, 40.0), (100.0, 40.0, 0.5, 70.0), (100.0, 40.0, 1.0, 40.0), (100.0, 40.0, 0.25, 85.0)],
)
def test_bandwidth_is_smoothed(previous, sample, weight, expected):
    """A sample counts with its weight against what is remembered; the first one stands alone."""

    assert smooth(previous, sample, weight) == expected


def seen(day):
    return datetime(2026, 9, day, tzinfo=UTC)


@pytest.mark.parametrize(
    ("one", "two", "younger"),
    [
        (Claim("b/x", 900, seen(1), UUIDS[:1]), Claim("a/x", 100, seen(2), UUIDS[:1]), "a/x"),
        (Claim("b/x", 900, seen(1), UUIDS[:1]), Claim("a/x", 100, None, UUIDS[:1]), "a/x"),
        (Claim("a/x", 900, None, UUIDS[:1]), Claim("b/x", 100, None, UUIDS[:1]), "a/x"),
        (Claim("a/x", 100, None, UUIDS[:1]), Claim("a/y", 100, None, UUIDS[:1]), "a/y"),
        (Claim("a/x", 100, None, UUIDS[10:11]), Claim("b/x", 200, None, (UUIDS[10].upper(),)), "b/x"),
    ],
)
def test_younger_claim_to_a_card_is_the_duplicate(one, two, younger):
    """First seen, then registration, then key decide whose a card is; the younger is told whose."""

    older = ({one.executor_key, two.executor_key} - {younger}).pop()

    for claims in permutations([one, two]):
        found = find_duplicates(claims)

        assert [(key, reason.code) for key, reason in found.items()] == [(younger, "UUID_DUPLICATE")]
        assert f"executor {older} listed before" in found[younger].got


def test_who_fails_by_itself_keeps_nobody_elses_card():
    """A machine that never passes may list a rival's cards for ever: the rival is no duplicate, it is."""

    squatter = Claim("a/x", 1, seen(1), UUIDS[:1], is_sound=False)
    rival = Claim("b/x", 2, None, UUIDS[:1])

    assert [*find_duplicates([squatter, rival])] == ["a/x"]


def test_duplicates_over_a_network():
    """Three claims to one card leave one holder; own repetitions and cards of one's own are no duplicates."""

    claims = [
        Claim("c/x", 3, None, (UUIDS[0], UUIDS[1], UUIDS[2])),
        Claim("a/x", 1, None, (UUIDS[0], UUIDS[0])),
        Claim("b/x", 2, None, (UUIDS[0], UUIDS[1])),
        Claim("d/x", 4, None, (UUIDS[3],)),
        Claim("e/x", 5, None, ()),
    ]
    expected = {
        "b/x": f"card {UUIDS[0].lower()}, which executor a/x listed before",
        "c/x": f"card {UUIDS[0].lower()} and 1 more, which executor a/x listed before",
    }

    for order in permutations(claims):
        assert {key: reason.got for key, reason in find_duplicates(order).items()} == expected
