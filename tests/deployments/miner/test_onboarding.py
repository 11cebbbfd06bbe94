"""`subnet miner onboard` and `offboard` on a bare machine, as a new miner types them: real OpenSSH, agent, chain and epoch."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from prefect.utilities.callables import parameter_schema

from deployments.cli import subnet
from deployments.localnet.warming import warm_cache
from flows.offboard import offboard
from flows.onboard import onboard
from tasks.errors import SettingError
from tests.deployments.miner.bare_machine import why_not
from tests.engines import skip_or_fail
from tests.tasks.onboarding.looking import make_ssh_key

REPOSITORY = Path(__file__).parents[3]
LIMIT_S = 180.0
HERE = ["keys", "authority", "place", "offer", "agent"]

pytestmark = pytest.mark.xdist_group("bare")


def lived(folder: Path, kernels: Path, kills: str, limit_s: float = 300.0) -> dict:
    """What was seen of a machine's way to its verdict and back."""
    if missing := why_not():
        skip_or_fail(f"a bare machine needs {missing}")
    told = subprocess.run(
        [sys.executable, "-m", "tests.deployments.miner.onboarding_life", str(folder), str(kernels), kills],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


@pytest.fixture(scope="module")
def kernels(request) -> Path:
    found = request.config.cache.mkdir("kernels")
    warm_cache(found)
    return found


@pytest.fixture(scope="module")
def life(tmp_path_factory, kernels) -> dict:
    """A machine that was brought in by a command that was killed three times, and taken out."""
    return lived(tmp_path_factory.mktemp("a life") / "of one", kernels, "accounts,proof,verdict")


def states(told: dict) -> dict[str, str]:
    """Of all steps that were planned."""
    (machine,) = told["machines"]
    return {step["step"]: step["state"] for step in (*machine["plan"], *told["here"])}


def test_a_plan_is_told_and_nothing_is_changed(life):
    """Neither on the machine nor on the miner's computer, where no file is made."""

    planned = states(life["dry"])

    assert {name: planned[name] for name in HERE} == {
        "keys": "done", "authority": "to do", "place": "to do", "offer": "to do", "agent": "to do",
    }  # fmt: skip
    assert planned["python"] == planned["sshd"] == "to do"
    assert (life["after dry"], life["here after dry"]) == ({}, [])


def test_a_bare_machine_comes_to_a_verdict_that_pays(life):
    """Its cards are proved by a validator's epoch, and what it told is shown, with every reason and its mend."""

    (machine,) = life["first"]["machines"]
    (told,) = machine["told"].values()

    assert (life["status"], machine["failed"], machine["executor"]) == (0, None, "rack1-a")
    assert told["score"] > 0
    assert all(reason["mend"] for reason in told["reasons"])
    assert life["seconds"] < LIMIT_S
    assert {step["step"]: step["state"] for step in machine["steps"]}["verdict"] == "done"


def test_killed_on_the_way_it_is_gone_on_with(life):
    """Killed amid the machine's steps, at the proof, and once the agent served: the place is bought once, the proof kept."""

    (machine,) = life["first"]["machines"]
    planned = states(life["first"])

    assert life["killed at"] == ["accounts", "proof", "verdict"]
    assert {planned[name] for name in HERE} == {"done"}
    assert "proved" in next(step["detail"] for step in machine["steps"] if step["step"] == "proof")
    assert life["config"].count("[[executor]]") == 1


def test_twice_changes_nothing(life):
    """No file on either computer, no payment; every step says that there was nothing to do."""

    assert set(states(life["again"]).values()) <= {"done", "not needed"}
    assert (life["changed again"], life["here again"], life["paid again"]) == ([], [], False)


def test_one_that_does_not_answer_costs_only_itself(life):
    """Its step, the reason and the command that mends it are told; the other one has its verdict as before."""

    silent, good = life["with another"]["told"]["machines"]

    assert life["with another"]["status"] == 1
    assert (silent["failed"]["step"], silent["failed"]["why"].partition(":")[0]) in [
        ("look", "HOST_UNREACHABLE"),
        ("look", "HOST_TIMEOUT"),
    ]
    assert silent["failed"]["mend"].startswith("ssh -p 9 root@")
    assert (good["failed"], len(good["told"]), good["executor"]) == (None, 1, "rack1-a")


def test_a_machine_with_renters_stays(life):
    """It is paused, so that none comes anew, and how to take it out all the same is told; nothing on it is undone."""

    (machine,) = life["rented"]["told"]["machines"]

    assert (life["rented"]["status"], machine["failed"]["step"]) == (1, "withdraw")
    assert machine["failed"]["why"] == "1 container of renters on it"
    assert "--force" in machine["failed"]["mend"]
    assert "paused_from = " in life["config while rented"]


def test_offboard_leaves_the_machine_as_it_was(life):
    """Path, mode, owner and content; the agent ended, its file is put aside, and once more there is nothing to do."""

    assert "/etc/ssh/sshd_config.d/60-subnet.conf" in life["new"]
    assert life["left"] == {}
    assert [machine["left"] for machine in life["off"]["machines"]] == [[]]
    assert "miner.toml.old" in life["here at the end"]
    assert "miner.toml" not in life["here at the end"]
    assert [machine["failed"] for machine in life["off again"]["machines"]] == [None]


@pytest.fixture
def typed(tmp_path, monkeypatch):
    """A command on a computer where nothing is yet, but for a key."""
    monkeypatch.chdir(tmp_path)
    make_ssh_key(tmp_path / "id")

    def command(*words: str, **environment: str):
        given = {"SUBNET_FOLDER": str(tmp_path / ".local"), **environment}
        return CliRunner().invoke(subnet, ["miner", *words, "--key", str(tmp_path / "id")], env=given)

    return command


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("203.0.113.7", "203.0.113.8", "--id", "rack1"), "--id"),
        (("203.0.113.7", "ubuntu@203.0.113.7"), "HOST"),
        (("a;b",), "HOST"),
        (("203.0.113.7", "--ceiling", "1e3"), "--ceiling"),
        (("203.0.113.7", "--announce", "miner.example:80"), "--announce"),
    ],
)
def test_mistakes_are_told(typed, words, key):
    """Before any machine is asked."""

    done = typed("onboard", *words, SUBNET_NETWORK="test")

    assert isinstance(done.exception, SettingError)
    assert done.exception.key == key


