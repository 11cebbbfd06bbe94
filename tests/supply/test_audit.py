"""The audit of known holes: what it found, and when nothing could be found out."""

import json

from tests.supply.audit import Audit, best, lines_of, understood


def output(*packages):
    """As pip-audit has it."""
    return json.dumps({"dependencies": list(packages)})


HOLE = {"id": "PYSEC-2026-1", "fix_versions": ["1.2"], "aliases": [], "description": ""}
GOOD = {"name": "good", "version": "1.0", "vulns": []}
BAD = {"name": "bad", "version": "1.1", "vulns": [HOLE]}
SKIPPED = {"name": "odd", "skip_reason": "Dependency not found on PyPI and could not be audited: odd (1.0)"}


def test_a_hole_is_told_with_its_mend():
    """Package, version, advisory, and in which version it is mended."""
    found = understood("requirements.lock", output(GOOD, BAD), "")

    assert found.holes == ("bad 1.1: PYSEC-2026-1, mended in 1.2",)
    assert lines_of(found)[0] == "requirements.lock: 2 packages audited, 1 known holes"


def test_what_was_skipped_was_not_audited():
    """pip-audit says `No known vulnerabilities found` and exit code 0 of packages that it could not ask for: we don't."""
    found = understood("requirements.lock", output(SKIPPED), "No known vulnerabilities found")

    assert not found.is_whole
    assert lines_of(found) == [
        "requirements.lock: NOT AUDITED, the advisories can't be had here (none of its 1 packages is known to the service)"
    ]


def test_without_a_network_nothing_was_audited():
    """No JSON at all: the last line of its trouble is told."""
    found = understood("requirements.lock", "", "Traceback\nConnectionError: api.osv.dev")

    assert lines_of(found) == [
        "requirements.lock: NOT AUDITED, the advisories can't be had here (ConnectionError: api.osv.dev)"
    ]


def test_the_service_that_knows_most_counts():
    """The first that knows all is enough; a hole is told whoever knows it."""
    nothing, whole, part = Audit("l", 0, 9), Audit("l", 9, 0), Audit("l", 4, 5)
    hole = Audit("l", 1, 8, ("bad 1.1: X, mended in 1.2",))

    assert best([nothing, whole]) == whole
    assert best([nothing, part]) == part
    assert best([hole, whole]) == hole
