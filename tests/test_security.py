"""The threat model names tests, and each of them is there."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
NAMED = re.compile(r"`([a-z_/]+\.py)::(test_[a-z0-9_]+)`")


def test_every_row_of_the_threat_model_has_its_test():
    """A row of docs/security.md that nothing shows, or whose test was renamed, fails here."""

    rows = [
        line
        for line in (TESTS.parent / "docs" / "security.md").read_text().splitlines()
        if line.startswith("| ") and not line.startswith("| asset ")
    ]
    named = [NAMED.findall(row) for row in rows]

    assert len(rows) > 30
    assert all(named)
    for file, name in (test for tests in named for test in tests):
        assert re.search(rf"^ *(async )?def {name}\(", (TESTS / file).read_text(), re.MULTILINE), name
