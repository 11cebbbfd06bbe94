"""`subnet economics`, as a user types it."""

import json

import pytest

from deployments.commands.economics import BEGIN, END
from tests.deployments.warm import warm

pytestmark = pytest.mark.xdist_group("economics command")
"""What is typed here is imported once: one worker has it all."""


@pytest.fixture(scope="module")
def subnet():
    """The command, imported once."""
    with warm("deployments.commands.economics") as typed:
        yield typed


def test_the_whole_table(tmp_path, subnet):
    """Every model and cheat in one table, what pays named, and what a failure costs."""

    done = subnet("economics", folder=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    for text in ("honest, USD an epoch", "1:1 relay", "PAYS", "even", "loses", "uptime ramp (720 epochs)"):
        assert text in done.stdout


def test_one_model_in_usd(tmp_path, subnet):
    """A model by its name: hardware, chance, income and reason of every cheat; a wrong name is a user's mistake."""

    one = subnet("economics", "--model", "L4", folder=tmp_path)
    wrong = subnet("economics", "--model", "L5", folder=tmp_path)

    assert "L4: 0.0206 USD an epoch honestly" in one.stdout
    assert (wrong.returncode, "--model is 'L5'" in wrong.stderr) == (2, True)


def test_for_programs(tmp_path, subnet):
    """JSON has the policy's digest and every attempt with its outcome."""

    told = json.loads(subnet("economics", "--json", folder=tmp_path).stdout)

    assert len(told["models"]) == 12
    assert {a["outcome"] for m in told["models"] for a in m["attempts"]} == {"PAYS", "even", "loses"}
    assert len(told["policy"]["digest"]) == 16


def test_tables_are_written_between_marks(tmp_path, subnet):
    """What stands between the marks is replaced and nothing else; a file without marks is refused as it is."""

    doc, other = tmp_path / "doc.md", tmp_path / "other.md"
    doc.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    other.write_text("no marks")

    done = subnet("economics", "--into", str(doc), folder=tmp_path)
    refused = subnet("economics", "--into", str(other), folder=tmp_path)

    text = doc.read_text()
    assert done.returncode == 0
    assert text.startswith(f"before\n{BEGIN}\n\n| cheat | B200 |")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text.split("| cheat |")[0]
    assert (refused.returncode, other.read_text()) == (2, "no marks")
