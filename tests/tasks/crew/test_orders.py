"""What a foreman and its hands tell each other."""

import math
from dataclasses import fields, replace
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.records import HostReport, Verdict
from tasks.crew import frames, orders
from tasks.crew.foreman import _verdicts
from tasks.crew.orders import (
    Order,
    Told,
    Visit,
    decode,
    encode,
    encode_reports,
    encode_verdicts,
    encode_visits,
)
from tasks.edges.shell import ShellSettings
from tasks.policy import DEFAULT, FLEET, LIUM_2025, LIUM_2026, LOCALNET
from tests.storage.outcomes import anything, verdict


def messages(*kinds):
    """Any message of these kinds."""
    return st.one_of(
        [
            st.builds(
                kind,
                **{
                    f.name: _of(get_type_hints(kind)[f.name], f.name)
                    for f in fields(kind)
                    if f.name != "kind"
                },
            )
            for kind in kinds
        ]
    )


def _of(hint, name):
    return st.sampled_from(["sign", "signed", "elsewhere"]) if name == "what" else anything(hint)


ORDERS = messages(
    orders.DoVisits, orders.Keep, orders.BeginWave, orders.DoProofs, orders.OpenGate, orders.Answer
)
WORDS = messages(
    orders.Hello, orders.Alive, orders.Stepped, orders.Visited, orders.Proved, orders.AtGate, orders.Ask
)


@given(ORDERS)
def test_an_order_arrives_as_it_was_given(order):
    """Every record, whatever it holds."""

    assert decode(Order, encode(Order, order)) == order


@given(WORDS)
def test_what_a_hand_tells_arrives_as_it_was_said(told):
    """The other way as well."""

    assert decode(Told, encode(Told, told)) == told


@pytest.mark.parametrize("policy", [DEFAULT, FLEET, LIUM_2025, LIUM_2026, LOCALNET], ids=lambda p: p.name)
def test_a_hand_has_the_policy_that_the_epoch_has(policy):
    """The first order carries it whole, a deadline that never comes included."""

    policy = replace(policy, inspection=replace(policy.inspection, session_deadline_s=math.inf))
    begin = orders.Begin(ShellSettings(), policy, 51, "5Validator", ("5Other",), 64, 640, 2)

    assert decode(Order, encode(Order, begin)) == begin


@given(st.lists(anything(Visit), max_size=2))
def test_visits_arrive_as_they_are(visits):
    """With keys and certificates."""

    assert decode(tuple[Visit, ...], encode_visits(visits)) == tuple(visits)


@given(st.lists(anything(HostReport), max_size=2))
def test_reports_arrive_as_they_are(reports):
    """Facts, reasons and steps, to the last digit."""

    assert decode(tuple[HostReport, ...], encode_reports(reports)) == tuple(reports)


@given(st.lists(anything(Verdict), max_size=3))
def test_verdicts_arrive_with_their_transcripts(verdicts):
    """The transcripts follow as bytes, each its own, be it empty."""

    bare = encode_verdicts([replace(v, transcript=b"") for v in verdicts])
    head = orders.Proved(1, len(bare), tuple(len(v.transcript) for v in verdicts))
    body = b"".join((bare, *(v.transcript for v in verdicts)))

    assert _verdicts(head, memoryview(body)) == verdicts


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"kind":"nobody"}',
        b'{"kind":"hello"}',
        b'{"kind":"hello","pid":"x"}',
    ],
)
def test_what_nobody_of_ours_says_is_a_value_error(garbage):
    """No other exception, so that whoever listens ends the link."""

    with pytest.raises(ValueError):
        decode(Told, garbage)
    with pytest.raises(ValueError):
        decode(tuple[HostReport, ...], b"[" + garbage + b",{}]")


def test_transcripts_that_are_not_all_there_are_a_value_error():
    """A body whose lengths belong to other verdicts."""

    bare = encode_verdicts([verdict("5Alice/a", b"")])

    with pytest.raises(ValueError):
        _verdicts(orders.Proved(1, len(bare), (1, 2)), memoryview(bare + b"abc"))


def test_a_frame_has_its_sizes_in_front():
    """Head and body apart; one that would not fit into memory is refused before any of it is read."""

    frame = frames.pack(b"head", b"the body")

    assert frames.sizes(frame[: frames.HEADER_BYTES]) == (4, 8)
    assert frame[frames.HEADER_BYTES :] == b"headthe body"
    with pytest.raises(ValueError, match="a frame of 4294967295 bytes"):
        frames.sizes(b"\xff" * 4 + b"\0" * 4)
