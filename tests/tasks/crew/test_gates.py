"""The gates of a wave whose members are in several processes."""

import gevent
import pytest

from tasks.crew.gates import Count, Gate, HandWave
from tasks.crew.orders import AtGate

FIRST = Gate(0, 0.0, 10.0, {1: Count(0, 2, 2), 2: Count(0, 3, 3)})


def at(gate: int, arrived: int, members: int, awaited: int | None = None) -> AtGate:
    """A hand's count; unless told otherwise everybody is waited for."""
    return AtGate(1, gate, arrived, members, members - arrived if awaited is None else awaited)


def test_a_gate_opens_when_all_of_all_hands_are_there():
    """Not when all of one hand are."""

    half = FIRST.told(1, at(0, 2, 2), 0.5).told(2, at(0, 2, 3), 0.5)

    assert not half.is_due(1.0)
    assert half.told(2, at(0, 3, 3), 0.5).is_due(1.0)


def test_a_gate_opens_when_its_time_is_over():
    """For whoever is there; when nobody is, for the first who comes."""

    assert FIRST.told(1, at(0, 1, 2), 0.5).is_due(10.0)
    assert not FIRST.is_due(11.0)
    assert FIRST.told(2, at(0, 1, 3), 0.5).is_due(11.0)


def test_a_lost_hand_is_waited_for_no_longer():
    """Its members are out, and the others go on."""

    waiting = FIRST.told(1, at(0, 2, 2), 0.5)

    assert not waiting.is_due(1.0)
    assert waiting.lost(2, 0.5).is_due(1.0)
    assert waiting.lost(2, 0.5).told(2, at(0, 3, 3), 0.5) == waiting.lost(2, 0.5)
    assert waiting.lost(1, 0.5).lost(2, 0.5).is_over


def test_whoever_leaves_is_waited_for_no_longer():
    """A hand tells it; when nobody is left the wave is over."""

    smaller = FIRST.told(1, at(0, 2, 2), 0.5).told(2, at(0, 2, 2), 0.5)

    assert smaller.is_due(1.0)
    assert not FIRST.told(1, at(0, 0, 0), 0.5).is_over
    assert FIRST.told(1, at(0, 0, 0), 0.5).told(2, at(0, 0, 0), 0.5).is_over


def test_the_next_gate_waits_for_every_hands_count():
    """Who came as the gate opened is told only now: till then nobody goes through the next one ahead of time."""

    second = FIRST.told(1, at(0, 1, 2), 0.5).opened(10.0, 5.0)

    assert (second.number, second.began_at, second.opens_at) == (1, 10.0, 15.0)
    assert not second.told(1, at(1, 1, 1), 0.5).is_due(11.0)
    assert second.told(1, at(1, 1, 1), 0.5).told(2, at(1, 0, 0), 0.5).is_due(11.0)
    assert not second.told(1, at(1, 0, 0), 0.5).told(2, at(1, 0, 1), 0.5).is_over


def test_a_count_of_another_gate_says_nothing():
    """It was on its way when the gate opened."""

    second = FIRST.opened(10.0, 5.0)

    assert second.told(1, at(0, 2, 2), 0.5) == second


def test_nobody_waits_for_strangers_before_the_first_nonce():
    """Once all others are there, they have a twentieth of the time that those took, and a second at least."""

    second = FIRST.opened(10.0, 90.0)
    some = second.told(1, at(1, 1, 2, awaited=0), 20.0)
    known = some.told(2, at(1, 2, 3, awaited=0), 30.0)

    assert not some.is_due(99.0)
    assert not known.is_due(30.9)
    assert known.is_due(31.0)
    assert known.told(1, at(1, 2, 3, awaited=0), 30.5).opens_at == pytest.approx(31.0)
    assert FIRST.told(1, at(0, 2, 2), 0.5).told(2, at(0, 1, 3, awaited=0), 0.5).is_due(1.5)


def test_from_the_first_nonce_on_everybody_is_waited_for():
    """Who is not there in time has failed: it has all the time that the policy gives."""

    third = FIRST.opened(10.0, 10.0).opened(20.0, 3.0)
    known = third.told(1, at(2, 1, 2, awaited=0), 20.1).told(2, at(2, 3, 3), 20.1)

    assert known.opens_at == 23.0


def test_where_only_strangers_are_left_nobody_is_hurried_before_one_is_there():
    """Else a gate would be due at which nobody stands."""

    gone = FIRST.told(1, at(0, 0, 1, awaited=0), 0.5).told(2, at(0, 0, 1, awaited=0), 0.5)

    assert gone.opens_at == 10.0


