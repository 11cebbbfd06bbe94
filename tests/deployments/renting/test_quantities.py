"""How renters write time, money and limits."""

import contextlib
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.renting.quantities import (
    MAX_USD,
    duration,
    idle_of,
    micro_usd_of,
    moment_of,
    seconds_of,
    short_usd,
    usd,
)
from tasks.errors import SettingError

NOW = datetime(2026, 10, 8, 17, 0, tzinfo=ZoneInfo("Europe/Berlin"))


@pytest.mark.parametrize(
    ("text", "seconds"), [("90m", 5400), ("1h30m", 5400), ("2d", 172_800), ("45s", 45), ("1D2H", 93_600)]
)
def test_a_time_is_read_in_its_units(text, seconds):
    """Days, hours, minutes and seconds, in this order, each once."""

    assert seconds_of("--ttl", text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "90", "1m1h", "-1h", "1.5h", "367d", "1h 2m", "\uff190m", "1h\n"])
def test_what_is_no_time_is_refused(text):
    """No unit, no number, a wrong order, a sign, more than a year."""

    with pytest.raises(SettingError, match="--ttl"):
        seconds_of("--ttl", text if text != "1h\n" else "1h\nx")


@given(st.integers(1, 366 * 86_400))
def test_a_duration_that_is_shown_can_be_typed(seconds):
    """What is printed is read back, at most one of its smaller unit off."""

    again = seconds_of("--ttl", duration(seconds))

    assert abs(again - seconds) < 3600 if seconds >= 86_400 else abs(again - seconds) < 60


@given(st.integers(1, MAX_USD * 1_000_000))
def test_money_is_exact_in_both_ways(micro_usd):
    """A price is read from what is printed of it without a micro-USD lost."""

    assert micro_usd_of("--cap", usd(micro_usd)) == micro_usd


@pytest.mark.parametrize("text", ["", "0", "-1", "1e3", "nan", "1.0000001", "1000001", "1,2", "$", "٣"])
def test_what_is_no_money_is_refused(text):
    """Zero, signs, exponents, a seventh decimal, other digits, more than a million."""

    with pytest.raises(SettingError, match="--cap"):
        micro_usd_of("--cap", text)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text):
    """No text makes another error than the user's."""

    for read in (
        lambda: seconds_of("k", text),
        lambda: micro_usd_of("k", text),
        lambda: idle_of("k", text),
        lambda: moment_of("k", text, NOW),
    ):
        with contextlib.suppress(SettingError):
            read()


def test_an_idle_limit_is_a_use_and_a_time():
    """`5%/30m`: under five percent for half an hour."""

    assert idle_of("--idle", "5%/30m") == (5.0, 1800)
    for text in ("5/30m", "0%/30m", "101%/30m", "5%/", "5%"):
        with pytest.raises(SettingError, match="--idle"):
            idle_of("--idle", text)


def test_a_clock_time_is_the_next_one_here():
    """18:30 is today while it is to come, else tomorrow, in this computer's zone."""

    assert moment_of("--until", "18:30", NOW) == datetime(2026, 10, 8, 16, 30, tzinfo=UTC)
    assert moment_of("--until", "9:00", NOW) == datetime(2026, 10, 9, 7, 0, tzinfo=UTC)
    assert moment_of("--until", "2026-10-09T18:30", NOW) == datetime(2026, 10, 9, 16, 30, tzinfo=UTC)
    assert moment_of("--until", "2026-10-09T18:30Z", NOW) == datetime(2026, 10, 9, 18, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["24:00", "2026-10-08T10:00", "2028-01-01", "tomorrow", "9999-12-31T23:59-23:00"]
)
def test_a_moment_is_in_the_next_year(text):
    """What is past, far ahead or no time at all is refused."""

    with pytest.raises(SettingError, match="--until"):
        moment_of("--until", text, NOW)


def test_small_prices_keep_their_digits():
    """A tenth of a cent is not shown as nothing."""

    assert [short_usd(v) for v in (0, 1_234_567, 99_000, -99_000)] == ["0.00", "1.23", "0.0990", "-0.0990"]
    assert (duration(0), duration(timedelta(days=2, hours=4, minutes=9).total_seconds())) == ("0s", "2d4h")
