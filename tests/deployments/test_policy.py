"""`subnet policy`: every number that decides who is paid what, readable, and as JSON."""

import json

import pytest
from click.testing import CliRunner

from deployments.commands.policy import command
from tasks.policy import PRESETS


def shown(*arguments):
    """What the command prints."""
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0
    return result.output


def test_a_table_is_shown_row_by_row():
    """Caps, portions and programmes have a line a row, with the name that the row is for."""
    lines = [line.split() for line in shown("lium-2026").splitlines()]

    assert ["formula", "lium-2026"] in lines
    assert ["A100", "8,", "40"] in lines
    assert ["(any)", "1,", "10"] in lines
    assert ["H200", "0.56"] in lines


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_number_is_in_the_json(name):
    """For programs: every section and value, and the digest that the archive names."""
    told = json.loads(shown(name, "--json"))

    policy = PRESETS[name]
    assert told["digest"] == policy.digest()
    assert told["scoring"]["formula"] == policy.scoring.formula
    assert told["lium_2026"]["leased_pool"] == policy.lium_2026.leased_pool
    assert told["known"] == sorted(PRESETS)
