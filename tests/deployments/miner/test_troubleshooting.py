"""The miner's guide has every reason that the code can give, with what to do about it."""

import ast
from pathlib import Path

from deployments.miner import agent, leases
from deployments.miner.troubleshooting import DOOR, EFFECTS, MARK, OUR_OWN, PAGE, found_reasons, reference
from storage.records import Severity
from tasks.edges import signing
from tasks.policy import RecordPolicy
from tasks.proof.reasons import MENDS


def test_the_guide_ends_with_every_reason_as_it_is():
    """docs/miner.md says what the code says; `python -m deployments.miner.troubleshooting` renews it."""
    _, _, table = PAGE.read_text().partition(MARK)

    assert table.strip() == reference().strip()


def test_every_reason_has_a_code_an_effect_and_a_mend():
    """Read off the sources, whoever makes them, through whichever helper; few calls have a code that only a run knows."""
    every, unknown = found_reasons()

    assert len(every) > 80
    assert [one.code for one in every.values() if not one.mends or not all(map(str.strip, one.mends))] == []
    assert (
        {effect for one in every.values() for effect in one.effects}
        <= {s.name for s in Severity}
        == set(EFFECTS)
    )
    # An incident's code is its error's name; bans' and the proof's codes are in tables that are read as a whole.
    known = ("epoch", "proof.busy", "proof.conversation", "proof.verdict", "scoring.columns")
    assert {place.partition(":")[0] for place in unknown} <= {f"tasks.{name}" for name in known}


def test_codes_that_other_rules_name_are_in_the_table():
    """The proof's own list, and what resets a record: a code that the reading of sources missed would be missing here."""
    every, _ = found_reasons()

    assert set(MENDS) <= set(every)
    assert set(RecordPolicy().reset_codes) <= set(every)
    assert {"NOT_DRAWN", "KEPT_LAST_SCORE", "MINER_REFUSED", "EXECUTOR_NOT_READY", "SWAP_TOO_SOON"} <= set(
        every
    )
    assert not OUR_OWN & set(every)


def test_every_refusal_of_the_door_is_explained():
    """Whatever code the agent answers with, and those of a request that is not authentic."""
    refused = {
        node.args[place].value
        for module, name, place in ((agent, "Refused", 1), (leases, "LeaseRefused", 0))
        for node in ast.walk(ast.parse(Path(module.__file__).read_text()))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == name
        and isinstance(node.args[place], ast.Constant)
    }
    authentic = {
        node.value
        for node in ast.walk(ast.parse(Path(signing.__file__).read_text()))
        if isinstance(node, ast.Constant) and str(node.value).startswith("AUTH_")
    }
    of_a_header = {"AUTH_HOTKEY", "AUTH_NONCE", "AUTH_RECEIVER", "AUTH_SIGNATURE"}
    elsewhere = {"AUTH_", "AUTH_EVIDENCE", "AUTH_STATEMENT"}

    assert refused | (authentic - elsewhere) | of_a_header == set(DOOR)
