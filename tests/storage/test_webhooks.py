"""Webhooks and the outbox of their deliveries."""

from dataclasses import replace
from datetime import timedelta

import pytest

from storage import webhooks as module
from storage.errors import TooMany
from storage.renter import DeliveryState
from storage.renters import Renters
from storage.webhooks import Webhooks
from tests.databases import fresh
from tests.tasks.renting.leases import NOON
from tests.tasks.renting.renters import LATER, delivery, renter, webhook

DONE = {"state": DeliveryState.DELIVERED, "attempts": 1, "ended_at": LATER, "http_status": 204}


@pytest.fixture
def hooks(tmp_path):
    """Webhooks of a migrated database: alice has one."""
    engine = fresh(tmp_path)
    Renters(engine).add(renter())
    hooks = Webhooks(engine)
    hooks.add(webhook())
    yield hooks
    engine.dispose()


def test_an_event_is_put_out_once(hooks):
    """Two deliverers see the same event: one puts it, the other changes nothing."""
    assert hooks.put(webhook(), [delivery(1)], 1)
    assert not hooks.put(webhook(), [delivery(1), delivery(2)], 2)
    assert hooks.due(NOON, 9) == (delivery(1),)
    assert hooks.get("alice", "w1") == webhook(after_sequence=1)


def test_events_that_concern_no_one_move_the_cursor_too(hooks):
    """Otherwise they would be looked at again and again."""
    assert hooks.put(webhook(), [], 7)
    assert hooks.enabled() == (webhook(after_sequence=7),)


def test_what_is_due_comes_in_its_turn(hooks):
    """The longest waiting first, nothing before its time, nothing that has ended."""
    late = delivery(1, next_at=LATER)
    hooks.put(webhook(), [late, delivery(2), delivery(3, **DONE)], 3)

    assert hooks.due(NOON, 9) == (delivery(2),)
    assert hooks.due(LATER, 9) == (delivery(2), late)
    assert hooks.due(LATER, 1) == (delivery(2),)


def test_an_attempt_is_written_down_once(hooks):
    """Two that have tried the same delivery: the second finds it settled."""
    hooks.put(webhook(), [delivery()], 1)
    taken = delivery(**DONE)

    assert hooks.settle(delivery(), taken)
    assert not hooks.settle(delivery(), delivery(attempts=1, fault="no answer"))
    assert hooks.deliveries("w1", 9) == (taken,)


def test_a_delivery_is_sent_by_one(hooks):
    """Who takes it has it for a while; after that, whatever became of who took it, it is due again."""
    hooks.put(webhook(), [delivery()], 1)

    assert hooks.take(delivery(), LATER)
    assert not hooks.take(delivery(), LATER)
    assert hooks.due(NOON, 9) == ()
    assert hooks.due(LATER, 9) == (delivery(next_at=LATER),)


def test_a_webhook_fails_since_its_first_fault_until_one_is_taken(hooks):
    """What is asked is how long nothing got through, not how often."""
    hooks.put(webhook(), [delivery(1), delivery(2, created_at=LATER)], 2)
    tried = delivery(1, attempts=1, fault="no answer", next_at=LATER)
    hooks.settle(delivery(1), tried)
    second = delivery(2, created_at=LATER)
    hooks.settle(second, replace(second, attempts=1, fault="no answer"))
    assert hooks.get("alice", "w1").failing_since == NOON

    hooks.settle(tried, replace(tried, **{**DONE, "attempts": 2, "fault": ""}))
    assert hooks.get("alice", "w1").failing_since is None


def test_a_webhook_that_fails_for_days_is_disabled(hooks):
    """What waits for it is given up; enabled again, it is told what happens from then on."""
    hooks.put(webhook(), [delivery(1), delivery(2)], 2)
    hooks.settle(delivery(1), delivery(1, attempts=1, fault="no answer"))

    assert hooks.disable_failing(NOON, LATER) == ()
    assert hooks.disable_failing(NOON + timedelta(seconds=1), LATER) == ("w1",)
    assert hooks.enabled() == ()
    assert hooks.due(LATER, 9) == ()
    assert {one.state for one in hooks.deliveries("w1", 9)} == {DeliveryState.GIVEN_UP}
    assert not hooks.put(webhook(after_sequence=2), [delivery(3)], 3)

    assert hooks.change(webhook(), after_sequence=9)
    assert hooks.enabled() == (webhook(after_sequence=9),)


def test_a_dropped_webhook_takes_its_deliveries_with_it(hooks):
    """Nothing is sent to an address that its renter has withdrawn."""
    hooks.put(webhook(), [delivery()], 1)

    assert not hooks.drop("bob", "w1")
    assert hooks.drop("alice", "w1")
    assert (hooks.due(LATER, 9), hooks.of_renter("alice")) == ((), ())
    assert not hooks.change(webhook())


def test_deliveries_are_listed_newest_first_in_pages(hooks):
    """By the number of their event, from any of them on."""
    made = [delivery(number) for number in (1, 2, 10)]
    hooks.put(webhook(), made, 10)

    assert hooks.deliveries("w1", 2) == (made[2], made[1])
    assert hooks.deliveries("w1", 2, before=made[1].delivery_id) == (made[0],)


def test_ended_deliveries_are_forgotten_later(hooks):
    """What waits is kept, however old."""
    hooks.put(webhook(), [delivery(1, **DONE), delivery(2)], 2)

    assert hooks.forget(LATER) == 0
    assert hooks.forget(LATER + timedelta(seconds=1)) == 1
    assert hooks.deliveries("w1", 9) == (delivery(2),)


def test_webhooks_are_bounded(hooks, monkeypatch):
    """A renter that has as many as it may drops one first."""
    monkeypatch.setattr(module, "MAX_WEBHOOKS", 1)

    with pytest.raises(TooMany, match="webhooks: 1"):
        hooks.add(webhook("w2"))
