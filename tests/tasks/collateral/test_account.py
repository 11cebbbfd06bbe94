"""What may happen to a machine's collateral: every rao is accounted for, whatever is wished in whatever order."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from storage.records import CollateralMove, MoveKind
from tasks.collateral.account import (
    Account,
    Decision,
    account_of,
    deny,
    deposit,
    finalise,
    reclaim,
    slash,
    tao,
)
from tasks.errors import CollateralRefused
from tasks.policy import CollateralPolicy

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
POLICY = CollateralPolicy()
DAY = timedelta(days=1)
KEY = "5Alice/m-0"


def at(moment=NOON, extrinsic="100-1"):
    """Somebody's wish."""
    return Decision(moment, "operator", "a reason", extrinsic)


def account(*moves):
    """After these."""
    return account_of(KEY, moves)


def with_tao(amount_tao):
    """A machine for which so much was deposited."""
    move = deposit(Account(KEY), amount_tao * 10**9, POLICY, at())
    return [move], account(move)


def test_a_deposit_is_free():
    """What came in can be asked back and slashed."""
    _, rich = with_tao(6)

    assert (rich.free_rao, rich.held_rao, rich.total_rao) == (6_000_000_000, 0, 6_000_000_000)


def test_a_reclaim_waits_for_its_window():
    """Asked back, it is held for three days; then, and not before, it leaves the ledger."""
    moves, rich = with_tao(6)
    asked = reclaim(rich, None, POLICY, at(NOON))
    held = account(*moves, asked)

    assert (held.free_rao, held.held_rao, held.due_at) == (0, 6_000_000_000, NOON + 3 * DAY)
    with pytest.raises(CollateralRefused, match="ends 2026-08-04 12:00 UTC: until then it can be denied"):
        finalise(held, at(NOON + 3 * DAY - timedelta(seconds=1)))
    paid = account(*moves, asked, finalise(held, at(NOON + 3 * DAY)))
    assert (paid.free_rao, paid.held_rao, paid.due_at) == (0, 0, None)


def test_a_denied_reclaim_is_free_again():
    """Within the window it goes back; after it, nobody can deny it any more."""
    moves, rich = with_tao(6)
    asked = reclaim(rich, 2_000_000_000, POLICY, at(NOON))
    held = account(*moves, asked)

    denied = account(*moves, asked, deny(held, at(NOON + DAY)))
    assert (denied.free_rao, denied.held_rao) == (6_000_000_000, 0)
    with pytest.raises(CollateralRefused, match="can't be denied any more"):
        deny(held, at(NOON + 3 * DAY))


def test_a_slashed_amount_is_not_paid_back():
    """Of 6 TAO of which 4 are asked back, 5 are slashed: free goes first, and the window pays the last one."""
    moves, rich = with_tao(6)
    asked = reclaim(rich, 4_000_000_000, POLICY, at(NOON))
    slashed = slash(account(*moves, asked), 5_000_000_000, "ab" * 32, at(NOON + DAY))
    left = account(*moves, asked, slashed)

    assert (left.free_rao, left.held_rao) == (0, 1_000_000_000)
    assert finalise(left, at(NOON + 3 * DAY)).held_rao == -1_000_000_000


def test_slashing_all_of_it_ends_the_reclaim():
    """Nothing is left to be paid."""
    moves, rich = with_tao(6)
    asked = reclaim(rich, None, POLICY, at(NOON))
    left = account(*moves, asked, slash(account(*moves, asked), 6_000_000_000, "ab" * 32, at()))

    with pytest.raises(CollateralRefused, match="nothing of 5Alice/m-0 is asked back"):
        finalise(left, at(NOON + 4 * DAY))


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        (
            lambda a: deposit(a, 9_999_999, POLICY, at()),
            "a deposit of 0.009999999 TAO: expected 0.01 to 21000000",
        ),
        (lambda a: deposit(a, 22_000_000 * 10**9, POLICY, at()), "expected 0.01 to 21000000"),
        (lambda a: deposit(a, 21_000_000 * 10**9, POLICY, at()), "more than all TAO"),
        (lambda a: deposit(a, -1, POLICY, at()), "a deposit of -0.000000001 TAO"),
        (lambda a: reclaim(a, 0, POLICY, at()), "0 TAO asked back"),
        (lambda a: reclaim(a, -5, POLICY, at()), "asked back"),
        (
            lambda a: reclaim(a, 6_000_000_001, POLICY, at()),
            "6.000000001 TAO asked back of 5Alice/m-0: 6 are free",
        ),
        (lambda a: deny(a, at()), "nothing of 5Alice/m-0 is asked back"),
        (lambda a: slash(a, 6_000_000_001, "ab", at()), "it has 6"),
        (lambda a: slash(a, 0, "ab", at()), "0 TAO to be slashed"),
        (lambda a: slash(a, -1, "ab", at()), "-0.000000001 TAO to be slashed"),
    ],
)
def test_what_is_not_there_does_not_move(wish, why):
    """One rao too much, one too few, nothing, less than nothing: refused in words."""
    _, rich = with_tao(6)

    with pytest.raises(CollateralRefused) as caught:
        wish(rich)
    assert why in str(caught.value)


