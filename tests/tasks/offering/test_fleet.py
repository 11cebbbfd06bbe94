"""The miner's file as its own commands change it: one table, nothing else, whole or not at all."""

import json
import stat
import tomllib
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from deployments.cli import subnet
from tasks.edges import wire
from tasks.errors import SettingError
from tasks.offering import fleet
from tasks.offering.config import load_config, parse_config
from tasks.offering.memory import keep_results
from tests.deployments.miner.test_agent import STRANGER, VALIDATOR
from tests.tasks.offering.test_config import ENTRY, toml
from tests.tasks.offering.test_memory import RESULTS

SECOND = {**ENTRY, "id": '"rack1-b"', "port": "23"}
FILE = f"""# our two racks
max_grant_s = 1200   # short

# the old one
{toml("", {**ENTRY, "price_usd_per_hour": "1.5   # too cheap?"})}

# the new one: keep it last
{toml("", SECOND)}
# the end
"""


def test_a_price_is_changed_where_it_stands():
    """One number of one line: comments, blanks and the other machine stay as they are."""
    assert fleet.put("rack1-a", "price_usd_per_hour", 2.25)(FILE) == FILE.replace(
        "1.5   # too cheap?", "2.25   # too cheap?"
    )


def test_a_pause_comes_and_goes():
    """The line is added at the end of the machine's own table, and taken out again without a trace."""
    paused = fleet.put("rack1-a", "paused_from", 1_790_000_000)(FILE)

    assert "too cheap?\npaused_from = 1790000000\n\n# the new one" in paused
    assert parse_config(paused).executors[0].offer.paused_from == 1_790_000_000
    assert fleet.put("rack1-a", "paused_from", None)(paused) == FILE


def test_a_machine_is_added_at_the_end_and_removed_again():
    """What was there before stays byte for byte; comments above a removed header stay too."""
    entry = {**tomllib.loads(toml("", ENTRY))["executor"][0], "id": "rack2", "port": 24}
    added = fleet.add(entry)(FILE)

    assert added.startswith(FILE)
    assert [e.offer.executor_id for e in parse_config(added).executors] == ["rack1-a", "rack1-b", "rack2"]
    assert fleet.remove("rack2")(added).rstrip("\n") == FILE.rstrip("\n")
    assert "# the old one" in fleet.remove("rack1-a")(added)


def test_the_first_machine_begins_the_file(tmp_path):
    """It is made with what stands above it; the same again changes nothing, and without a beginning there has to be a file."""
    entry = tomllib.loads(toml("", {**ENTRY, "authorized_keys": '"/k"'}))["executor"][0]
    path = tmp_path / "miner.toml"

    assert fleet.change(path, fleet.add(entry), begin='folder = "/var/lib/x"\n')
    assert not fleet.change(path, fleet.add(entry), begin='folder = "/elsewhere"\n')
    assert path.read_text().startswith('folder = "/var/lib/x"\n\n[[executor]]\n')
    assert [e.offer.executor_id for e in load_config(path).executors] == ["rack1-a"]
    with pytest.raises(SettingError):
        fleet.change(tmp_path / "none.toml", fleet.add(entry))


def test_what_is_so_already_is_left(tmp_path):
    """Each change typed twice is made once: the second leaves the very file there."""
    path = tmp_path / "miner.toml"
    path.write_text(FILE)
    path.chmod(0o640)
    entry = tomllib.loads(FILE)["executor"][1]
    edits = [
        (fleet.put("rack1-a", "price_usd_per_hour", 2.0), [True, False]),
        (fleet.put("rack1-a", "min_cards", 2), [True, False]),
        (fleet.put("rack1-a", "paused_from", None), [False, False]),
        (fleet.add(entry), [False, False]),
        (fleet.remove("rack1-b"), [True, False]),
    ]
    for edit, expected in edits:
        assert [fleet.change(path, edit), fleet.change(path, edit)] == expected

    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert load_config(path).executors[0].offer.min_cards == 2


@pytest.mark.parametrize(
    ("text", "edit", "said"),
    [
        (FILE, fleet.put("rack9", "min_cards", 2), "one of rack1-a, rack1-b"),
        (FILE, fleet.add({**tomllib.loads(FILE)["executor"][0], "port": 99}), "with another port"),
        (toml("", ENTRY), fleet.remove("rack1-a"), "pause the machine"),
        ("executor = [{id = 'rack1-a'}]", fleet.put("rack1-a", "min_cards", 2), "by hand"),
        (
            'note = """\n[[executor]]\n"""\n' + toml("", ENTRY),
            fleet.put("rack1-a", "min_cards", 2),
            "by hand",
        ),
        ("executor = 1", fleet.remove("rack1-a"), "[[executor]] tables"),
        ("[[executor]", fleet.remove("rack1-a"), "valid TOML"),
        (
            toml(
                "",
                {k: v for k, v in ENTRY.items() if k != "price_usd_per_hour"}
                | {'"price_usd_per_hour"': "1.0"},
            ),
            fleet.put("rack1-a", "price_usd_per_hour", 2.0),
            "by hand: price_usd_per_hour = 2.0",
        ),
    ],
)
def test_what_can_not_be_done_is_told_with_its_mend(text, edit, said):
    """A machine that is not there, another one of its id, the last one, a form of TOML that no line can be changed in."""
    with pytest.raises(SettingError) as caught:
        edit(text)

    assert said in caught.value.expected


