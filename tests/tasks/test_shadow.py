"""Shadow: what is found is told and archived, and decides nothing."""

from dataclasses import replace

import pytest

from storage.records import CardProof, Reason, Severity, Verdict
from tasks.errors import PolicyRefused
from tasks.policy import DEFAULT, ShadowPolicy, check_policy
from tasks.shadow import against_in_shadow, report_in_shadow, verdict_in_shadow
from tests.tasks.scoring.worlds import executor, report

SHADOW = ShadowPolicy(checks=("DISK_BELOW_MINIMUM", "BANDWIDTH_TOO_LOW"))
DISK = Reason("DISK_BELOW_MINIMUM", Severity.FAIL, "20 GiB free", "100 GiB free", "Free some disk.")
RAM = Reason("RAM_BELOW_MINIMUM", Severity.FAIL, "", "", "")
SLOW = Reason("BANDWIDTH_TOO_LOW", Severity.FAIL, "card 0, 500 GB/s", "at least 700 GB/s", "")
WRONG = Reason("WALK_STATE_WRONG", Severity.FAIL, "", "", "")
PROOF = CardProof("GPU-1", 0, False, "BANDWIDTH_TOO_LOW", "", 1 << 30, 1.0, 1.0, 500.0, 1.0)  # noqa: FBT003


def verdict(*reasons):
    return Verdict("m/1", reasons[0].code, Severity.FAIL, (PROOF,), reasons, b"", 0)


def test_a_check_in_shadow_lets_the_machine_be_proved():
    """The reason stays, marked; what else speaks against the machine still does."""

    lenient = report_in_shadow(report(executor(), reasons=(DISK,)), SHADOW)
    strict = report_in_shadow(report(executor(), reasons=(DISK, RAM)), SHADOW)

    assert lenient.reasons == (replace(DISK, is_shadow=True),)
    assert lenient.may_be_proved
    assert not strict.may_be_proved
    assert against_in_shadow(strict.reasons) == (replace(DISK, is_shadow=True),)


def test_a_bound_in_shadow_leaves_the_proof_with_its_figures():
    """Too slow by a bound that is in shadow is proved at its speed; its card still says what was found."""

    proved = verdict_in_shadow(verdict(SLOW), SHADOW)

    assert (proved.code, proved.severity, proved.cards) == ("PROVED", None, (PROOF,))
    assert proved.reasons == (replace(SLOW, is_shadow=True),)


def test_a_wrong_proof_is_never_taken_for_a_right_one():
    """Beside a bound in shadow, what else failed decides."""

    failed = verdict_in_shadow(verdict(WRONG, SLOW), SHADOW)

    assert (failed.code, failed.proved) == ("WALK_STATE_WRONG", False)


@pytest.mark.parametrize("code", ["WALK_STATE_WRONG", "GPU_MODEL_UNSUPPORTED", "MINER_BANNED", "TYPO"])
def test_a_policy_shadows_only_what_leaves_something_to_pay(code):
    """A wrong proof, an unknown model, a ban and a code that nobody has are refused, with what there is."""

    policy = replace(DEFAULT, shadow=ShadowPolicy(checks=(code,)))

    with pytest.raises(PolicyRefused, match=f"shadow.checks has '{code}', expected some of BANDWIDTH_"):
        check_policy(policy, is_embedded=False)
