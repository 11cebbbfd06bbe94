"""`subnet report` as it is typed, and the deployments that make it every day."""

import importlib
import json
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from tests.deployments.warm import warm
from tests.tasks.reporting.network import NOON, archive, epoch, machine

REPOSITORY = Path(__file__).parents[2]


pytestmark = pytest.mark.xdist_group("report command")
"""What is typed here is imported once: one worker has it all."""


@pytest.fixture(scope="module")
def subnet():
    """The command, imported once."""
    with warm("deployments.commands.report") as typed:
        yield typed


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """Two days, an epoch each."""
    root = tmp_path_factory.mktemp("validator") / "history"
    return archive(
        root,
        epoch(7, machine("a"), weights={"5Alice": 1.0}),
        epoch(8, machine("a", "5Bob"), at=NOON + timedelta(days=1)),
    )


def test_a_report_is_made_and_its_path_told(tmp_path, history, subnet):
    """The newest archived day, when none is asked for; the page lies beside the history."""

    done = subnet("report", "--history", str(history), folder=tmp_path)
    page = history.parent / "reports" / "2026-08-02.html"

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.rstrip().endswith(str(page))
    assert "5Bob" in page.read_text()


def test_a_report_for_programs(tmp_path, history, subnet):
    """Path and key figures as one JSON object; two days as one report, in another folder."""
    typed = ("--day", "2026-08-02", "--days", "2", "--folder", str(tmp_path / "pages"), "--json")

    done = subnet("report", "--history", str(history), *typed, folder=tmp_path)
    told = json.loads(done.stdout)

    assert told["path"] == str(tmp_path / "pages" / "2026-08-01_to_2026-08-02.html")
    assert told["size_bytes"] == Path(told["path"]).stat().st_size
    assert (told["figures"]["epochs"], told["figures"]["miners"], told["figures"]["top_1_share"]) == (
        2,
        2,
        1.0,
    )


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["--day", "2026-07-31"], "--day is '2026-07-31', expected an archived day (UTC): "),
        (["--day", "0001-01-01", "--days", "9"], "--day is '0001-01-01', expected an archived day"),
        (["--day", "9999-12-31"], "--day is '9999-12-31', expected an archived day"),
        (["--day", "yesterday"], "Invalid value for '--day'"),
        (["--days", "93"], "Invalid value for '--days'"),
    ],
)
def test_a_users_mistake_is_one_sentence(tmp_path, history, typed, told, subnet):
    """A day that nothing is archived of, or that is none, ends with exit code 2 and leaves no page."""

    done = subnet(
        "report", *typed, "--history", str(history), "--folder", str(tmp_path / "no"), folder=tmp_path
    )

    assert (done.returncode, told in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "no").exists()


def test_without_any_archive(tmp_path, subnet):
    """Before any epoch was run it is said how to make one."""

    done = subnet("report", folder=tmp_path)

    assert (done.returncode, "`subnet epoch` runs an epoch" in done.stderr) == (2, True)


@pytest.mark.parametrize("file", ["prefect.yaml", "deployments/localnet/prefect.yaml"])
def test_every_deployment_names_a_flow(file):
    """The entrypoints of the deployments are flows, one of them the report; what no request starts has a schedule."""
    listed = yaml.safe_load((REPOSITORY / file).read_text())["deployments"]
    found = []
    for deployment in listed:
        module, _, name = deployment["entrypoint"].rpartition(".")
        found.append(getattr(importlib.import_module(module), name).name)

    assert {"validate", "report"} <= set(found)
    unasked = {name for name, deployment in zip(found, listed, strict=True) if "schedules" not in deployment}
    assert unasked <= {"rent", "teardown", "operate", "onboard", "offboard"}