def test_a_change_that_does_not_fit_leaves_the_file(tmp_path):
    """Whatever an edit makes, the file that is put in place is one that an agent takes."""
    path = tmp_path / "miner.toml"
    path.write_text(FILE)
    with pytest.raises(SettingError, match="address"):
        fleet.change(path, fleet.add({**tomllib.loads(FILE)["executor"][0], "id": "rack3"}))

    assert path.read_text() == FILE


@given(
    st.lists(st.sampled_from(["\n", "# a [[executor]] comment\n", "  \n"]), max_size=3),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["rack1-a", "rack1-b"]),
    st.one_of(st.none(), st.floats(0, 1000).map(lambda f: round(f, 4))),
)
def test_any_layout_is_kept(between, newline, executor, price):
    """Of the file's lines none but the machine's own is another one, with whatever between, in either kind of lines."""
    text = (toml("", ENTRY) + "\n" + "".join(between) + toml("", SECOND) + "\n").replace("\n", newline)
    key, value = ("price_usd_per_hour", price) if price is not None else ("min_cards", 3)
    new = fleet.put(executor, key, value)(text)

    kept = [line for line in new.splitlines(keepends=True) if line.split(" ")[0] != key]
    assert kept == [line for line in text.splitlines(keepends=True) if line.split(" ")[0] != key]
    assert fleet.machine(new, executor)[key] == value
    assert new.count("\n") == new.count(newline)


def typed(*words):
    return CliRunner().invoke(subnet, ["miner", "machines", *words])


@pytest.fixture
def path(tmp_path):
    """The agent's file of two machines, with a folder where two validators have told results."""
    found = tmp_path / "miner.toml"
    memory = tmp_path / "memory"
    found.write_text(f'folder = "{memory}"\n{FILE}')
    paid = RESULTS.model_copy(
        update={"machines": (wire.MachineResult(executor_id="rack1-a", score=0.5, terms={}),), "epoch": 9}
    )
    keep_results(memory, VALIDATOR.ss58_address, RESULTS.model_copy(update={"scored_at": 1_790_000_001}))
    keep_results(memory, STRANGER.ss58_address, paid)
    return found


def test_the_list_tells_terms_verdicts_and_earnings(path):
    """A machine, who pays it, what that comes to, and each reason once with its mend."""
    shown = typed("ls", "--config", str(path), "--alpha-per-day", "1000").output
    told = json.loads(typed("ls", "--config", str(path), "--alpha-per-day", "1000", "--json").output)

    row = next(line for line in shown.splitlines() if "203.0.113.7" in line)
    assert row.split() == [
        *("rack1-a", "203.0.113.7", "port", "22", "1.5", "1", "yes", "1/2", "250.0000", "DISK_BELOW_MINIMUM")
    ]
    assert "DISK_BELOW_MINIMUM (fail, of 1/2 validators): got 20 GiB free; wanted 100 GiB free" in shown
    assert "Free some disk." in shown
    first, second = told["machines"]
    assert (first["alpha_per_day"], [one["verdict"] for one in first["told"]]) == (
        250.0,
        ["DISK_BELOW_MINIMUM", "paid"],
    )
    assert (second["executor"], second["told"], second["alpha_per_day"]) == ("rack1-b", [], None)


def test_a_machine_is_paused_after_a_notice(path):
    """The list says until when; announced twice it is the first; resumed it is as before."""
    before = path.read_text()
    begin = datetime.now(UTC) + timedelta(hours=6)
    done = typed("pause", "rack1-a", "--notice", "6h", "--config", str(path))
    again = typed("pause", "rack1-a", "--notice", "9h", "--config", str(path))
    shown = json.loads(typed("ls", "--config", str(path), "--json").output)["machines"][0]
    assert "no new rentals from" in done.output
    assert "has its pause already" in again.output
    assert abs(datetime.fromisoformat(shown["paused_from"]) - begin) < timedelta(minutes=1)
    assert shown["is_paused"] is False

    told = json.loads(typed("resume", "rack1-a", "--config", str(path), "--json").output)
    assert (told["changed"], path.read_text()) == (True, before)
    short = typed("pause", "rack1-a", "--notice", "1m", "--config", str(path))
    assert "30m or more" in short.exception.expected


def test_machines_come_change_and_go_by_commands(path):
    """Added, priced, kept for whole boxes, removed: each tells whether anything changed."""
    key = ENTRY["host_key"].strip('"')
    add = ("add", "--id", "rack2", "--address", "203.0.113.9", "--host-key", key, "--price", "2")
    add = (*add, "--authorized-keys", "/srv/rack2/keys", "--config", str(path), "--json")
    done = [
        json.loads(typed(*words).output)
        for words in (
            add,
            add,
            ("price", "rack2", "3.5", "--config", str(path), "--json"),
            ("min-cards", "rack2", "4", "--config", str(path), "--json"),
            ("rm", "rack1-b", "--config", str(path), "--json"),
            ("rm", "rack1-b", "--config", str(path), "--json"),
        )
    ]

    assert [one["changed"] for one in done] == [True, False, True, True, True, False]
    assert done[3]["offer"]["min_cards"] == 4
    assert done[3]["offer"]["price_usd_per_hour"] == 3.5
    assert [e.offer.executor_id for e in load_config(path).executors] == ["rack1-a", "rack2"]
    unknown = typed("price", "rack9", "1", "--config", str(path))
    assert isinstance(unknown.exception, SettingError)
