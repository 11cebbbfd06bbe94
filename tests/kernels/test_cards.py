import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kernels.cards import CardError, FolderCards, UnlimitedCards, add_simulated_card

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys
from kernels.cards import CardError, FolderCards
card = FolderCards(sys.argv[1]).open("GPU-a")
try:
    card.allocate(int(sys.argv[2]))
    print("held", flush=True)
    sys.stdin.read()
    card.close()
except CardError as error:
    print(error.code, error.detail, flush=True)
"""


@pytest.fixture
def folder(tmp_path):
    add_simulated_card(tmp_path, "GPU-a", 1280)
    return tmp_path


@pytest.fixture
def hold(folder):
    """Start another process that holds so many lines of GPU-a; what it says first."""
    started = []

    def start(lines):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(folder), str(lines)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.communicate()


def lines_of(folder, lines):
    """Whether so many lines can be had right now."""
    card = FolderCards(folder).open("GPU-a")
    try:
        card.allocate(lines)
    except CardError as error:
        return error.code
    else:
        return "held"
    finally:
        card.close()


def test_a_second_process_finds_the_card_full(folder, hold):
    """Real processes share one budget: what does not fit fails with both numbers, what fits is given."""

    assert hold(6)[1] == "held"
    assert hold(5)[1] == "CARD_MEMORY_SHORT GPU-a has 512 bytes free, D needs 640"
    assert hold(4)[1] == "held"
    assert lines_of(folder, 1) == "CARD_MEMORY_SHORT"


def test_a_killed_process_frees_its_share(folder, hold):
    """Kill -9 leaves a file that holds nothing: the next who asks clears it away."""

    process, said = hold(10)
    assert (said, lines_of(folder, 1)) == ("held", "CARD_MEMORY_SHORT")
    process.kill()
    process.wait()

    assert lines_of(folder, 10) == "held"
    assert sorted(path.name for path in (folder / "GPU-a").iterdir()) == ["lock", "total"]


def test_a_process_that_ends_frees_its_share(folder, hold):
    """Closing leaves nothing behind."""

    process, _ = hold(10)
    process.communicate()

    assert sorted(path.name for path in (folder / "GPU-a").iterdir()) == ["lock", "total"]


def test_threads_share_the_budget(folder):
    """Of twenty threads that want half a card at the same moment two get it."""

    gate, results, cards = threading.Barrier(20), [], [FolderCards(folder).open("GPU-a") for _ in range(20)]

    def want(card):
        gate.wait()
        try:
            card.allocate(5)
            results.append("held")
        except CardError as error:
            results.append(error.code)

    threads = [threading.Thread(target=want, args=(card,)) for card in cards]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for card in cards:
        card.close()

    assert sorted(results) == ["CARD_MEMORY_SHORT"] * 18 + ["held"] * 2
    assert lines_of(folder, 10) == "held"


def test_a_card_adds_up_its_own(folder):
    """Two allocations of one card count together, and closing twice does nothing more."""

    card = FolderCards(folder).open("GPU-a")
    assert card.allocate(6).shape == (6, 32)
    with pytest.raises(CardError, match="512 bytes free"):
        card.allocate(5)
    card.close()
    card.close()

    assert lines_of(folder, 10) == "held"


@pytest.mark.parametrize("uuid", ["GPU-b", "", ".", "..", "GPU-a/", "../GPU-a", "GPU-a\0", "x" * 300])
def test_unknown_cards(folder, uuid):
    """A UUID that is no card here, or a way out of the folder, is CARD_NOT_FOUND."""

    with pytest.raises(CardError) as caught:
        FolderCards(folder / "deep" / "..").open(uuid)
    assert caught.value.code == "CARD_NOT_FOUND"


def test_a_new_budget(folder):
    """Adding a card again changes its budget."""

    add_simulated_card(folder, "GPU-a", 128)

    assert (lines_of(folder, 1), lines_of(folder, 2)) == ("held", "CARD_MEMORY_SHORT")
    with pytest.raises(ValueError, match="no card UUID"):
        add_simulated_card(folder, "../GPU", 1)


def test_unlimited_cards():
    """Cards without a budget have any UUID and give each what it asks for."""

    card = UnlimitedCards().open("GPU-x")

    assert card.allocate(3).nbytes == 384
    card.close()
