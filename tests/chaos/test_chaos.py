"""Chaos itself, in its shorter forms: what `make chaos` does for ten minutes holds for one, too."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.long, pytest.mark.engine, pytest.mark.xdist_group("chaos")]
REPOSITORY = Path(__file__).parents[2]
DEADLINE_S = 2_400


def chaos(folder, *options):
    """A run of it: its report, and what it printed."""
    words = [sys.executable, "-m", "tests.chaos", "--folder", folder / "seed", *options]
    done = subprocess.run(
        words, cwd=REPOSITORY, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert (folder / "seed" / "report.json").exists(), done.stdout[-2_000:] + done.stderr[-3_000:]
    return json.loads((folder / "seed" / "report.json").read_text()), done


@pytest.mark.parametrize("seed", [11, 12])
def test_epochs_alone_come_out_as_if_nothing_had_been_killed(tmp_path, seed):
    """A minute of faults over epochs: weights from what is archived, set once, every run ended, nothing left."""
    report, done = chaos(tmp_path, "--seed", str(seed), "--minutes", "1", "--renters", "0", "--no-miner")

    assert [c for c in report["checks"] if c["wrong"]] == []
    assert done.returncode == 0
    assert {c["name"]: c["looked_at"] for c in report["checks"]}[
        "weights are those that the archive gives"
    ] > 0
    assert len(report["hits"]) > 3


def test_leases_come_out_right(tmp_path):
    """Two minutes of faults over everything."""
    report, done = chaos(tmp_path, "--seed", "13", "--minutes", "2")

    assert [c for c in report["checks"] if c["wrong"]] == []
    assert done.returncode == 0