def test_simulated_cards_are_for_the_local_subnet(typed):
    """On any other network nobody may say where they lie."""

    done = typed("onboard", "203.0.113.7", "--simulated-cards", "/cards", SUBNET_NETWORK="test")

    assert "the local subnet" in str(done.exception)


@pytest.mark.parametrize(("flow", "own"), [(onboard, set()), (offboard, {"is_forced"})])
def test_the_form_in_the_prefect_ui_asks_for_no_secret(flow, own):
    """Paths of files that hold them, names and numbers: a parameter of a run is everybody's who sees the server."""

    schema = parameter_schema(flow).model_dump()
    fields = schema["definitions"]["Starting"]["properties"]

    assert set(schema["properties"]) == {"hosts", "how", *own}
    assert all(field["description"] for field in fields.values())
    for name in fields:
        assert not re.search(r"secret|seed|mnemonic|password(?!_file)|token", name), name


@pytest.mark.long
def test_killed_at_every_moment_it_ends_the_same(tmp_path, kernels):
    """As a command that nobody killed, with kernels that are compiled there: within three minutes, and file by file."""

    plain = lived(tmp_path / "plain", kernels, "none", 600.0)
    died = lived(tmp_path / "died", kernels, "all", 1_200.0)

    assert len(died["killed at"]) > 12
    for one in (plain, died):
        (machine,) = one["first"]["machines"]
        (told,) = machine["told"].values()
        assert (one["status"], machine["failed"], told["score"] > 0, one["left"]) == (0, None, True, {})
        assert one["seconds"] < LIMIT_S
    assert states(died["again"]) == states(plain["again"])
    assert of_the_machine(died["new"]) == of_the_machine(plain["new"])


def of_the_machine(paths: list[str]) -> list[str]:
    """Without the homes of those who validate: their names are made of hotkeys, which are others each time."""
    return [path for path in paths if not path.startswith("/var/lib/subnet/homes/")]