def test_one_reclaim_at_a_time():
    """A second one would move the window of the first."""
    moves, rich = with_tao(6)
    asked = reclaim(rich, 1_000_000_000, POLICY, at())

    with pytest.raises(CollateralRefused, match="1 TAO of 5Alice/m-0 are asked back already, due 2026-08-04"):
        reclaim(account(*moves, asked), 1_000_000_000, POLICY, at())


@pytest.mark.parametrize(
    ("rao", "told"),
    [(5_768_000_000, "5.768"), (1, "0.000000001"), (10**9, "1"), (0, "0"), (-5, "-0.000000005")],
)
def test_rao_is_told_exactly(rao, told):
    """As TAO with as many digits as it has."""

    assert tao(rao) == told


class AnyOrder(RuleBasedStateMachine):
    """Wishes in any order, sensible or not, beside a book that is kept by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.moves: list[CollateralMove] = []
        self.now = NOON
        self.wallet = self.burned = self.put_in = 0
        self.window_ends: datetime | None = None

    def try_to(self, wish) -> CollateralMove | None:
        """The move, if it is allowed."""
        before = account_of(KEY, self.moves)
        try:
            move = wish(before)
        except CollateralRefused:
            return None
        self.moves.append(move)
        return move

    @rule(amount=st.integers(-5, 10**11), number=st.integers(0, 10**6))
    def deposits(self, amount, number):
        if move := self.try_to(lambda a: deposit(a, amount, POLICY, at(self.now, f"{number}-1"))):
            assert amount >= POLICY.min_deposit_rao
            self.put_in += move.free_rao

    @rule(amount=st.one_of(st.none(), st.integers(-5, 10**11)))
    def asks_back(self, amount):
        if self.try_to(lambda a: reclaim(a, amount, POLICY, at(self.now))):
            self.window_ends = self.now + 3 * DAY

    @rule()
    def denies(self):
        if self.try_to(lambda a: deny(a, at(self.now))):
            assert self.now < self.window_ends

    @rule()
    def finalises(self):
        if move := self.try_to(lambda a: finalise(a, at(self.now))):
            assert self.now >= self.window_ends
            self.wallet -= move.held_rao

    @rule(amount=st.integers(-5, 10**11), evidence=st.sampled_from(["aa", "bb", "cc"]))
    def slashes(self, amount, evidence):
        if move := self.try_to(lambda a: slash(a, amount, evidence, at(self.now))):
            self.burned -= move.free_rao + move.held_rao

    @rule(hours=st.integers(0, 100))
    def waits(self, hours):
        self.now += timedelta(hours=hours)

    @invariant()
    def every_rao_is_somewhere(self):
        """Sums of moves are the balances, none is negative, and what came in is in the ledger, paid back or burned."""
        stands = account_of(KEY, self.moves)
        assert stands.free_rao == sum(m.free_rao for m in self.moves) >= 0
        assert stands.held_rao == sum(m.held_rao for m in self.moves) >= 0
        assert self.put_in == stands.total_rao + self.wallet + self.burned
        assert (stands.due_at is None) == (stands.held_rao == 0)
        assert [m.number for m in self.moves] == list(range(1, len(self.moves) + 1))
        reclaims = [m for m in self.moves if m.kind is MoveKind.RECLAIM]
        assert len({m.request for m in reclaims}) == len(reclaims)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
