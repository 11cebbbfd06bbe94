"""`subnet ban`, as an operator types it."""

import json

from click.testing import CliRunner

from deployments.cli import subnet
from tasks.errors import SettingError

HOTKEY = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
UUID = "GPU-00000000-0000-4000-8000-00000000000a"


def typed(tmp_path, *words):
    """What the command prints, in a folder of its own."""
    environment = {"SUBNET_FOLDER": str(tmp_path)}
    return CliRunner().invoke(subnet, ["ban", *words], env=environment, catch_exceptions=True)


def test_a_ban_is_listed_until_it_is_lifted(tmp_path):
    """Added, listed with its reason, lifted; the second call of each says that nothing changed."""

    first = typed(tmp_path, "add", "--miner", HOTKEY, "--reason", "lies", "--by", "ops", "--days", "30")
    again = typed(tmp_path, "add", "--miner", HOTKEY, "--reason", "lies", "--by", "ops")
    typed(tmp_path, "add", "--card", UUID, "--reason", "broken", "--by", "ops")
    listed = json.loads(typed(tmp_path, "list", "--json").output)
    lifted = [typed(tmp_path, "lift", "--miner", HOTKEY, "--by", "ops").output for _ in range(2)]

    assert "banned until " in first.output
    assert "is banned already" in again.output
    assert [(b["kind"], b["subject"], b["reason"]) for b in listed] == [
        ("card", UUID.lower(), "broken"),
        ("miner", HOTKEY, "lies"),
    ]
    assert lifted == [f"miner {HOTKEY}: lifted\n", f"miner {HOTKEY}: is not banned\n"]


def test_a_ban_needs_one_subject_in_its_form(tmp_path):
    """Neither, both, and what is no hotkey or UUID are a user's mistake, told in one sentence."""

    for words in ((), ("--miner", HOTKEY, "--card", UUID), ("--miner", "5Alice"), ("--card", "GPU-1")):
        done = typed(tmp_path, "add", *words, "--reason", "lies")

        assert isinstance(done.exception, SettingError), words


def test_days_are_a_number(tmp_path):
    """What compares with no bound is out of every bound: exit code 2 and one sentence."""

    done = typed(tmp_path, "add", "--miner", HOTKEY, "--reason", "lies", "--days", "nan")

    assert (done.exit_code, done.output.splitlines()[-1]) == (
        2,
        "Error: Invalid value for '--days': 'nan' is no finite number.",
    )


def test_programs_are_told_whether_something_has_changed(tmp_path):
    """`--json`: the ban as it was asked for, and whether it is new; whether one was lifted."""

    asked = ("add", "--miner", HOTKEY, "--reason", "lies", "--by", "ops", "--json")
    first, again = (json.loads(typed(tmp_path, *asked).output) for _ in range(2))
    lifted = [json.loads(typed(tmp_path, "lift", "--miner", HOTKEY, "--json").output) for _ in range(2)]

    assert (first["is_new"], again["is_new"]) == (True, False)
    assert (first["ban"]["kind"], first["ban"]["subject"], first["ban"]["reason"]) == (
        "miner",
        HOTKEY,
        "lies",
    )
    assert [one["is_lifted"] for one in lifted] == [True, False]
