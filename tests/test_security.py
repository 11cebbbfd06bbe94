"""The threat model names tests, and each of them is there."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
DOCUMENT = (TESTS.parent / "docs" / "security.md").read_text()
NAMED = re.compile(r"`([a-z_/]+\.py)::(test_[a-z0-9_]+)`")


def test_every_row_of_the_threat_model_has_its_test():
    """A row of docs/security.md that nothing shows, or whose test was renamed, fails here."""

    rows = [
        line for line in DOCUMENT.splitlines() if line.startswith("| ") and not line.startswith("| asset ")
    ]
    named = [NAMED.findall(row) for row in rows]

    assert len(rows) > 30
    assert all(named)
    for file, name in (test for tests in named for test in tests):
        assert re.search(rf"^ *(async )?def {name}\(", (TESTS / file).read_text(), re.MULTILINE), name


def test_every_asset_and_every_attacker_of_the_whole_has_its_rows():
    """What is named above the table as an asset or an attacker begins a cell of it; and what is in a cell is named above."""

    whole = DOCUMENT.partition("## The whole")[2].partition("\nNot stopped:")[0]
    assets, attackers = (
        re.search(rf"^{kind}: (.+)\.$", whole, re.MULTILINE)[1].split(", ")
        for kind in ("Assets", "Attackers")
    )
    rows = [line.strip("| ").split(" | ") for line in whole.splitlines() if NAMED.search(line)]

    assert {row[0] for row in rows} == set(assets)
    for attacker in attackers:
        assert any(re.search(rf"(^|, ){re.escape(attacker)}(,|:|$| )", row[1]) for row in rows), attacker
