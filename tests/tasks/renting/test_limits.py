"""What is due for a lease: the first that was due wins, and money never runs past its limit."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.rental import Mode, Party, RentalState, Terms, Wish
from tasks.policy import RentingPolicy
from tasks.renting.limits import NOTHING, Funds, Step, StepKind, Usage, idle_after, judge
from tasks.renting.metering import cost_micro_usd
from tasks.renting.moves import end_asked, stopped
from tests.tasks.renting.leases import NOON, USD, after, rental, running

POLICY = RentingPolicy()
RICH = Funds(10**15, USD)
QUIET = Usage()


def kind(lease, at, usage=QUIET, funds=RICH):
    """What is due then."""
    return judge(lease, usage, funds, at, POLICY).kind


def test_nothing_is_due_for_a_lease_that_runs_well():
    """No limit, no dead container, money enough."""
    assert judge(running(), QUIET, RICH, after(10**6), POLICY) == NOTHING


@pytest.mark.parametrize(
    "lease",
    [
        rental(ends_by=NOON),
        rental(state=RentalState.ENDING, ends_by=NOON),
        end_asked(running(ends_by=NOON), NOON, Party.RENTER, "cancelled"),
    ],
)
def test_only_what_stands_is_judged(lease):
    """Before the hand-over the flow that rents looks at it; once the end is asked for, nothing more is due."""
    assert judge(lease, Usage(dead="gone", dead_looks=9), Funds(0, 0, NOON), after(9), POLICY) == NOTHING


@pytest.mark.parametrize("changes", [{"ends_by": after(100)}, {"terms": Terms(ttl_s=100)}])
def test_a_limit_of_time_ends_a_lease(changes):
    """At that moment and not before, active or stopped, and it is nobody's fault."""
    lease = running(**changes)
    still = stopped(lease, after(10))

    assert [kind(lease, after(s)) for s in (99, 100)] == [StepKind.NOTHING, StepKind.END]
    assert [kind(still, after(s)) for s in (99, 100)] == [StepKind.NOTHING, StepKind.END]
    assert judge(lease, QUIET, RICH, after(100), POLICY).party is Party.NOBODY


def test_a_cap_stops_a_lease_before_it_is_reached():
    """At a dollar a second a cap of 100 allows 100 s: it is stopped 30 s earlier; data kept for the grace, then the end."""
    lease = running(3_600 * USD, terms=Terms(cap_micro_usd=100 * USD))
    still = stopped(lease, after(72))

    assert [kind(lease, after(s)) for s in (69, 70, 500)] == [StepKind.NOTHING, StepKind.STOP, StepKind.STOP]
    grace = 72 + POLICY.grace_s
    assert [kind(still, after(s)) for s in (grace - 1, grace)] == [StepKind.NOTHING, StepKind.END]
    raised = replace(still, terms=Terms(cap_micro_usd=200 * USD))
    assert kind(raised, after(grace)) is StepKind.NOTHING


