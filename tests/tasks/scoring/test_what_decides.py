"""What decides over pay beside the terms: bans do, also on a leased machine; what is in shadow does not."""

from dataclasses import replace

from storage.records import Reason, Severity
from tasks.policy import DEFAULT, ShadowPolicy
from tasks.scoring.scoring import score_epoch
from tests.tasks.scoring.worlds import executor, grounds, report, verdict, view

MACHINE = executor()
DISK = Reason("DISK_BELOW_MINIMUM", Severity.FAIL, "20 GiB free", "100 GiB free", "Free some disk.")


def scored(*, reasons=(), ban_code="", policy=DEFAULT):
    """The score of a leased machine that is proved."""
    given = grounds(view("5Alice"), leased=[MACHINE.key])
    given = replace(given, standings=tuple(replace(s, ban_code=ban_code) for s in given.standings))
    (score,) = score_epoch(
        [MACHINE], [report(MACHINE, reasons=reasons)], [verdict(MACHINE, 4_000.0)], given, policy
    )
    return score


def test_a_leased_machine_under_a_ban_is_proved_and_not_paid():
    """Its lease runs on; its score is 0, with the ban as the reason."""

    score = scored(ban_code="MINER_BANNED")

    assert score.score == 0.0
    assert [r.code for r in score.reasons if r.decides] == ["MINER_BANNED"]


def test_what_is_in_shadow_is_nothing_once_it_is_enforced():
    """The bill says what the machine is paid now and what it would be: 0 by a check that is in shadow."""
    policy = replace(DEFAULT, shadow=ShadowPolicy(checks=("DISK_BELOW_MINIMUM",)))

    struck = scored(reasons=(replace(DISK, is_shadow=True),), policy=policy)
    other = scored(policy=policy)

    assert (struck.score, struck.enforced_score) == (other.score, 0.0)
    assert other.enforced_score == other.score > 0


def test_what_is_in_shadow_costs_nothing():
    """The reason is in the bill and the pay is that of a machine without it."""

    shadowed = scored(reasons=(replace(DISK, is_shadow=True),))

    assert shadowed.score == scored().score > 0
    assert scored(reasons=(DISK,)).score == 0.0
    assert shadowed.reasons[0].code == "DISK_BELOW_MINIMUM"
