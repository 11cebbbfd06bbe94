"""What cards do now, as nvidia-smi prints it, and what a machine makes of that."""

import pytest

from storage.rental import CardUse
from tasks.inspection.facts.gpu_use import parse_use
from tasks.inspection.facts.text import Unreadable

H200 = "GPU-5d5ba0d6-aaaa, 97, 61440, 143771, 64, 512.72, 700.00"


def test_what_each_card_does():
    """By its UUID; what a card does not say is not known, and one that does not say how busy it is is missing."""
    quiet = "GPU-2, 0, 1, [N/A], [N/A], [N/A], [N/A]"
    unsaid = "GPU-3, [N/A], 1, 24576, 30, 20.00, 70.00"

    assert parse_use(f"{H200}\n{quiet}\n{unsaid}\n") == {
        "GPU-5d5ba0d6-aaaa": CardUse("GPU-5d5ba0d6-aaaa", 97.0, 61_440, 143_771, 64, 512.72, 700.0),
        "GPU-2": CardUse("GPU-2", 0.0, 1),
    }
    assert parse_use("No devices were found\n") == {}


@pytest.mark.parametrize("text", ["GPU-1, 97", H200 + ", 1", "x" * 5_000, f"{H200}\n" * 65])
def test_what_is_no_table_of_cards_is_refused(text):
    """A row too short or too long, and more cards than any machine has."""
    assert isinstance(parse_use(text), Unreadable)


def test_numbers_that_no_card_can_show_are_not_known():
    """Percent above 100, temperatures and powers of no world."""
    assert parse_use("GPU-1, 101, 1, 1, 1, 1, 1") == {}
    assert parse_use("GPU-1, 1, -1, 9999999999, 999, inf, 1e9") == {"GPU-1": CardUse("GPU-1", 1.0, 0)}
