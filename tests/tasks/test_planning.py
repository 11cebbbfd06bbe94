"""Waves: as few as possible, a miner's machines together, membership drawn from the block hash."""

from hypothesis import given
from hypothesis import strategies as st

from storage.records import Executor
from tasks.proof.planning import plan_waves


def machine(miner: str, number: int) -> Executor:
    return Executor(f"m-{number}", miner, 1, 0, "127.0.0.2", 22, "u", "/usr/bin/python3", b"", 1.0)


NETWORKS = st.lists(st.integers(1, 6), min_size=0, max_size=12).map(
    lambda sizes: [machine(f"miner-{m}", n) for m, size in enumerate(sizes) for n in range(size)]
)


def test_everybody_fits_into_one_wave():
    """A network that the machine carries is proved in one wave."""

    network = [machine("a", 1), machine("b", 1), machine("a", 2)]

    assert [sorted(e.key for e in wave) for wave in plan_waves(network, "0x1", 3)] == [
        ["a/m-1", "a/m-2", "b/m-1"]
    ]


@given(NETWORKS, st.integers(1, 10), st.text("0123456789abcdef", min_size=4, max_size=8))
def test_nobody_is_lost_and_no_miner_is_split(network, capacity, block_hash):
    """Every machine is in exactly one wave, a miner's machines in the same, and no wave is over its capacity."""

    waves = plan_waves(network, block_hash, capacity)

    assert sorted(e.key for wave in waves for e in wave) == sorted(e.key for e in network)
    for miner in {e.miner_hotkey for e in network}:
        assert sum(any(e.miner_hotkey == miner for e in wave) for wave in waves) == 1
    for wave in waves:
        assert len(wave) <= capacity or len({e.miner_hotkey for e in wave}) == 1


def test_the_draw_depends_on_the_block():
    """Who meets whom can't be known before the block is there."""

    network = [machine(f"miner-{n}", 1) for n in range(20)]

    plans = {tuple(e.key for e in plan_waves(network, f"0x{n}", 5)[0]) for n in range(8)}

    assert len(plans) > 1


def test_two_draws_of_one_block_are_alike():
    """The plan is a rule: anybody can draw it again, whatever the order of the machines."""

    network = [machine(f"miner-{n % 7}", n) for n in range(20)]

    assert [sorted(e.key for e in w) for w in plan_waves(network, "0xab", 6)] == [
        sorted(e.key for e in w) for w in plan_waves(network[::-1], "0xab", 6)
    ]
