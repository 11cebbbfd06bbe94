"""The page that explains each zero: all reasons at once, each with its mend, and nothing of it is read as Markdown."""

from dataclasses import replace
from datetime import UTC, datetime

from storage.records import EpochOutcome, EpochState, Executor, Reason, Score, Severity
from tasks.explaining import MAX_MACHINES_EXPLAINED, explanation, plain, score_rows

NOW = datetime(2026, 11, 22, tzinfo=UTC)
LOWERED = Reason("HOST_MINIMUM_LOWERED", Severity.WARN, "1 GiB", "16 GiB", "Nothing to do.")
SHORT = Reason("DISK_BELOW_MINIMUM", Severity.FAIL, "20 GiB", "100 GiB", "Free some disk.")
HOSTILE = Reason("FACT_UNREADABLE", Severity.FAIL, "[x](http://e) <b>|\n# no", "a number", "Mend it.")


def outcome(*scores: Score) -> EpochOutcome:
    machines = tuple(
        Executor(s.executor_key, "m", 4, 1, "127.0.1.1", 22, "u", "/p", b"", 1.0) for s in scores
    )
    machines = tuple(
        Executor(e.executor_id.partition("/")[2], "m", 4, 1, "127.0.1.1", 22, "u", "/p", b"", 1.0)
        for e in machines
    )
    return EpochOutcome(
        7, 51, 350, "0x", "v", "p", "d", "0", NOW, NOW, EpochState.FINISHED, executors=machines, scores=scores
    )


def score(name: str, value: float, *reasons: Reason) -> Score:
    return Score(f"m/{name}", "m", 4, "L4", 1, 0, 0.11, 1, 1, 1, 1, float(value > 0), value, reasons)


def test_every_zero_has_all_its_reasons():
    """A machine without pay has a section with every reason, those that decide first; a paid one has none."""

    page = explanation(outcome(score("good", 0.5, LOWERED), score("bad", 0.0, LOWERED, SHORT)))

    assert "1 of 2 machines are not paid." in page
    assert "## bad (miner 4)" in page
    assert "good" not in page
    assert page.index("DISK_BELOW_MINIMUM") < page.index("HOST_MINIMUM_LOWERED")
    assert "*Free some disk.*" in page


def test_foreign_text_stays_text():
    """Links, tags, tables and headings that a machine sends are shown as they are written."""

    page = explanation(outcome(score("bad", 0.0, HOSTILE)))

    assert "[x]" not in page
    assert "<b>" not in page
    assert [line for line in page.splitlines() if line.startswith("# ")] == ["# Epoch 7"]


def test_addresses_in_foreign_text_are_no_links():
    """Every mark has a backslash, and what a reader would make a link of is broken by a joiner that is not seen."""

    assert plain("*a*_b") == r"\*a\*\_b"
    assert plain("http://e WWW.e a@e") == "http\u2060://e WWW\u2060.e a\u2060@e"


def test_the_best_score_stands_first():
    """The table has a row a machine, best first, with the codes that decided."""

    rows = score_rows(outcome(score("bad", 0.0, SHORT, LOWERED), score("good", 0.5)))

    assert [(r["executor"], r["score"], r["reasons"]) for r in rows] == [
        ("good", 0.5, ""),
        ("bad", 0.0, "DISK_BELOW_MINIMUM"),
    ]


def test_the_table_has_the_terms_of_the_formula():
    """Each formula's own columns stand in its rows, small shares with their digits."""
    default, lium = score("a", 0.5), replace(score("b", 0.00054), formula="lium-2025", card_share=0.02)

    rows = {row["executor"]: row for row in score_rows(outcome(default, lium))}

    assert {"rate_usd_per_hour", "performance", "occupancy", "capacity", "passed"} <= rows["a"].keys()
    assert (rows["b"]["score"], rows["b"]["card_share"]) == (0.00054, 0.02)
    assert "capacity" not in rows["b"]


def test_what_the_page_has_no_room_for_is_said():
    """Of more than a thousand zeros the rest is counted, and where they are found."""

    page = explanation(outcome(*(score(f"m-{n}", 0.0, SHORT) for n in range(MAX_MACHINES_EXPLAINED + 2))))

    assert "And 2 more: `subnet show --epoch 7` and the archive have all of them." in page
