"""Whether renters are on a machine, as its engines tell: what can't be told is no `nobody`."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tasks.errors import BadAnswer
from tasks.inspection.output import FactOutput
from tasks.onboarding.leaving import RENTED, rented_by


def told(folder, **engines):
    """What the command prints on a machine that has these engines and nothing else."""
    for name, script in engines.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    for name in ("id", "sh", "echo"):
        (folder / name).symlink_to(shutil.which(name))
    done = subprocess.run(
        ["/bin/sh", "-c", RENTED.command], env={"PATH": str(folder)}, capture_output=True, check=False
    )
    return FactOutput("rented", done.returncode, done.stdout, done.stderr, 0.1, truncated=False)


def test_containers_of_all_engines_are_counted(tmp_path):
    """Only what has our label is asked for, whether it runs or not; what is no id is none."""

    output = told(
        tmp_path,
        docker='[ "$*" = "ps --all --quiet --filter label=org.compute-subnet.lease" ] && printf "0123456789ab\\nfedcba987654\\n"',
        podman="echo WARN something",
    )

    assert rented_by(output) == 2


def test_a_machine_without_an_engine_has_no_renter(tmp_path):
    """There is nobody to ask."""

    assert rented_by(told(tmp_path)) == 0


def test_an_engine_that_does_not_answer_may_have_renters(tmp_path):
    """A daemon that is down, or a user who may not ask it: the machine stays, and why is told."""

    output = told(tmp_path, docker="echo 'permission denied' >&2; exit 1", podman=":")

    with pytest.raises(BadAnswer, match="does not answer: permission denied"):
        rented_by(output)
