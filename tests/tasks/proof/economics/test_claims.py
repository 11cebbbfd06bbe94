"""What hardware can prove: formulas by hand, against counted work, and which way they bend."""

import random
from dataclasses import replace

import pytest

from tasks.inspection.models import find
from tasks.policy import DEFAULT
from tasks.proof.challenge import Origin, challenge_for
from tasks.proof.conversation import Exchange, Reply
from tasks.proof.economics.claims import (
    Sources,
    claim,
    held_share,
    passes,
    proved_share,
    round_by_columns_s,
    round_by_rows_s,
    round_in_turn_s,
    round_shared_s,
)
from tasks.proof.economics.hardware import Cards, every_card, made_anew_gb_s
from tasks.proof.economics.table import model_named
from tasks.proof.verdict import proved_bandwidth_gb_s


def cards(name, count=1):
    model = model_named(name)
    return Cards(model, model.skus[0], count)


def under(**changes):
    """The policy `default` with other values of the proof."""
    return replace(DEFAULT, proof=replace(DEFAULT.proof, **changes))


A100, RTX_4090 = model_named("A100-SXM4-80GB"), model_named("GeForce RTX 4090")


def test_lines_made_anew_by_hand():
    """128 SMs x 64 lanes x 2.52 GHz / (32 compressions x 640 instructions) x 32 bytes; all 960 where lanes take either kind."""
    assert made_anew_gb_s(RTX_4090, 32) == pytest.approx(128 * 64 * 2.52 / (32 * 640) * 32)
    assert made_anew_gb_s(model_named("GeForce RTX 5090"), 32) == pytest.approx(
        170 * 128 * 2.407 / (32 * 960) * 32
    )


RATIOS = {
    "RTX PRO 6000 Blackwell": 27,
    "GeForce RTX 5090": 32,
    "L4": 37,
    "GeForce RTX 4090": 44,
    "GeForce RTX 3090": 100,
    "A100-SXM4-80GB": 200,
    "H100 80GB HBM3": 200,
    "B200": 430,
}


@pytest.mark.parametrize("name", RATIOS)
def test_making_a_line_costs_as_much_as_the_design_says(name):
    """Reading over making anew with all 960 instructions on the integer pipe, at w = 32, as the protocol's design has it."""
    model = model_named(name)
    all_instructions = made_anew_gb_s(model, 32) * (
        1.0 if ("RTX" in name and "50" in name) or "PRO" in name else 640 / 960
    )
    assert model.bandwidth_gb_s / all_instructions == pytest.approx(RATIOS[name], rel=0.08)


def test_a_round_is_what_the_challenge_asks():
    """Bytes of a round over the reference bandwidth; at least the policy's seconds."""
    of = claim(A100, DEFAULT)
    p = of.parameters
    assert of.round_bytes == p.walkers * p.segments * p.segment_steps * 128
    assert of.honest_round_s == pytest.approx(of.round_bytes / 2.039e12)
    assert of.honest_round_s >= DEFAULT.proof.round_s
    assert of.memory_bytes == pytest.approx(0.92 * 81_037 * (1 << 20), rel=1e-6)


@pytest.mark.parametrize("round_s", [0.06, 0.3, 0.376, 0.5, 2.0])
def test_the_proved_share_is_the_verdicts_own(round_s):
    """The same rounds in a real challenge give the verdict the same bandwidth, up to the ceiling."""
    of = claim(A100, DEFAULT)
    origin = Origin(51, 1_000, "0x" + "ab" * 32, "5V", "5M", "m", 1)
    challenge = challenge_for(origin, of.cards.sku, [(0, "GPU-0")], DEFAULT.proof, bytes)
    exchange = Exchange(bytes(32), (bytes(32),), 0.0, round_s)
    reply = Reply(0.0, (exchange,) * 4, exchange, (), 0.0, 0)
    proved = proved_bandwidth_gb_s(challenge, reply) / of.cards.bandwidth_gb_s
    assert proved_share(of, round_s) == pytest.approx(min(proved, 1.25))


def test_the_slowest_round_that_passes():
    """A third longer than the honest one and the credit: there the proved share is exactly the bound."""
    of = claim(RTX_4090, DEFAULT)
    assert proved_share(of, of.slowest_round_s) == pytest.approx(0.75)
    assert passes(of, proved_share(of, of.slowest_round_s * 0.999))
    assert not passes(of, proved_share(of, of.slowest_round_s * 1.001))


def test_a_card_that_holds_all_only_reads():
    """Enough memory: the round's bytes over the card's own bandwidth, whatever else it could do."""
    of, a40 = claim(model_named("RTX 6000 Ada Generation"), DEFAULT), cards("A40")
    assert held_share(of, a40) == 1.0
    everything = Sources(anew=True, host=True)
    assert round_by_rows_s(of, a40, Sources()) == round_by_rows_s(of, a40, everything)
    assert round_by_rows_s(of, a40, everything) == pytest.approx(of.round_bytes / 696e9)


