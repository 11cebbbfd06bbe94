"""The gates of a wave whose members are in several processes."""

import gevent
import pytest

from tasks.crew.gates import Gate, HandWave
from tasks.crew.orders import AtGate

FIRST = Gate(0, 10.0, {1: (0, 2), 2: (0, 3)})


def at(gate: int, arrived: int, members: int) -> AtGate:
    return AtGate(1, gate, arrived, members)


def test_a_gate_opens_when_all_of_all_hands_are_there():
    """Not when all of one hand are."""

    half = FIRST.told(1, at(0, 2, 2)).told(2, at(0, 2, 3))

    assert not half.is_due(1.0)
    assert half.told(2, at(0, 3, 3)).is_due(1.0)


def test_a_gate_opens_when_its_time_is_over():
    """For whoever is there; when nobody is, for the first who comes."""

    assert FIRST.told(1, at(0, 1, 2)).is_due(10.0)
    assert not FIRST.is_due(11.0)
    assert FIRST.told(2, at(0, 1, 3)).is_due(11.0)


def test_a_lost_hand_is_waited_for_no_longer():
    """Its members are out, and the others go on."""

    waiting = FIRST.told(1, at(0, 2, 2))

    assert not waiting.is_due(1.0)
    assert waiting.lost(2).is_due(1.0)
    assert waiting.lost(2).told(2, at(0, 3, 3)) == waiting.lost(2)
    assert waiting.lost(1).lost(2).is_over


def test_whoever_leaves_is_waited_for_no_longer():
    """A hand tells it; when nobody is left the wave is over."""

    smaller = FIRST.told(1, at(0, 2, 2)).told(2, at(0, 2, 2))

    assert smaller.is_due(1.0)
    assert not FIRST.told(1, at(0, 0, 0)).is_over
    assert FIRST.told(1, at(0, 0, 0)).told(2, at(0, 0, 0)).is_over


def test_the_next_gate_waits_for_every_hands_count():
    """Who came as the gate opened is told only now: till then nobody goes through the next one ahead of time."""

    second = FIRST.told(1, at(0, 1, 2)).opened(10.0, 5.0)

    assert (second.number, second.opens_at) == (1, 15.0)
    assert not second.told(1, at(1, 1, 1)).is_due(11.0)
    assert second.told(1, at(1, 1, 1)).told(2, at(1, 0, 0)).is_due(11.0)
    assert not second.told(1, at(1, 0, 0)).told(2, at(1, 0, 1)).is_over


def test_a_count_of_another_gate_says_nothing():
    """It was on its way when the gate opened."""

    second = FIRST.opened(10.0, 5.0)

    assert second.told(1, at(0, 2, 2)) == second


class Hand:
    """A hand's part of a wave, its clock, and what it has told."""

    def __init__(self, *members: str, limits_s=(10.0, 5.0, 5.0)) -> None:
        self.now, self.told = 0.0, []
        self.wave = HandWave(1, members, limits_s, self._tell, lambda: self.now)

    def _tell(self, standing: AtGate) -> None:
        self.told.append((standing.gate, standing.arrived, standing.members))

    def standing_at(self, gate: int, *members: str):
        """These members' greenlets, waiting at the gate."""
        waiting = [gevent.spawn(self.wave.pass_gate, member, gate) for member in members]
        gevent.sleep(0)
        return waiting

    def opens(self, gate: int, at_s: float) -> None:
        self.now = at_s
        self.wave.open(gate)


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
    hand.opens(0, 10.0)

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
