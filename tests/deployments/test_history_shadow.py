"""`subnet history shadow`: whom what runs in shadow would have changed."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from deployments.cli import subnet
from storage.history import read_scores, write_epoch
from storage.records import Grounds, Reason, Severity
from tasks.errors import SettingError
from tasks.policy import DEFAULT, ShadowPolicy
from tasks.scoring.shadowed import changes
from tests.storage.outcomes import NOON, small_outcome

DISK = Reason("DISK_BELOW_MINIMUM", Severity.FAIL, "20 GiB free", "100 GiB free", "", is_shadow=True)
SHADOW = ShadowPolicy(checks=("DISK_BELOW_MINIMUM", "RAM_BELOW_MINIMUM"), terms=("uptime", "price"))


@pytest.fixture
def history(tmp_path):
    """Epoch 7: a machine with too little disk, one with half the uptime, one against which nothing speaks."""
    epoch = small_outcome(7, machines=3)
    full, young, good = (replace(s, reasons=(), score=0.3, enforced_score=0.3) for s in epoch.scores)
    scores = (
        replace(full, reasons=(DISK,), enforced_score=0.0),
        replace(young, uptime=0.5, enforced_score=0.15),
        good,
    )
    policy = replace(DEFAULT, shadow=SHADOW)
    write_epoch(
        tmp_path, replace(epoch, scores=scores, grounds=Grounds(NOON, policy.to_json(), "5Owner", (), ()))
    )
    write_epoch(tmp_path, small_outcome(6))
    return tmp_path


def typed(history, *words):
    return CliRunner().invoke(subnet, ["history", "shadow", "--history", str(history), *words])


def test_each_check_and_term_has_those_that_it_would_change(history):
    """The machine, its score now, with this one alone enforced, and with all."""

    found = changes(7, read_scores(history, 7), SHADOW)

    assert [(c.executor_key, c.name, c.score, c.then, c.enforced) for c in found] == [
        ("5Alice/m-0", "DISK_BELOW_MINIMUM", 0.3, 0.0, 0.0),
        ("5Alice/m-1", "uptime", 0.3, 0.15, 0.15),
    ]
    assert [c.why for c in found] == ["got 20 GiB free; wanted 100 GiB free", "uptime 0.5"]


def test_a_user_sees_them_and_programs_too(history):
    """What changed nobody has its line too."""

    shown = typed(history, "--epoch", "7").output
    told = json.loads(typed(history, "--json").output)

    assert "DISK_BELOW_MINIMUM: 1 machines changed in 1 epochs" in shown
    assert "epoch 7  5Alice/m-1  now 0.300000  then 0.150000  all 0.150000  uptime 0.5" in shown
    assert "RAM_BELOW_MINIMUM: 0 machines changed" in shown
    assert (told["epochs_with_shadow"], told["terms"], len(told["changes"])) == (1, ["price", "uptime"], 2)


def test_an_epoch_without_shadow_says_so(history):
    """Nothing in shadow, and an epoch or days that are not there, are said in a sentence."""

    assert "have nothing in shadow" in typed(history, "--epoch", "6").output
    assert isinstance(typed(history, "--days", "1").exception, SettingError)
    assert isinstance(typed(history, "--epoch", "9").exception, SettingError)