def test_what_is_missing_comes_from_somewhere():
    """Half of the lines at 31.5 GB/s of PCI Express; made anew as well, both rates together; from nowhere, never."""
    of, small = claim(A100, DEFAULT), cards("A100-SXM4-40GB")
    missing = of.round_bytes * (1 - held_share(of, small))
    assert round_by_rows_s(of, small, Sources(host=True)) == pytest.approx(missing / 31.5e9)
    both = 31.5e9 + made_anew_gb_s(small.model, 32) * 1e9
    assert round_by_rows_s(of, small, Sources(host=True, anew=True)) == pytest.approx(missing / both)
    assert round_by_rows_s(of, small, Sources()) == float("inf")
    assert proved_share(of, float("inf")) == 0.0


def test_rows_cross_as_often_as_counted():
    """Two cards that hold D together: the counted share of steps that leave a card is the formula's."""
    of, two = claim(A100, DEFAULT), cards("A100-SXM4-40GB", 2)
    held, rng, steps = held_share(of, two), random.Random(1), 40_000
    crossed = 0
    for step in range(steps):
        line = rng.random()
        on_card = (line < held, line >= 1.0 - held)[
            step % 2
        ]  # walkers are shared evenly; each card has an end of D
        crossed += not on_card
    counted_bytes = crossed / steps * of.round_bytes / 2
    seconds = round_by_rows_s(of, two, Sources(nvlink=True))
    assert seconds == pytest.approx(counted_bytes / 300e9, rel=0.02)


def test_columns_cross_at_every_step():
    """Four cards with a quarter of each line: 96 bytes come to each step, and 24 bytes of addresses for others' steps."""
    of, four = claim(A100, DEFAULT), cards("A100-SXM4-40GB", 4)
    steps_each = of.round_bytes / 128 / 4
    assert round_by_columns_s(of, four, Sources(nvlink=True)) == pytest.approx(steps_each * 120 / 300e9)
    assert round_by_columns_s(of, four, Sources(nvlink=True)) > round_by_rows_s(
        of, four, Sources(nvlink=True)
    )


@pytest.mark.parametrize("listings", [2, 3, 8])
def test_serving_in_turn_by_a_timetable(listings):
    """The card's timetable over four rounds, each beginning with the listing that is loaded, gives the formula's mean."""
    of = claim(RTX_4090, DEFAULT)
    walk_s = of.round_bytes / 1_008e9
    fill_s = of.memory_bytes / 1e9 / made_anew_gb_s(RTX_4090, 32)
    order, answered = list(range(listings)), dict.fromkeys(range(listings), 0.0)
    for _ in range(4):
        now = 0.0
        for place, listing in enumerate(order):
            now += walk_s + (fill_s if place else 0.0)
            answered[listing] += now
        order.reverse()
    mean = round_in_turn_s(of, of.cards, listings)
    assert list(answered.values()) == pytest.approx([4 * mean] * listings)
    assert not passes(of, proved_share(of, mean))


def test_two_listings_in_turn_fail_even_with_instant_loading():
    """1.5 walks a round are over the bound and the credit for every model, so that no fast host can help."""
    for each in every_card():
        of = claim(each.model, DEFAULT)
        assert 1.5 * of.honest_round_s > of.slowest_round_s, each.model.name


def test_one_memory_for_two_is_half_recomputed():
    """Half of D missing for two walks at once is far from any bound."""
    of = claim(RTX_4090, DEFAULT)
    missing = 1 - held_share(of, of.cards) / 2
    rate = 31.5e9 + made_anew_gb_s(RTX_4090, 32) * 1e9
    assert round_shared_s(of, of.cards, 2) == pytest.approx(2 * missing * of.round_bytes / rate)


def least_memory(policy):
    """The least share of D that a card as fast as a 4090 must hold to pass, by making lines anew."""
    of = claim(RTX_4090, policy)
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        sku = replace(of.cards.sku, nominal_mib=int(middle * of.memory_bytes / (1 << 20)) + 300)
        seconds = round_by_rows_s(of, Cards(of.cards.model, sku), Sources(anew=True))
        low, high = (low, middle) if passes(of, proved_share(of, seconds)) else (middle, high)
    return high


def test_more_slack_hides_more_and_a_longer_chain_less():
    """What can hide grows with the bound's slack and the credit, and shrinks with w."""
    usual = least_memory(DEFAULT)
    assert least_memory(under(min_bandwidth_share=0.5)) < usual < least_memory(under(min_bandwidth_share=0.9))
    assert least_memory(under(latency_credit_s=0.1)) < usual < least_memory(under(latency_credit_s=0.0))
    assert least_memory(under(chain_w=8)) < usual < least_memory(under(chain_w=128))
    hidden = (1 / 0.75) / (1_008 / made_anew_gb_s(RTX_4090, 32))
    assert 1 - least_memory(under(latency_credit_s=0.0)) == pytest.approx(hidden, rel=0.01)


def test_models_are_found_by_the_names_that_links_are_listed_under():
    """Every model with a link in the tables exists: a renamed model must not lose its NVLink."""
    from tasks.proof.economics import hardware

    names = {*hardware.NVLINK_GB_S, *hardware.C2C_GB_S, *hardware.SWITCHED, *hardware.HALF_WIDE}
    assert [name for name in sorted(names) if find(model_named(name).aliases[0]) is None] == []
    assert cards("A100-SXM4-80GB", 4).nvlink_gb_s == 300.0
    assert (cards("RTX A6000", 2).nvlink_gb_s, cards("RTX A6000", 4).nvlink_gb_s) == (56.25, 0.0)
