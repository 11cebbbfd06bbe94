"""The list of what we use: digests, who asked for what, and valid by CycloneDX's own schema."""

import json

import pytest

from tests.supply.bom import bom_of, text_of, version, write
from tests.supply.locked import locked

LOCK = f"""
pandas==3.0.1 \\
    --hash=sha256:{"a" * 64} \\
    --hash=sha256:{"b" * 64}
    # via compute-subnet (pyproject.toml)
numpy==2.4.0 ; python_full_version < '3.12' \\
    --hash=sha256:{"c" * 64}
    # via
    #   compute-subnet (pyproject.toml)
    #   pandas
numpy==2.5.0 ; python_full_version >= '3.12' \\
    --hash=sha256:{"d" * 64}
    # via pandas
"""


def test_a_lock_is_read_with_digests_markers_and_who_asked():
    """A package that is pinned for two systems is there twice."""
    pandas, old, new = locked(LOCK)

    assert (pandas.name, pandas.version, pandas.marker, len(pandas.sha256)) == ("pandas", "3.0.1", None, 2)
    assert (old.asked_by, new.asked_by) == (("compute-subnet", "pandas"), ("pandas",))
    assert (str(new.marker), new.sha256) == ('python_full_version >= "3.12"', ("d" * 64,))
    with pytest.raises(ValueError, match="not pinned"):
        locked("pandas>=3.0")


def test_the_list_names_what_it_is_of_and_what_asks_for_what():
    """Valid CycloneDX 1.6; the same lock gives the same bytes."""
    text = text_of(bom_of(locked(LOCK), "1.2.3"))
    told = json.loads(text)
    asked = {one["ref"]: one.get("dependsOn", []) for one in told["dependencies"]}
    (pandas,) = (one for one in told["components"] if one["name"] == "pandas")
    numpy = ["pkg:pypi/numpy@2.4.0", "pkg:pypi/numpy@2.5.0"]

    assert told["metadata"]["component"]["version"] == "1.2.3"
    assert asked["compute-subnet"] == [numpy[0], "pkg:pypi/pandas@3.0.1"]
    assert asked["pkg:pypi/pandas@3.0.1"] == numpy
    assert [one["content"] for one in pandas["externalReferences"][0]["hashes"]] == ["a" * 64, "b" * 64]
    assert text == text_of(bom_of(locked(LOCK), "1.2.3"))


@pytest.mark.long
def test_the_lists_of_this_tree_hold_all_that_is_locked(tmp_path):
    """As `make sbom` writes them: one of what runs, one of all that is developed with."""
    running, every = (json.loads(path.read_text()) for path in write(tmp_path))

    assert 100 < len(running["components"]) < len(every["components"])
    assert every["metadata"]["component"]["version"] == version()
    assert all(one["externalReferences"][0]["hashes"] for one in every["components"])
