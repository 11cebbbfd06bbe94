"""docs/scoring.md names every term of every formula and every reason that scoring tells."""

import inspect
import re
from pathlib import Path

import pytest

from tasks.policy import PRESETS
from tasks.scoring import reasons
from tasks.scoring.bills import TERMS
from tasks.scoring.scoring import BILLS

PAGE = (Path(__file__).parents[3] / "docs" / "scoring.md").read_text(encoding="utf-8")
CODES = sorted(set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+)"', inspect.getsource(reasons))))


@pytest.mark.parametrize("term", sorted({term for terms in TERMS.values() for term in terms}))
def test_every_term_is_explained(term):
    """A column that a formula multiplies stands on the page."""
    assert f"`{term}`" in PAGE or f" {term}" in PAGE


@pytest.mark.parametrize("code", CODES)
def test_every_reason_is_explained(code):
    """A code that scoring tells stands on the page."""
    assert f"`{code}`" in PAGE


def test_every_formula_has_a_bill_and_a_preset():
    """The formulas that terms are listed for are those that can be computed, and each is some preset's."""
    assert set(TERMS) == set(BILLS) == {policy.scoring.formula for policy in PRESETS.values()}


@pytest.mark.parametrize("name", re.findall(r"`(test_[a-z0-9_]+\.py)::(test_[a-z0-9_]+)`", PAGE))
def test_every_vector_names_its_test(name):
    """The tests that the page sends a reader to are there."""
    file, test = name
    assert f"def {test}(" in (Path(__file__).parent / file).read_text(encoding="utf-8")