class Hand:
    """A hand's part of a wave, its clock, and what it has told."""

    def __init__(self, *members: str, limits_s=(10.0, 5.0, 5.0), hurried=()) -> None:
        self.now, self.told, self.awaited = 0.0, [], []
        self.wave = HandWave(1, members, limits_s, self._tell, lambda: self.now, hurried=hurried)

    def _tell(self, standing: AtGate) -> None:
        self.told.append((standing.gate, standing.arrived, standing.members))
        self.awaited.append(standing.awaited)

    def standing_at(self, gate: int, *members: str):
        """These members' greenlets, waiting at the gate."""
        waiting = [gevent.spawn(self.wave.pass_gate, member, gate) for member in members]
        gevent.sleep(0)
        return waiting

    def opens(self, gate: int, at_s: float) -> frozenset[str]:
        """Gives those without whom the wave goes on."""
        self.now = at_s
        return self.wave.open(gate)


def passed(waiting) -> list[float | None]:
    gevent.joinall(waiting, timeout=5.0)
    return [greenlet.value for greenlet in waiting]


def test_a_hand_tells_when_the_first_and_when_the_last_has_come():
    """What is between is nobody's affair: a thousand members are three messages a gate."""

    hand = Hand("a", "b", "c")
    waiting = hand.standing_at(0, "a", "b")
    assert hand.told == [(0, 1, 3)]
    waiting += hand.standing_at(0, "c")
    hand.opens(0, 4.0)

    assert hand.told == [(0, 1, 3), (0, 3, 3), (1, 0, 3)]
    assert passed(waiting) == [4.0, 4.0, 4.0]
    assert hand.wave.deadline(1) == 9.0


def test_who_is_not_there_when_a_gate_opens_is_out():
    """At once, and at every later gate."""

    hand = Hand("a", "b")
    waiting = hand.standing_at(0, "a")

    assert hand.opens(0, 10.0) == {"b"}
    assert passed(waiting) == [10.0]
    assert passed(hand.standing_at(0, "b")) == [None]
    assert passed(hand.standing_at(1, "b")) == [None]
    assert hand.told[-1] == (1, 0, 1)


def test_a_hand_whose_members_are_all_late_tells_that_none_is_left():
    """Then nobody waits for it."""

    hand = Hand("a", "b")
    hand.opens(0, 10.0)

    assert hand.told == [(1, 0, 0)]


def test_the_last_who_leaves_lets_the_others_go_on():
    """Whoever stands at the gate is then all who are left."""

    hand = Hand("a", "b")
    with hand.wave.seat("b"):
        hand.standing_at(0, "a")
    assert hand.told == [(0, 1, 2), (0, 1, 1)]
    hand.wave.leave("a")
    hand.wave.leave("a")

    assert hand.told[2:] == [(0, 0, 0)]


def test_from_the_first_nonce_on_nobodys_conversation_is_cut_short():
    """Who is not there when a later gate opens is out, and fails by its own answer's deadline."""

    hand = Hand("a", "b")
    for gate in range(2):
        hand.standing_at(gate, "a", "b")
        assert hand.opens(gate, 1.0 + gate) == frozenset()
    hand.standing_at(2, "a")

    assert hand.opens(2, 3.0) == frozenset()
    assert passed(hand.standing_at(2, "b")) == [None]


def test_a_hand_tells_when_all_are_there_that_are_waited_for():
    """Whoever is hurried is none of them, neither when it comes nor when others leave."""

    hand = Hand("a", "b", "quick", "slow", hurried=("quick", "slow"))
    hand.standing_at(0, "quick", "a")
    hand.wave.leave("b")
    hand.opens(0, 4.0)

    assert hand.told == [(0, 1, 4), (0, 2, 3), (1, 0, 2)]
    assert hand.awaited == [2, 0, 1]


def test_a_gate_opens_once():
    """A word that comes twice, or for a gate that is not the next, changes nothing."""

    hand = Hand("a")
    waiting = hand.standing_at(0, "a")
    hand.opens(1, 1.0)
    hand.opens(0, 2.0)
    hand.opens(0, 3.0)

    assert passed(waiting) == [2.0]
    assert hand.wave.deadline(1) == 7.0


def test_a_hand_gives_a_wave_up_that_nobody_opens(monkeypatch):
    """Some time after the gate's, without a word of the foreman, its members are out of it."""

    monkeypatch.setattr("tasks.crew.gates.LATE_S", 0.05)
    hand = Hand("a", limits_s=(0.0,))

    assert passed(hand.standing_at(0, "a")) == [None]
    assert hand.told == [(0, 1, 1), (0, 0, 0)]


@pytest.mark.parametrize("gate", [1, 2])
def test_nobody_passes_a_gate_ahead_of_the_others(gate):
    """Only the next one may be stood at."""

    assert passed(Hand("a").standing_at(gate, "a")) == [None]
