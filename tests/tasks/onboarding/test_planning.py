"""What a plan comes to: rules over what was found, without any machine."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from storage.records import HostFacts
from tasks.errors import BadAnswer, OnboardingFailed, SettingError
from tasks.onboarding import changing
from tasks.onboarding.confinement import files
from tasks.onboarding.machine import Machine
from tasks.onboarding.needs import Environment, Found
from tasks.onboarding.planning import MENDS, Answer, changes, decide, mend_for, resolved, unprivileged
from tasks.onboarding.preflight import Report
from tasks.onboarding.replies import ANSWERED, UNDONE, parsed
from tasks.onboarding.steps import STEPS, PlanState, Wanted

NAMED = Machine("203.0.113.7", 22, "root", address="203.0.113.7")
UBUNTU = replace(NAMED, user="ubuntu")
WANTED = Wanted("rack1-a", "ssh-ed25519 " + "A" * 68)
BOTH = ("numpy", "numba")


def report(
    python="/usr/bin/python3", has=(), *, cards=False, toolkit=None, engine=None, runtimes=()
) -> Report:
    facts = HostFacts(container_runtime=engine, container_runtimes=runtimes)
    found = Found(facts, "root", Environment((3, 11, 0), has), toolkit, needs_cards=cards)
    return Report(replace(NAMED, python=python), found, ())


@pytest.mark.parametrize(
    ("seen", "python"),
    [
        (report(), "/opt/subnet/bin/python"),
        (report(has=BOTH), "/usr/bin/python3"),
        (report(has=BOTH, cards=True), "/opt/subnet/bin/python"),
        (report(has=(*BOTH, "numba_cuda"), cards=True), "/usr/bin/python3"),
        (report("/root/prover/bin/python", BOTH), "/opt/subnet/bin/python"),
        (report("/tmp/prover/bin/python", BOTH), "/opt/subnet/bin/python"),
    ],
)
def test_the_interpreter_is_decided_on_before_anything_is_done(seen, python):
    """The login's own Python is announced where it can prove and validators may read it; else one of ours is made."""

    assert resolved(WANTED, seen).python == python


def test_an_interpreter_that_is_named_is_not_talked_out_of():
    """What the miner names is announced, and one where no validator can reach it is refused."""

    assert resolved(replace(WANTED, python="/srv2/bin/python"), report()).python == "/srv2/bin/python"
    with pytest.raises(SettingError, match="python"):
        changes(replace(WANTED, python="/home/miner/bin/python"), report())


@pytest.mark.parametrize(
    ("wanted", "seen", "needed"),
    [
        (WANTED, report(), {"engine": ["engine"]}),
        (WANTED, report(cards=True), {"engine": ["engine"], "toolkit": ["packages", "runtime"]}),
        (WANTED, report(cards=True, toolkit="1.17.8"), {"engine": ["engine"], "toolkit": ["runtime"]}),
        (
            WANTED,
            report(cards=True, toolkit="1.17.8", engine="docker 28", runtimes=("nvidia", "runc")),
            {"engine": ["engine"], "toolkit": []},
        ),
        (WANTED, report(cards=True, engine="podman 4.3"), {"engine": ["engine"], "toolkit": ["packages"]}),
        (replace(WANTED, has_engine=False), report(cards=True), {}),
    ],
)
def test_engine_and_toolkit_are_asked_for_where_they_are_of_use(wanted, seen, needed):
    """No engine without renters, no toolkit without cards, no runtime for an engine that takes cards without one."""

    asked = changes(resolved(wanted, seen), seen)

    kinds = {
        name: [change["kind"] for change in asked[name]] for name in ("engine", "toolkit") if name in asked
    }
    assert kinds == needed


def test_every_file_and_folder_of_the_confinement_is_asked_for_once():
    """The steps together write what confines, all of it; the door's own file comes last."""

    asked = changes(resolved(WANTED, report()), report())
    confined = WANTED.confined()

    written = [change["path"] for change in asked["files"]] + [files.UNIT, files.SSHD_DROP_IN]
    assert sorted(written) == sorted(file.path for file in files.files(confined))
    assert [change["path"] for change in asked["folders"]] == [folder.path for folder in files.folders()]
    assert asked["keeper"][0]["unit"] == files.UNIT
    assert asked["sshd"][0]["path"] == files.SSHD_DROP_IN
    assert [step.name for step in STEPS][-1] == "sshd"
    json.dumps(asked)


