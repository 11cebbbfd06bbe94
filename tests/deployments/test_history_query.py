"""`subnet history query`, as a user types it."""

import json
import os
import pty
import re
import subprocess

import pytest

from tests.deployments.test_cli import SUBNET
from tests.deployments.warm import warm
from tests.storage.histories import write_days

pytestmark = pytest.mark.xdist_group("history query command")
"""What is typed here is imported once: one worker has it all."""


@pytest.fixture(scope="module")
def subnet():
    """The command, imported once."""
    with warm("deployments.commands.history.query") as typed:
        yield typed


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    root = tmp_path_factory.mktemp("history")
    write_days(root, epochs=4)
    return root


SQL = (
    "select day, count(*) as rows, max(score) as best, null as nothing from scores group by day order by day"
)


def test_a_table_for_people(tmp_path, history, subnet):
    """A line a row and how many there are; `--rows` says how many are shown."""

    done = subnet("history", "query", SQL, "--rows", "1", "--history", str(history), folder=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert " 2026-08-01      4    0.3         -  " in done.stdout
    assert "2026-08-02" not in done.stdout
    assert "2 rows; 1 more, see --rows, --csv and --json" in done.stdout


def test_many_columns_are_shown_one_below_the_other(tmp_path, history, subnet):
    """A block a row where columns would be too narrow to be read."""

    done = subnet(
        "history", "query", "select * from scores limit 1", "--history", str(history), folder=tmp_path
    )

    assert re.search(r"^ *rate_usd_per_hour +0\.3 *$", done.stdout, re.MULTILINE)
    assert done.stdout.endswith("1 rows\n")


def test_json_for_programs(tmp_path, history, subnet):
    """Names of columns and rows; times as ISO, nested values as they are."""
    sql = "select reasons, started_at, host_key from scores join epochs using (epoch) join executors using (epoch) order by epoch limit 1"

    done = subnet("history", "query", sql, "--json", "--history", str(history), folder=tmp_path)

    told = json.loads(done.stdout)
    assert told["columns"] == ["reasons", "started_at", "host_key"]
    ((reasons, at, key),) = told["rows"]
    assert reasons[0]["code"] == "GPU_VRAM_MISMATCH"
    assert at == "2026-08-01T12:00:00+00:00"
    assert key.startswith("a2tra2tr")


def test_csv_and_a_question_from_a_pipe(tmp_path, history, subnet):
    """`-` reads the question from standard input."""
    words = ("history", "query", "-", "--csv", "--history", str(history))

    done = subnet(*words, folder=tmp_path, typed=SQL)

    assert done.stdout == "day,rows,best,nothing\n2026-08-01,4,0.3,\n2026-08-02,4,0.3,\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("select nope from scores",), "the query can't be answered: Binder Error"),
        (("drop table scores",), "one SELECT is expected, got DROP"),
        ((SQL, "--json", "--csv"), "--json and --csv exclude each other"),
    ],
)
def test_a_mistake_is_said(tmp_path, history, options, said, subnet):
    """Exit code 2, nothing on standard output."""

    done = subnet("history", "query", *options, "--history", str(history), folder=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_terminal_obeys_nothing_that_an_archive_says(tmp_path, history, subnet):
    """An escape in a value is a dot on a terminal's screen; a file gets the value as it is."""
    sql = "select chr(27) || '[31mred' as model"
    words = [SUBNET, "history", "query", sql, "--csv", "--history", str(history)]
    ours, theirs = pty.openpty()

    subprocess.run(words, stdout=theirs, cwd=tmp_path, check=True)
    os.close(theirs)
    with os.fdopen(ours, "rb") as screen:
        shown = screen.read1(4_096)
    filed = subnet(*words[1:], folder=tmp_path).stdout

    assert "·[31mred".encode() in shown
    assert b"\x1b" not in shown
    assert filed == "model\n\x1b[31mred\n"