def test_a_balance_warns_then_stops_then_ends():
    """An hour before, 30 s before, and after the grace; each step once its moment is there."""
    lease = running()

    def having(seconds):
        return Funds(-(-seconds * USD // 3_600), USD)

    assert [kind(lease, NOON, funds=having(s)) for s in (3_700, 3_500, 31, 30)] == [
        StepKind.NOTHING,
        StepKind.WARN,
        StepKind.WARN,
        StepKind.STOP,
    ]
    warned = replace(lease, warned_at=NOON)
    assert kind(warned, NOON, funds=having(3_500)) is StepKind.NOTHING
    assert kind(warned, NOON, funds=having(3_700)) is StepKind.CALM
    still, out = stopped(warned, after(60)), Funds(0, 0)
    ends = 60 + POLICY.grace_s
    assert [kind(still, after(s), funds=out) for s in (60, ends - 1, ends)] == [
        StepKind.NOTHING,
        StepKind.NOTHING,
        StepKind.END,
    ]
    assert kind(still, after(ends), funds=RICH) is StepKind.CALM


def test_the_grace_begins_with_the_warning():
    """A lease that its renter stopped long ago is warned when the balance ends, and its data are kept from then on."""
    still, out = stopped(running(), NOON), Funds(0, 0)
    late = after(500_000)

    assert kind(still, late, funds=out) is StepKind.WARN
    warned = replace(still, warned_at=late)
    grace = timedelta(seconds=POLICY.grace_s)
    assert kind(warned, late + grace - timedelta(seconds=1), funds=out) is StepKind.NOTHING
    assert kind(warned, late + grace, funds=out) is StepKind.END


def test_all_leases_of_a_renter_share_its_balance():
    """What lasts two hours for one lasts twelve minutes for ten."""
    funds = Funds(2 * USD, 10 * USD)

    assert kind(running(), NOON, funds=funds) is StepKind.WARN


def test_a_reserved_lease_needs_no_balance_in_its_hours():
    """They are prepaid; beyond them it is as on demand. Stopped in them it is neither warned nor ended for money."""
    lease, out = running(wish=Wish(mode=Mode.RESERVED, hours=2)), Funds(0, USD)
    still = replace(stopped(lease, after(60)), warned_at=NOON)

    assert [kind(lease, after(s), funds=out) for s in (7_199, 7_200)] == [StepKind.NOTHING, StepKind.STOP]
    ends = 7_200 + POLICY.grace_s
    assert [kind(still, after(s), funds=Funds(0, 0)) for s in (ends - 1, ends)] == [
        StepKind.NOTHING,
        StepKind.END,
    ]


def test_an_idle_lease_is_stopped():
    """Below the renter's share for the renter's time; only where it asked for it."""
    lease = running(terms=Terms(idle_below_percent=5, idle_for_s=600))
    usage = Usage(idle_since=after(100))

    assert [kind(lease, after(s), usage) for s in (699, 700)] == [StepKind.NOTHING, StepKind.STOP]
    assert kind(running(), after(10**6), usage) is StepKind.NOTHING


@pytest.mark.parametrize(
    ("percent", "since", "begins"),
    [
        (4.9, None, 15),
        (4.9, after(-300), -300),
        (5.0, after(-300), None),
        (None, after(-300), None),
    ],
)
def test_idleness_begins_with_the_look_before(percent, since, begins):
    """Below the share since then, or since it was found so first; use at the share, or unknown use, ends it."""
    lease = running(terms=Terms(idle_below_percent=5, idle_for_s=600))

    found = idle_after(since, percent, lease, after(30), after(15))
    assert found == (None if begins is None else after(begins))


def test_idleness_begins_after_the_start():
    """The time before a hand-over or a start is nobody's idleness; without the renter's wish there is none."""
    lease = running(terms=Terms(idle_below_percent=5, idle_for_s=600), paid_from=after(20))

    assert idle_after(None, 0.0, lease, after(30), after(15)) == after(20)
    assert idle_after(None, 0.0, lease, after(10), None) == after(10)
    assert idle_after(None, 0.0, running(), after(30), after(15)) is None


def test_a_dead_container_is_believed_the_second_time():
    """Once may be a look in the middle of a restart; whose fault it is depends on how it died."""
    looks = [judge(running(), Usage(dead="gone", dead_looks=n), RICH, NOON, POLICY) for n in (1, 2)]
    own = judge(running(), Usage(dead="out of memory", dead_looks=2), RICH, NOON, POLICY)

    assert looks == [NOTHING, Step(StepKind.END, "its container was found gone", Party.MACHINE)]
    assert own.party is Party.RENTER


def test_a_machine_that_stays_away_breaks_its_leases():
    """After five minutes without an answer."""
    usage = Usage(away_since=NOON)
    steps = [judge(running(), usage, RICH, after(s), POLICY) for s in (299, 300)]

    assert [step.kind for step in steps] == [StepKind.NOTHING, StepKind.END]
    assert steps[1].party is Party.MACHINE


def test_a_notice_has_an_end():
    """A spot lease that gives way is ended when its notice is over, and nobody is to blame."""
    lease = running(notice_until=after(120))

    assert [kind(lease, after(s)) for s in (119, 120)] == [StepKind.NOTHING, StepKind.END]
    assert judge(lease, QUIET, RICH, after(120), POLICY).party is Party.NOBODY


def test_an_operators_stop_ends_all_after_the_grace():
    """It is the renter's doing, and the reason is told."""
    funds = Funds(10**9, USD, grace_until=after(60), stop_reason="mining")
    steps = [judge(running(), QUIET, funds, after(s), POLICY) for s in (59, 60)]

    assert steps == [NOTHING, Step(StepKind.END, "an operator stopped the renter: mining", Party.RENTER)]


def test_a_lease_does_not_stand_still_for_ever():
    """After a month it is ended, whatever the balance."""
    still = stopped(running(), NOON)

    assert [kind(still, after(POLICY.stopped_most_s + s)) for s in (-1, 0)] == [
        StepKind.NOTHING,
        StepKind.END,
    ]


def test_the_first_that_was_due_wins():
    """A look that comes late finds several: what would have been first, had it been on time."""
    terms = Terms(ttl_s=500, idle_below_percent=5, idle_for_s=100, cap_micro_usd=200 * USD)
    lease, usage = running(3_600 * USD, terms=terms), Usage(idle_since=after(90))

    assert judge(lease, usage, RICH, after(9_999), POLICY).reason == "its cap is reached"
    assert judge(
        replace(lease, terms=replace(terms, cap_micro_usd=0)), usage, RICH, after(9_999), POLICY
    ).reason.startswith("idle")
    assert kind(replace(lease, terms=replace(terms, cap_micro_usd=0)), after(9_999)) is StepKind.END


def test_an_end_goes_before_a_stop_at_the_same_moment():
    """Both due at the hundredth second."""
    lease = running(ends_by=after(100), terms=Terms(idle_below_percent=5, idle_for_s=100))

    assert kind(lease, after(100), Usage(idle_since=NOON)) is StepKind.END


@given(
    price=st.integers(1, 10**9),
    cap=st.integers(1, 10**9),
    balance=st.integers(0, 10**9),
    looks=st.lists(st.integers(1, 30), min_size=1, max_size=60),
)
def test_neither_cap_nor_balance_is_overrun(price, cap, balance, looks):
    """Looked at at most every 30 s and stopped at once when it is due: no micro-USD above the cap, none below zero."""
    lease, at = running(price, terms=Terms(cap_micro_usd=cap)), 0
    policy = RentingPolicy(ahead_s=30)
    for look in looks:
        at += look
        cost = cost_micro_usd(lease, after(at))
        step = judge(lease, QUIET, Funds(balance - cost, price), after(at), policy)
        if step.kind is StepKind.STOP:
            return
        assert cost <= cap
        assert cost <= balance
