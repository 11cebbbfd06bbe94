"""What a block's events tell of a transfer; records have the form that the SDK decodes."""

import pytest

from tasks.edges.transfers import Transfer, transfer_in, transfers_to
from tasks.errors import BadAnswer, ChainRefused

US, THEM = "5Us", "5Them"


def event(module, name, index=7, **attributes):
    """One record."""
    told = {"module_id": module, "event_id": name, "attributes": attributes}
    return {"phase": "ApplyExtrinsic", "extrinsic_idx": index, "event": told}


def sent(amount=5, to=US, index=7):
    """A transfer of theirs."""
    return event("Balances", "Transfer", index, **{"from": THEM, "to": to, "amount": amount})


DONE = event("System", "ExtrinsicSuccess")
FEE = event("TransactionPayment", "TransactionFeePaid", actual_fee=125_000)


def test_a_transfer_is_found_among_the_events():
    """Its sender, its amount, and the hashes of its remarks; those of other extrinsics are others'."""
    remark = event("System", "Remarked", sender=THEM, hash="0xAB12")
    others = [sent(99, index=6), sent(98, to="5Else"), event("System", "Remarked", 8, hash="0xff")]

    assert transfer_in([*others, FEE, sent(), remark, DONE], 7, US) == Transfer(THEM, US, 5, ("ab12",))


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ([], "no successful extrinsic 7"),
        ([sent(), event("System", "ExtrinsicFailed")], "no successful extrinsic 7"),
        ([DONE], "0 transfers to 5Us, wanted 1"),
        ([sent(to="5Else"), DONE], "0 transfers"),
        ([sent(), sent(), DONE], "2 transfers"),
    ],
)
def test_what_did_not_come_in_is_refused(events, told):
    """Failed, another's, or split: no deposit."""

    with pytest.raises(ChainRefused, match=told):
        transfer_in(events, 7, US)


@pytest.mark.parametrize("amount", [None, "5", True, 0, -5, 1 << 70, 5.0])
def test_an_amount_is_whole_rao(amount):
    """Whatever else a node says is a bad answer."""

    with pytest.raises(BadAnswer):
        transfer_in([sent(amount), DONE], 7, US)


@pytest.mark.parametrize("events", [None, {}, "events", [None] * 100_001])
def test_events_are_a_list(events):
    """And not an endless one."""

    with pytest.raises(BadAnswer):
        transfer_in(events, 7, US)


def test_records_of_another_form_are_left_out():
    """A node that says nonsense between the events is not believed, and breaks nothing."""
    odd = [None, 7, {"extrinsic_idx": 7}, {"extrinsic_idx": 7, "event": "x"}, event("Balances", "Transfer")]

    assert transfer_in([*odd, sent(), DONE], 7, US).amount_rao == 5


def test_all_transfers_of_a_block_are_found():
    """By extrinsic, with the parts of one added up; those that failed, and those to others, are not among them."""
    remark = event("System", "Remarked", index=3, sender=THEM, hash="0xAB")
    failed = [sent(9, index=5), event("System", "ExtrinsicFailed", 5)]
    done = [event("System", "ExtrinsicSuccess", index) for index in (3, 4, 7)]
    block = [sent(5), sent(6), sent(2, index=3), remark, sent(1, to="5Else", index=4), *failed, *done]

    assert transfers_to(block, US) == {3: Transfer(THEM, US, 2, ("ab",)), 7: Transfer(THEM, US, 11, ())}
    assert transfers_to([], US) == {}


@pytest.mark.parametrize("events", [None, {}, [None] * 100_001, [sent("5"), DONE], [sent(0), DONE]])
def test_a_block_that_has_another_form_is_a_bad_answer(events):
    """A node that tells nonsense of our money is not believed in part."""

    with pytest.raises(BadAnswer):
        transfers_to(events, US)


@pytest.mark.parametrize(
    "record", [None, 7, {}, {"event": 7}, {"extrinsic_idx": None, "event": {"attributes": {"to": US}}}]
)
def test_events_of_no_extrinsic_are_nobodys(record):
    """Whatever else stands among them."""
    assert transfers_to([record, sent(), DONE], US) == {7: Transfer(THEM, US, 5, ())}
