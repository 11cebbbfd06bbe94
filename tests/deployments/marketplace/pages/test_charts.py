"""The charts of the last days: the report's own figures as lines and areas, made beside, so that no page waits for them."""

import re
import threading
from datetime import date, timedelta

import numpy as np
import pytest

from deployments.marketplace.drawn import DAYS, REST_FACTOR, REST_S, Drawn, NotMade, TooSlow, charts_of
from deployments.marketplace.pages import charts
from deployments.marketplace.pages.charting import html_of
from deployments.marketplace.pages.charts import FLOOR, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from tasks.reporting.period import Period
from tasks.reporting.reading import read_frames
from tests.deployments.marketplace.pages.reading import Page, read
from tests.deployments.marketplace.pages.waiting import until
from tests.deployments.marketplace.world import world
from tests.tasks.reporting.network import DISK, NOON, archive, epoch, machine

DAY = date(2026, 8, 1)
TEN = timedelta(minutes=10)
HOSTILE = '"><script>alert(1)</script>\u202e'
NEVER = threading.Event()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two epochs, a gap, and a third: two models, one with a hostile name, and a machine that fails."""
    machines = (
        machine("a", cards=4, gb_s=300.0, score=2.0),
        machine("b", "5Bob", model=HOSTILE, cards=2, price=0.9, gb_s=90.0),
        machine("c", "5Bob", reasons=[DISK]),
    )
    shares = {
        "weights": {"5Alice": 0.6, "5Bob": 0.2, "5Owner": 0.2},
        "incentive": {"5Alice": 0.5, "5Bob": 0.5},
    }
    return archive(
        tmp_path_factory.mktemp("history"),
        epoch(7, *machines, **shares),
        epoch(8, *machines, at=NOON + TEN, **shares),
        epoch(20, *machines[:1], at=NOON + 10 * TEN, **shares),
    )


@pytest.fixture(scope="module")
def sections(root):
    """All, by title."""
    return {one.picture.title: one for one in charts.charts_of(read_frames(root, Period(DAY)))}


def corners(stroke):
    """All numbers that are across and up in a path of absolute places."""
    across = [float(x) for x in re.findall(r"[MHL]([\d.]+)", stroke.d)]
    up = [float(y) for y in re.findall(r"[MHL][\d.]+ ([\d.]+)|V([\d.]+)", stroke.d) for y in y if y]
    return across, up


def test_every_picture_of_the_report_is_drawn_within_its_frame(sections):
    """Nothing is no number, and nothing stands outside."""
    assert len(sections) == 8
    for section in sections.values():
        assert section.panels, section.picture.title
        for panel in section.panels:
            assert all("nan" not in stroke.d and "inf" not in stroke.d for stroke in panel.strokes)
            assert all(0 <= word.x <= WIDTH and 0 <= word.y <= panel.height for word in panel.words)
            for stroke in panel.strokes:
                across, up = corners(stroke)
                assert all(0 <= x <= WIDTH for x in across), section.picture.title
                assert all(0 <= y <= panel.height for y in up), section.picture.title


def test_areas_stand_on_one_another_and_fall_to_the_floor_in_gaps(sections):
    """Of 6 passed cards 4 are the first model's; after two hours without an epoch only those are there."""
    (panel,) = sections["Size of the network"].panels
    areas = [stroke for stroke in panel.strokes if stroke.look.startswith("area")]
    higher, lower = (corners(stroke) for stroke in areas)
    most = 6 + 1  # listed

    def up(cards):
        return round(FLOOR - cards / most * (FLOOR - TOP), 1)

    assert {up(6), up(4), FLOOR} <= set(higher[1])
    assert set(lower[1]) == {up(4), FLOOR}
    assert areas[0].d.count("M") == 2
    assert areas[0].d.count("z") == 2
    assert (min(higher[0]), max(higher[0])) == (LEFT, WIDTH - RIGHT)
    assert HEIGHT > FLOOR


def test_bars_have_their_names_above_them(sections):
    """Long names are cut; each row has a bar for each kind."""
    (panel,) = sections["Memory by model"].panels

    assert panel.words[0].text.startswith("L4: ")
    assert len(panel.strokes) == 2 * len(panel.words)
    assert dict(panel.legend) == {"s7": "listed", "s0": "proved"}


