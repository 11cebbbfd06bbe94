"""What a lease used as pictures: scales that can be read, lines that break where nothing was measured, and all of it in words."""

from datetime import timedelta

import pytest

from deployments.marketplace.pages.meters import LEFT, POINTS, RIGHT, WIDTH, Span, charts_of
from storage.health import Metric
from storage.rental import CardUse
from tests.tasks.renting.leases import NOON, after

TEN = Span(NOON, after(600))
BOTH = ("GPU-a", "GPU-b")


def card(uuid="GPU-a", percent=50.0, **more):
    """One of 80 GiB at 300 of 700 W."""
    told = {"memory_total_mib": 81_920, "temperature_c": 60, "power_w": 300.0, "power_limit_w": 700.0}
    return CardUse(uuid, percent, 40_960, **{**told, **more})


def metric(second, *cards, **more):
    """A sample."""
    return Metric("l-1", after(second), cards, **more)


def chart(key, samples, span=TEN, uuids=BOTH):
    """One of the pictures."""
    [found] = [one for one in charts_of(samples, uuids, span).charts if one.key == key]
    return found


def test_each_card_is_a_line():
    """By its number in the lease; cards of others are not drawn, and the scale goes from nothing to all."""
    samples = [metric(s, card(), card("GPU-b", 10.0 * n), card("GPU-x")) for n, s in enumerate((5, 10))]
    found = chart("gpu", samples)

    assert [(line.name, line.colour, line.newest) for line in found.lines] == [
        ("card 1", 0, "50 %"),
        ("card 2", 1, "10 %"),
    ]
    assert [tick.text for tick in found.up] == ["0", "50", "100"]
    assert found.label == (
        "GPU use: card 1 newest 50 %, least 50 %, most 50 %; card 2 newest 10 %, least 0 %, most 10 %"
    )
    assert found.lines[0].path == "M46.6 60h0L49.1 60"


def test_scales_are_of_what_there_is():
    """Memory of the whole card, power up to its limit, the rest up to the next round number."""
    samples = [metric(5, card(), cpu_percent=240.0, memory_bytes=3 << 30, memory_limit_bytes=64 << 30)]
    tops = {one.key: (one.up[-1].text, one.note) for one in charts_of(samples, BOTH, TEN).charts}

    assert tops["vram"] == ("80", "of 80 GiB each")
    assert tops["power"] == ("700", "limit 700 W")
    assert tops["cpu"] == ("5", "")
    assert tops["ram"] == ("5", "of 64 GiB")
    assert chart("ram", [metric(5, memory_bytes=32 << 30, memory_limit_bytes=64 << 30)]).up[-1].text == "64"


def test_units_are_those_of_what_there_is():
    """7 MiB are not 0.0 GiB, and a card alone is not each of some."""
    found = chart("ram", [metric(5, memory_bytes=7 << 20, memory_limit_bytes=6_013_000_000)])
    assert (found.lines[0].newest, found.up[-1].text, found.note) == ("7 MiB", "10", "of 5.6 GiB")
    assert chart("vram", [metric(5, card())], uuids=("GPU-a",)).note == "of 80 GiB"


def test_what_was_not_told_has_no_line():
    """And says so in words; a card that does not say how warm it is has its other lines."""
    samples = [metric(5, card(temperature_c=None))]

    assert chart("heat", samples).lines == ()
    assert chart("heat", samples).label == "GPU temperature: not told"
    assert len(chart("gpu", samples).lines) == 1
    assert chart("disk", samples).lines == ()


def test_rates_come_of_what_was_added():
    """10 MB in 5 s are 2 MB/s; what began anew, and what is too far apart, has none."""
    counts = [
        (0, 0),
        (5, 10_000_001),
        (10, 30_000_001),
        (15, 7_000_003),
        (400, 99_000_001),
        (405, 99_000_001),
    ]
    samples = [metric(s, received_bytes=n, sent_bytes=0) for s, n in counts]
    received, sent = chart("network", samples).lines

    assert (received.newest, sent.newest) == ("0 B/s", "0 B/s")
    assert chart("network", samples[:3]).lines[0].newest == "4.0 MB/s"
    assert received.path.count("M") == 2
    assert chart("network", samples).label.startswith(
        "Network: received newest 0 B/s, least 0 B/s, most 4.0 MB/s"
    )


def test_a_rounded_figure_and_an_exact_one_make_no_rate():
    """An engine's `1.23GB` is up to 5 MB away from what was counted: that would be a peak that never was."""
    counts = [(0, 1_230_000_000), (60, 1_240_000_000), (65, 1_236_123_457), (70, 1_236_223_457)]
    found = chart("network", [metric(s, received_bytes=n, sent_bytes=None) for s, n in counts])

    assert found.lines[0].path.count("L") == 1
    assert "least 20.0 kB/s, most 167 kB/s" in found.label


def test_a_line_breaks_where_nothing_was_measured():
    """For longer than samples are apart: minutes in the last hour, hours before the last day."""
    apart = [metric(s, card()) for s in (5, 10, 300, 305)]
    assert chart("gpu", apart).lines[0].path.count("M") == 2
    days = Span(NOON, NOON + timedelta(days=3))
    hourly = [Metric("l-1", NOON + timedelta(hours=n), (card(),)) for n in range(24)]
    assert chart("gpu", hourly, days).lines[0].path.count("M") == 1
    later = Span(NOON, NOON + timedelta(hours=6), NOON + timedelta(days=2))
    assert chart("gpu", hourly[:6], later).lines[0].path.count("M") == 1


@pytest.mark.parametrize("count", [1, POINTS, 720, 3_000])
def test_a_picture_has_a_bounded_number_of_points(count):
    """Of many samples the means; all of them lie in the picture."""
    samples = [metric(600 * (n + 1) / count, card(percent=n % 101)) for n in range(count)]
    path = chart("gpu", samples).lines[0].path
    places = [float(part.split()[0]) for part in path.replace("M", "L").replace("h0", "").split("L")[1:]]

    assert len(places) <= POINTS + POINTS // 4
    assert LEFT <= min(places) <= max(places) <= WIDTH - RIGHT
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("seconds", "texts"),
    [
        (600, ["12:02", "12:04", "12:06", "12:08"]),
        (3_600, ["12:15", "12:30", "12:45"]),
        (86_400, ["18:00", "00:00", "06:00"]),
        (5 * 86_400, ["Aug 2", "Aug 3", "Aug 4", "Aug 5", "Aug 6"]),
        (40 * 86_400, ["Aug 13", "Aug 27"]),
    ],
)
def test_times_are_round(seconds, texts):
    """In UTC; none is so near to an end that it would be cut."""
    found = charts_of((), (), Span(NOON, after(seconds)))

    assert [tick.text for tick in found.across] == texts


def test_nothing_breaks_a_picture():
    """No cards, no time, nothing used."""
    charts = charts_of([metric(0, cpu_percent=0.0)], (), Span(NOON, NOON)).charts

    assert [one.key for one in charts if one.lines] == ["cpu"]
    assert charts[4].up[-1].text == "1"
