"""What `make up` starts, as users type it: epochs one after the other, a machine rented."""

import json
import shlex
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from deployments.localnet.engine import why_missing
from deployments.localnet.engine_place import place_of
from storage.history import archived_epochs, read_epoch
from storage.records import EpochState, WeightStatus
from tests.engines import skip_or_fail
from tests.whole import newest, typed, until

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.xdist_group("epoch")]


@contextmanager
def prefect_of(prefect_url: str, folder: Path):
    """A client of the system that is up in this folder, signed in with what its server has written there."""
    from deployments.prefect_auth import SENT, auth_file, read_auth
    from deployments.prefect_client import client_of

    auth = read_auth(auth_file(folder / ".local"))
    with client_of({"PREFECT_API_URL": f"{prefect_url}/api", SENT: auth}) as client:
        yield client


def scheduled_runs(prefect_url: str, folder: Path) -> int:
    """Flow runs that the server's own scheduler has put into its calendar."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateName

    by_name = FlowRunFilterStateName(any_=["Scheduled"])
    wanted = FlowRunFilter(state=FlowRunFilterState(name=by_name))
    with prefect_of(prefect_url, folder) as client:
        return sum(run.auto_scheduled for run in client.read_flow_runs(flow_run_filter=wanted))


def crash_automations(prefect_url: str, folder: Path) -> int:
    """How often the automation stands there that marks runs of killed processes."""
    from deployments.automations import AUTOMATION, crash_silent_runs, ensure

    with prefect_of(prefect_url, folder) as client:
        ensure(client, [crash_silent_runs()])
        return len(client.read_automations_by_name(AUTOMATION))


def test_up_runs_epochs(whole_up, first_epoch, whole_folder):
    """`subnet up` runs an epoch at once by its worker, and has the next ones scheduled.

    Its weights land: the chain's rate limit is not in the way of epochs in a row.
    """

    latest = newest(whole_folder)
    outcome = read_epoch(whole_folder / ".local" / "history", latest)
    holder = json.loads((whole_folder / ".local" / "run" / "stack.json").read_text())

    assert latest > first_epoch["epoch"]
    assert outcome.weight_outcome.status is WeightStatus.CONFIRMED
    assert until(lambda: scheduled_runs(holder["prefect_url"], whole_folder) > 0, 90.0)
    assert crash_automations(holder["prefect_url"], whole_folder) == 1


def test_a_killed_epoch_is_archived_and_the_next_one_works(whole_up, first_epoch, whole_folder):
    """What the dead one had found out is in the archive, and the epoch after it went through."""

    history = whole_folder / ".local" / "history"
    between = [read_epoch(history, n) for n in archived_epochs(history) if n > first_epoch["epoch"]]
    abandoned = [outcome for outcome in between if outcome.state is EpochState.ABANDONED]

    assert any(len(outcome.reports) == 12 for outcome in abandoned)
    assert newest(whole_folder) > max(outcome.epoch for outcome in abandoned)


def test_a_new_user_rents_a_machine(whole_up, whole_folder):
    """Key, credit, a lease by specification, SSH into its real container, stop, start, rm; and the books are even."""
    if reason := why_missing():
        skip_or_fail(reason)
    key = whole_folder / "home" / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    typed(whole_folder, "rent login", typed(whole_folder, "market renter add ada"))
    typed(whole_folder, "market credit ada 20 --reason welcome")

    rented = typed(
        whole_folder,
        "rent up --spec 1xRTX4090 --image subnet/plain:1 --volume data:/data "
        f"--command 'sh -c \"echo it runs; sleep 9999\"' --key {shlex.quote(str(key))}.pub --yes --json",
    )
    lease = json.loads(rented)["lease_id"]
    card = lease_of(whole_folder, lease)["card_uuids"][0]
    inside = f"rent ssh -i {shlex.quote(str(key))} {lease} -- "

    assert card in typed(whole_folder, inside + "nvidia-smi -L")
    typed(whole_folder, inside + "'echo kept > /data/file'")
    assert typed(whole_folder, f"rent exec {lease} -- cat /data/file") == "kept\n"
    assert "it runs" in typed(whole_folder, f"rent logs {lease}")
    typed(whole_folder, f"rent stop {lease}")
    assert lease_of(whole_folder, lease)["state"] == "stopped"
    typed(whole_folder, f"rent start {lease}")
    assert typed(whole_folder, inside + "cat /data/file") == "kept\n"
    typed(whole_folder, f"rent rm {lease} --yes")
    assert until(lambda: lease_of(whole_folder, lease)["state"] == "ended", 90.0)
    over = lease_of(whole_folder, lease)
    books = json.loads(typed(whole_folder, "market books --json"))
    balance = json.loads(typed(whole_folder, "rent balance --json"))

    assert over["ended_at"] is not None
    assert 0 < over["cost_micro_usd"] == 20_000_000 - balance["micro_usd"]
    assert books["is_even"]
    assert engine_lists(whole_folder) == []


def lease_of(folder: Path, lease: str) -> dict:
    return json.loads(typed(folder, f"rent show {lease} --json"))


def engine_lists(folder: Path) -> list[str]:
    """Containers that the local subnet's own engine has."""
    host = place_of(folder / ".local" / "localnet").host
    done = subprocess.run(
        ["docker", "--host", host, "ps", "--all", "--quiet"], capture_output=True, text=True, check=True
    )
    return done.stdout.split()