def test_what_passes_alike_is_one_block(sections):
    """Neighbours of one share are one rectangle; an epoch that lists nothing is left out."""
    places = [(0.0, 10.0), (10.0, 20.0), (20.0, 30.0), (40.0, 50.0), (50.0, 60.0)]
    runs = list(charts._runs([1.0, 1.0, 0.0, 0.0, float("nan")], places))

    assert runs == [("u4", 0.0, 20.0), ("u0", 20.0, 30.0), ("u0", 40.0, 50.0)]
    assert [look for look, _, _ in charts._runs(np.array([0.4, 0.8, 0.95]), places[:3])] == ["u1", "u2", "u3"]
    assert {look for look, _ in sections["Uptime by miner"].panels[0].legend} == {
        "u0",
        "u1",
        "u2",
        "u3",
        "u4",
    }


def test_foreign_text_stays_text(root):
    """A model's name in a picture, its legend and its table."""
    html = html_of(root, Period(DAY, 3))
    page = Page(html)

    assert "<script>alert" not in html
    assert "\u202e" not in html
    assert "3 archived epochs, 2026-08-01 (UTC)" in page.text
    assert len(page.all("svg", role="img")) == 9
    assert "style=" not in html


def test_an_archive_without_epochs_says_so(tmp_path):
    """In words, and nothing is drawn."""
    page = Page(html_of(tmp_path, Period(DAY, 30)))

    assert "No epoch is archived from 2026-07-03 to 2026-08-01." in page.text
    assert page.all("svg") == []


def test_the_process_beside_makes_the_same(root):
    """It ends within its time, or is ended; what it can't read is told."""
    assert charts_of(root, DAY, 1, NEVER) == html_of(root, Period(DAY))
    with pytest.raises(TooSlow):
        charts_of(root, DAY, 1, NEVER, deadline_s=0.0)
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(TooSlow):
        charts_of(root, DAY, 1, stopped)


def test_nobody_waits_while_they_are_made(root):
    """New ones are begun for another epoch, and not before the last ones' time came twentyfold."""
    now_s, asked = 0.0, []

    def make(day, days, stop):
        nonlocal now_s
        asked.append((day, days, stop.is_set()))
        now_s += 30.0
        return f"<p>{len(asked)}</p>"

    drawn = Drawn(make, lambda: now_s)
    try:
        assert drawn.look(DAY, 7).html == ""
        until(lambda: drawn.look(DAY, 7).html == "<p>1</p>")
        drawn.look(DAY, 8)
        assert asked == [(DAY, 30, False)]
        now_s += max(REST_S, 30.0 * REST_FACTOR)
        assert drawn.look(DAY, 7).html == "<p>1</p>"
        assert len(asked) == 1
        drawn.look(DAY, 8)
        until(lambda: drawn.look(DAY, 8).html == "<p>2</p>")
    finally:
        drawn.close()


def test_what_takes_too_long_is_tried_with_fewer_days(tmp_path):
    """And what can't be made is told, and tried again later."""
    tried, now_s = [], 0.0

    def make(_day, days, _stop):
        tried.append(days)
        if days > 1:
            raise TooSlow("x")
        raise NotMade("x")

    drawn = Drawn(make, lambda: now_s)
    try:
        until(lambda: "can't be read" in drawn.look(DAY, 7).fault)
        assert tuple(tried) == DAYS
        drawn.look(DAY, 7)
        assert len(tried) == 3
        now_s = REST_S
        drawn.look(DAY, 7)
        until(lambda: len(tried) == 4)
    finally:
        drawn.close()


def test_the_network_page_has_them_when_they_are_made(tmp_path):
    """Before that it says so; an open page asks for them until they are there."""
    made = threading.Event()

    def make(_day, _days, _stop):
        made.wait(10)
        return "<div data-over><h2>The last 30 days</h2></div>"

    with world(tmp_path, machines=0, charts=make) as market:
        stranger = market.stranger()
        first = stranger.get("/network")
        waiting = stranger.get("/network/charts")
        made.set()
        until(lambda: "The last 30 days" in stranger.get("/network/charts").text)
        later = stranger.get("/network/charts", headers={"If-None-Match": waiting.headers["etag"]})
        page = read(stranger.get("/network"))
        market.desk.close()

    assert "are being made" in read(first).text
    assert later.status_code == 200
    assert "The last 30 days" in page.text
    assert page.all("div", id="charts")[0]["data-etag"] == later.headers["etag"]
