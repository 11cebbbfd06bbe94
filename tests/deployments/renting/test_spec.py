"""A renter's wish in one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.renting.spec import Spec, is_model, parse, squashed, text_of
from tasks.errors import SettingError

SPECS = st.builds(
    Spec,
    count=st.integers(0, 64),
    model=st.sampled_from(["", "RTX4090", "RTX 4090", "H100 PCIe", "4090", "GeForce RTX 3060 Ti", "B200"]),
    min_vram_gib=st.integers(0, 200_000).map(lambda n: n / 1000),
    max_micro_usd_per_hour=st.integers(0, 10**12),
    region=st.sampled_from(["", "EU", "us-east-1"]),
    min_performance=st.integers(0, 2000).map(lambda n: n / 1000),
    min_reliability=st.integers(0, 1000).map(lambda n: n / 1000),
    machine=st.sampled_from(["", "5GnLMr/rack1-a", "3b5a"]),
)


def test_a_line_says_what_is_wanted():
    """Count and model in front, conditions behind them in any order."""

    found = parse("2xRTX4090 price<=1.2 vram>=24 region=EU perf>=0.9 rel>=0.99")

    assert found == Spec(2, "RTX4090", 24.0, 1_200_000, "EU", 0.9, 0.99)


@pytest.mark.parametrize(
    ("line", "spec"),
    [
        ("", Spec()),
        ("H100 PCIe", Spec(model="H100 PCIe")),
        ("4 x H100", Spec(4, "H100")),
        ("4x", Spec(count=4)),
        ("2\N{MULTIPLICATION SIGN}L40S", Spec(2, "L40S")),
        ("vram>=80 count=8", Spec(8, "", 80.0)),
        ("machine=5Gn/rack1-a", Spec(machine="5Gn/rack1-a")),
    ],
)
def test_short_lines_are_lines_too(line, spec):
    """Whatever is left out is all the same."""

    assert parse(line) == spec


@given(SPECS)
def test_a_spec_written_down_is_read_back(spec):
    """Writing and reading are inverse."""

    assert parse(text_of(spec)) == spec


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("2xRTX4090 colour=red", "colour=red"),
        ("2xRTX4090 vram>24", "vram>24"),
        ("vram>=24 RTX4090", "RTX4090"),
        ("vram>=24 vram>=48", "vram>=48"),
        ("2xL40S count=3", "count=3"),
        ("price<=0", "0"),
        ("price<=-1", "-1"),
        ("vram>=nan", "vram>=nan"),
        ("99xL40S", "99xL40S"),
        ("0xL40S", "0xL40S"),
        ("2x2xL40S", "2x2xL40S"),
        ("$(reboot)", "$(reboot)"),
        ("--privileged", "--privileged"),
        ("region=-v", "region=-v"),
    ],
)
def test_a_word_that_does_not_fit_is_named(line, word):
    """The refusal shows the very word, and what a line looks like."""

    with pytest.raises(SettingError) as refused:
        parse(line)

    assert (refused.value.key, refused.value.value) == ("--spec", word)


@given(
    st.text(max_size=600)
    | st.lists(
        st.sampled_from(["2x", "vram>=", "price<=", "1.2", "H100", "region=", "\x1b[2J", "=", "x"])
    ).map("".join)
)
def test_any_text_is_read_or_refused(text):
    """No text makes another error than the user's, and what is read is written in plain characters."""

    try:
        found = parse(text)
    except SettingError:
        return

    assert text_of(found).isascii()
    assert text_of(found).isprintable()
    assert parse(text_of(found)) == found


@pytest.mark.parametrize(
    ("model", "wanted", "is_it"),
    [
        ("H100 80GB HBM3", "H100", True),
        ("A100-SXM4-80GB", "a100", True),
        ("GeForce RTX 4090", "4090", True),
        ("NVIDIA GeForce RTX 4090", "RTX-4090", True),
        ("L40S", "L4", False),
        ("RTX 4090", "RTX 409", False),
        ("RTX A6000", "A6000 RTX", False),
        ("L4", "", True),
    ],
)
def test_a_model_is_meant_by_whole_words_of_its_name(model, wanted, is_it):
    """In a row, in their order; half a word means nothing."""

    assert is_model(model, wanted) is is_it


@pytest.mark.parametrize("name", ["RTX4090", "rtx 4090", "NVIDIA GeForce RTX 4090", "GeForce RTX-4090"])
def test_names_of_one_model_are_one(name):
    """Makers, spaces, dashes and case say nothing."""

    assert squashed(name) == "rtx4090"
