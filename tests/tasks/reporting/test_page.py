"""The page: well-formed, complete in itself, and nothing that a miner says is more than text."""

import asyncio
import base64
import re
from dataclasses import replace
from datetime import date, timedelta
from xml.etree import ElementTree as ET

import pytest

from storage.errors import StorageError
from storage.records import Lease, Reason, Severity
from tasks.reporting.page import POLICY
from tasks.reporting.period import Period
from tasks.reporting.reading import read_frames
from tasks.reporting.step import summarise
from tasks.reporting.writing import folder_of_reports, write_page
from tests.tasks.reporting.network import DISK, NOON, archive, epoch, machine

pytestmark = pytest.mark.xdist_group("page")  # so that the fixture's is drawn once
DAY = Period(date(2026, 8, 1))
TEN = timedelta(minutes=10)
HOSTILE = "<script>alert(1)</script><img src=http://evil/x onerror=a()>\"'&$\\frac{1}{0}$ | [x](http://evil) \x1b[31m\u202e"
TROUBLE = Reason(HOSTILE, Severity.FAIL, HOSTILE, HOSTILE, HOSTILE)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The report of a network in which every foreign text is hostile."""
    root = tmp_path_factory.mktemp("archive") / "history"
    machines = (
        machine(HOSTILE, HOSTILE, model=HOSTILE),
        machine("b", "5Bob", model="\ud800".encode("utf-8", "replace").decode() + "模型" * 99),
        machine("c", "5Carol", reasons=[DISK, TROUBLE]),
    )
    shares = {HOSTILE: 0.5, "5Bob": 0.5}
    good = epoch(7, *machines[:2], machine("c", "5Carol"), at=NOON - 2 * TEN)
    let = (Lease(HOSTILE, f"{HOSTILE}/{HOSTILE}", (HOSTILE,), 1.0, NOON),)
    bad = epoch(8, *machines, weights=shares, incentive=shares, incidents=(TROUBLE,), at=NOON - TEN)
    good = replace(good, grounds=replace(good.grounds, leases=let))
    archive(root, good, bad, epoch(9, *machines[:2], machine("c", "5Carol")))
    frames = read_frames(root, DAY)
    return frames, write_page(frames, folder_of_reports(root))


@pytest.fixture(scope="module")
def page(made):
    """As text."""
    return made[1].path.read_text(encoding="utf-8")


def parsed(page):
    return ET.fromstring(page.removeprefix("<!DOCTYPE html>"))


def test_the_page_is_well_formed_and_small(made, page):
    """It parses as XML, has a heading for each section, and its pictures all have a text for those who don't see them."""
    root = parsed(page)

    assert [h.text for h in root.iter("h2")].count("Uptime by miner") == 1
    assert len(list(root.iter("figure"))) == 11
    assert all(len(image.get("alt")) > 30 for image in root.iter("img"))
    assert made[1].size_bytes == len(page.encode()) < 3_000_000


def test_the_page_opens_without_a_network(page):
    """No script, no link, no address but pictures that are in the page; its policy forbids all else."""
    root = parsed(page)
    names = {element.tag for element in root.iter()}
    addresses = [
        value
        for e in root.iter()
        for key, value in e.attrib.items()
        if key in {"src", "href", "srcset", "action"}
    ]
    (policy,) = (
        m.get("content") for m in root.iter("meta") if m.get("http-equiv") == "Content-Security-Policy"
    )

    assert names.isdisjoint({"script", "link", "iframe", "object", "embed", "form", "base", "a"})
    assert all(address.startswith("data:image/svg+xml;base64,") for address in addresses)
    assert not any(key.startswith("on") for e in root.iter() for key in e.attrib)
    assert policy == POLICY
    assert "default-src 'none'" in policy
    assert "url(" not in next(root.iter("style")).text


def test_pictures_load_nothing_and_run_nothing(page):
    """Inside the SVG files too: no script, no foreign object, only addresses within the picture."""
    for source in re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", page):
        root = ET.fromstring(base64.b64decode(source))
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        links = [v for e in root.iter() for k, v in e.attrib.items() if k.rpartition("}")[2] == "href"]

        assert tags.isdisjoint({"script", "foreignObject", "a", "iframe"})
        assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)


def test_hostile_names_are_only_text(page):
    """They are on the page as they are written, control characters replaced, and no element is made of them."""
    shown = "".join(parsed(page).itertext())

    assert "<script>alert(1)</script>" in shown
    assert "<script" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_the_artifact_reads_nothing_foreign_as_markdown(made):
    """The same for Prefect's UI: the only pictures are ours, and no link is one."""
    frames, report = made
    text = summarise(frames, report)
    without = re.sub(r"!\[[A-Za-z0-9 :,.'-]+\]\(data:image/png;base64,[A-Za-z0-9+/=]+\)", "", text)

    assert without != text
    assert "](" not in without
    assert not re.search(r"(?<!\\)<", without)
    assert not re.search(r"https?://", without)
    assert len(text) < 300_000


def test_the_same_archive_gives_the_same_page(made):
    """Byte for byte, over the old one, and nothing else is left in the folder."""
    frames, report = made
    before = report.path.read_bytes()

    again = write_page(frames, report.path.parent)

    assert again == report
    assert report.path.read_bytes() == before
    assert [p.name for p in report.path.parent.iterdir()] == ["2026-08-01.html"]


def test_a_disk_that_takes_nothing_leaves_the_old_page(made, tmp_path):
    """A folder that can't be made is told with its path."""
    frames, _ = made
    (tmp_path / "reports").write_text("a file")

    with pytest.raises(StorageError, match=r"reports/2026-08-01\.html cannot be written"):
        write_page(frames, tmp_path / "reports")


def test_a_day_without_epochs_has_a_page_that_says_so(tmp_path):
    """The schedule's report of a day on which the validator was down."""
    from flows.report import make_report

    report = asyncio.run(make_report(tmp_path / "history", DAY))
    page = report.path.read_text()

    assert "No epoch is archived from 2026-08-01 00:00 to 2026-08-02 00:00 UTC." in page
    assert not list(parsed(page).iter("img"))
    assert {line.key: line.value for line in report.figures}["gini"] is None


def test_an_absurd_archive_has_a_page_all_the_same(tmp_path):
    """Figures as large and as small as a file can hold them, at the ends of time: no error, and no warning of matplotlib's."""
    from datetime import UTC, datetime

    huge, tiny = 1.7e308, 5e-324
    machines = (
        machine("a", price=huge, score=huge, gb_s=huge, cards=3, gib=1 << 33),
        machine("b", price=tiny, score=tiny, gb_s=tiny, gib=0),
        machine("c", price=float("nan"), score=float("nan"), gb_s=float("nan")),
        machine("d", price=float("-inf"), score=float("inf"), gb_s=float("-inf")),
        machine("e", reasons=[DISK]),
    )
    shares = {"5Alice": huge, "5Bob": tiny, "5Carol": float("nan"), "5Owner": -huge}
    at = datetime(2199, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    archive(
        tmp_path / "h", epoch(7, *machines, at=at, weights=shares, incentive=shares, seconds=(0.0, 1e9, None))
    )

    report = write_page(read_frames(tmp_path / "h", Period(at.date())), tmp_path)

    assert (
        len(list(parsed(report.path.read_text()).iter("img"))) == 9
    )  # nothing was leased, and nothing can be judged