def test_a_plan_says_of_each_step_what_there_is_to_do():
    """To do, done, not needed, or blocked with the command that mends it, in the steps' order."""

    needed = {"engine": [{"kind": "engine"}], "python": [{}], "accounts": [{}], "sshd": [{}]}
    looked = {
        "engine": Answer(code="NO_APT", detail="there is no apt-get"),
        "python": Answer(("a", "b", "c", "d", "e", "f")),
        "accounts": Answer(),
        "sshd": Answer(code="SSHD_NOT_READ", detail="nothing includes it"),
    }

    plan = decide(UBUNTU, WANTED, needed, looked)

    assert [(one.step.name, one.state, one.detail) for one in plan.steps] == [
        ("engine", PlanState.BLOCKED, "there is no apt-get"),
        ("toolkit", PlanState.NOT_NEEDED, ""),
        ("python", PlanState.TO_DO, "a, b, c, d and 2 more"),
        ("accounts", PlanState.DONE, ""),
        ("folders", PlanState.NOT_NEEDED, ""),
        ("files", PlanState.NOT_NEEDED, ""),
        ("keeper", PlanState.NOT_NEEDED, ""),
        ("sshd", PlanState.BLOCKED, "nothing includes it"),
    ]
    assert plan.steps[7].mend.startswith("sudo sed -i '1i Include")
    assert [one.step.name for one in plan.blocked] == ["engine", "sshd"]
    assert [one.step.name for one in plan.to_do] == ["python"]


def test_whoever_may_not_act_as_root_is_told_how():
    """A login without privilege gets a plan of which nothing can be done, with the line for sudoers."""

    refused = unprivileged(UBUNTU, WANTED, "none")

    assert {one.state for one in refused.steps} == {PlanState.BLOCKED}
    assert "/etc/sudoers.d/ubuntu" in refused.steps[0].mend
    assert unprivileged(UBUNTU, WANTED, "sudo") is None
    assert unprivileged(NAMED, WANTED, None) is not None


def test_mends_are_for_who_logs_in():
    """Root's mend has no sudo in it, and each code of the program has one or none, never an error."""

    assert all("sudo" not in mend_for(code, NAMED) for code in MENDS)
    assert mend_for("READ_ONLY", UBUNTU) == "sudo mount -o remount,rw /"
    assert mend_for("NOBODY_KNOWS", UBUNTU) == ""


def test_whatever_fails_there_has_a_mend():
    """Each code that the program may answer has a command."""

    folder = Path(changing.__file__).parent
    text = "".join(path.read_text() for path in folder.glob("*.py"))
    codes = set(re.findall(r'(?:Failed\(\s*|need\("[a-z-]+", |errno\.\w+: |, )"([A-Z][A-Z_]{3,})"', text))

    assert {"BUSY", "IN_USE", "NO_APT", "READ_ONLY", "SYSTEM", "TOOL_FAILED", "TOO_SLOW"} <= codes
    assert [code for code in sorted(codes) if not mend_for(code, NAMED)] == []


def test_the_program_is_for_old_interpreters():
    """Every module of it is read by Python 3.8, and is listed before it is sent."""

    from tasks.onboarding.hand import MODULES, _program

    there = {path.stem for path in Path(changing.__file__).parent.glob("*.py")} - {"__init__"}
    for name in there:
        ast.parse((Path(changing.__file__).with_name(f"{name}.py")).read_text(), feature_version=(3, 8))

    assert set(MODULES) == there
    assert len(_program()) < 100_000


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no JSON",
        b"[]",
        b'{"done": "all", "code": "", "detail": ""}',
        b'{"done": [], "code": "sh -c", "detail": ""}',
        b'{"done": [], "code": "", "detail": "", "more": 1}',
        b'{"done": ["%s"], "code": "", "detail": ""}' % (b"x" * 9_000),
        b'{"done": [%s], "code": "", "detail": ""}' % b",".join([b'"x"'] * 1_001),
        b"[" * 100_000,
    ],
)
def test_an_answer_that_does_not_fit_is_refused(raw):
    """A machine that answers anything else than the record is told from one that can't do what was asked."""

    with pytest.raises(BadAnswer):
        parsed(NAMED, "files", raw, ANSWERED)


def test_what_a_machine_says_can_be_shown():
    """Its words come without control characters, bounded, and with our own mend, never with one of its own."""

    raw = json.dumps({"refused": "BUSY", "detail": "\x1b[2J" + "sudo rm -rf / " * 300})
    with pytest.raises(OnboardingFailed) as caught:
        parsed(NAMED, "files", raw.encode(), ANSWERED)
    left = parsed(NAMED, "files", b'{"undone": 1, "left": [["/etc/x", "why"]]}', UNDONE).left

    assert len(caught.value.why) <= 600
    assert "\x1b" not in caught.value.why
    assert caught.value.mend == mend_for("BUSY", NAMED)
    assert left == [("/etc/x", "why")]
