"""Who checks which machine: half of the stake at least, drawn by stake, alike for all, anew in every epoch."""

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tasks.assigning import checkers, is_ours, not_drawn, permitted_stakes
from tests.tasks.scoring.worlds import view

HASHES = st.integers(0, 2**256 - 1).map(lambda n: f"0x{n:064x}")
STAKES = st.dictionaries(
    st.integers(0, 999).map(lambda n: f"5V{n:03}"), st.integers(1, 10**18), min_size=1, max_size=24
)
KEYS = st.integers(0, 10**6).map(lambda n: f"5Miner/rack-{n}")


@given(KEYS, STAKES, HASHES)
def test_half_of_the_stake_checks_every_machine_and_nobody_too_many(key, stakes, block_hash):
    """Those drawn hold half or more; without the last one drawn they would not."""
    drawn = checkers(key, stakes, block_hash)
    held = sum(stakes[hotkey] for hotkey in drawn)

    assert 2 * held >= sum(stakes.values())
    assert 2 * (held - stakes[drawn[-1]]) < sum(stakes.values())
    assert len(set(drawn)) == len(drawn)


@given(KEYS, STAKES, HASHES, st.randoms())
def test_all_validators_draw_alike(key, stakes, block_hash, random):
    """In whatever order the chain lists them: each finds itself drawn exactly when the others do."""
    shuffled = list(stakes.items())
    random.shuffle(shuffled)
    drawn = checkers(key, stakes, block_hash)

    assert checkers(key, dict(shuffled), block_hash) == drawn
    assert [hotkey for hotkey in stakes if is_ours(key, hotkey, stakes, block_hash)] == [
        hotkey for hotkey in stakes if hotkey in drawn
    ]


@given(KEYS, STAKES, HASHES)
def test_a_newcomer_moves_nobody_else(key, stakes, block_hash):
    """The others stay in their order, whoever comes or goes: a view of a block later draws nearly the same."""
    everyone = checkers(key, {**stakes, "5Whale": sum(stakes.values()) * 1_000}, block_hash)
    others = [hotkey for hotkey in everyone if hotkey != "5Whale"]

    assert others == list(checkers(key, stakes, block_hash))[: len(others)]


def test_work_goes_by_stake_and_is_drawn_anew():
    """Of 2,000 machines a validator of 40 % checks the most, one of 5 % few, each in proportion; the next hash draws others."""
    stakes = {"5A": 40, "5B": 30, "5C": 15, "5D": 10, "5E": 5}
    keys = [f"5Miner/{n}" for n in range(2_000)]
    first, second = (
        Counter(hotkey for key in keys for hotkey in checkers(key, stakes, block_hash))
        for block_hash in ("0xaa", "0xbb")
    )
    again = sum(checkers(key, stakes, "0xaa") == checkers(key, stakes, "0xbb") for key in keys)

    assert [hotkey for hotkey, _ in first.most_common()] == list(stakes)
    assert all(abs(first[hotkey] - second[hotkey]) < 120 for hotkey in stakes)
    assert first["5A"] < 2_000
    assert again < 600


def test_only_who_may_validate_is_drawn():
    """Without a permit, or without stake, nobody has a part of the work; such a validator checks everything itself."""
    subnet = view("5A", "5B", "5C")
    said = {"5A": (True, 10), "5B": (True, 0), "5C": (False, 10)}
    neurons = tuple(
        replace(n, has_permit=said[n.hotkey][0], stake_rao=said[n.hotkey][1])
        for n in subnet.neurons
        if n.hotkey in said
    )
    found = permitted_stakes(replace(subnet, neurons=neurons))

    assert found == {"5A": 10}
    assert checkers("5M/a", found, "0xaa") == ("5A",)
    assert checkers("5M/a", {}, "0xaa") == ()
    assert all(is_ours("5M/a", hotkey, found, "0xaa") for hotkey in ("5A", "5B", "5C"))


def test_the_reason_is_no_mark():
    """It decides nothing but that there is no verdict, and says that nothing is to be done."""
    reason = not_drawn("5M/a", {"5A": 3, "5B": 1}, "0xaa")

    assert (reason.code, reason.fails, reason.decides) == ("NOT_DRAWN", False, True)
    assert reason.mend.startswith("Nothing to do")
