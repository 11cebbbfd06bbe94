"""The main job and a lease, end to end, as users type it: a local subnet of its own, epochs on it, a machine of it rented."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from deployments.localnet.engine import why_missing
from deployments.localnet.engine_place import place_of
from storage.history import archived_epochs, read_epoch, read_table
from storage.records import EpochState, WeightStatus
from tasks.proof.verdict import verify_transcript
from tasks.replaying import replay_epoch
from tasks.scoring.replay import Standing
from tests.engines import skip_or_fail
from tests.local_systems import warm

SUBNET = Path(sys.executable).with_name("subnet")
REPOSITORY = Path(__file__).parents[1]
DEADLINE_S = 400.0

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.xdist_group("epoch")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, request) -> Path:
    """The folder of this module's local system; its path has a space, as users' paths do."""
    folder = tmp_path_factory.mktemp("local system")
    warm(folder, request.config.cache.mkdir("kernels"))
    return folder


@pytest.fixture(scope="module")
def first(folder) -> dict:
    """What the first epoch on the fresh folder tells programs."""
    return finished(started(folder))


def surroundings(folder: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SUBNET_", "PREFECT_", "NUMBA_"))}
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return {**kept, "SUBNET_FOLDER": str(folder / ".local"), "HOME": str(home)}


def started(folder: Path, *command: str) -> subprocess.Popen:
    return subprocess.Popen(
        [SUBNET, *(command or ("epoch", "--json"))],
        cwd=REPOSITORY,
        env=surroundings(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_hears_ctrl_c,  # noqa: PLW1509  no other thread of the tests starts anything
    )


def _hears_ctrl_c() -> None:
    """As at a terminal, also where the tests run as a job in the background, whose Ctrl-C is another's."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


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


def finished(process: subprocess.Popen) -> dict:
    out, log = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, log
    return json.loads(out)


def processes_of(folder: Path) -> list[str]:
    """Command lines of the processes that still work in this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            told = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            if entry.name.isdigit() and str(folder).encode() in told:
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def until(condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return bool(condition())


def phase_is_at_work(folder: Path, name: str) -> bool:
    from storage.database import open_database
    from storage.state import State

    database = folder / ".local" / "validator.sqlite"
    if not database.exists():
        return False
    engine = open_database(f"sqlite:///{database}")
    try:
        latest = State(engine).latest_epochs(1)
        phases = State(engine).read_phases(latest[0].header.epoch) if latest else ()
        return bool(latest and latest[0].state is EpochState.OPEN and any(p.name == name for p in phases))
    finally:
        engine.dispose()


def test_the_honest_are_proved_and_the_liars_caught(first):
    """Six machines are proved; each of the six that lie or fail is caught with its own code and gets nothing."""

    verdicts = {e["executor"]: e["verdict"] for e in first["executors"]}
    paid = {e["executor"] for e in first["executors"] if e["score"] > 0}

    assert verdicts == {
        "aurora-1": "PROVED",
        "aurora-2": "PROVED",
        "basalt-1": "PROVED",
        "basalt-2": "PROVED",
        "basalt-3": "WALK_STATE_WRONG",
        "basalt-4": "TILE_ENTRY_WRONG",
        "cinder-1": "PROVED",
        "cinder-2": "HOST_KEY_MISMATCH",
        "cinder-3": "HOST_TIMEOUT",
        "dune-1": "PROVED",
        "dune-2": "UUID_DUPLICATE",
        "dune-3": "CARD_MEMORY_SHORT",
    }
    assert paid == {name for name, verdict in verdicts.items() if verdict == "PROVED"}


def test_the_weights_are_on_the_chain(first):
    """The vector is confirmed, sums to one, and the owner's uid has the policy's burn share."""

    landed = {int(uid): weight for uid, weight in first["weights"]["landed"].items()}

    assert first["weights"]["status"] == "confirmed"
    assert sum(landed.values()) == pytest.approx(1.0)
    assert landed[0] == pytest.approx(0.2, abs=1e-4)
    assert first["incidents"] == []


def test_the_archive_has_everything(first, folder):
    """The Parquet files alone give the epoch back, and every transcript in them can be checked again."""

    outcome = read_epoch(folder / ".local" / "history", first["epoch"])

    assert outcome.state is EpochState.FINISHED
    assert len(outcome.executors) == len(outcome.reports) == len(outcome.scores) == 12
    proved = [v for v in outcome.verdicts if v.proved]
    assert len(proved) == 6
    for verdict in proved:
        assert verify_transcript(verdict.transcript).proved


def test_the_archive_alone_gives_the_same_scores_and_weights(first, folder):
    """Replayed from the Parquet files, bit for bit."""

    replayed = replay_epoch(folder / ".local" / "history", first["epoch"])

    assert (replayed.standing, replayed.differences) == (Standing.IDENTICAL, ())
    assert (replayed.scores, replayed.targets) == (12, len(first["weights"]["landed"]))


def test_nothing_is_left_outside_the_folder(first, folder):
    """An epoch leaves no process, and no file in the home folder."""

    assert first["epoch"] > 0
    assert until(lambda: not processes_of(folder), 10.0), processes_of(folder)
    assert list((folder / "home").iterdir()) == []


def test_ctrl_c_leaves_nothing_running(first, folder):
    """Ctrl-C in the middle of an epoch ends every process within seconds, with exit code 130."""

    process = started(folder)
    assert until(lambda: phase_is_at_work(folder, "inspection") or process.poll() is not None, DEADLINE_S)

    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=30)

    assert process.returncode == 130, log
    assert until(lambda: not processes_of(folder), 10.0), processes_of(folder)


def newest(folder: Path) -> int:
    """The number of the archive's last finished epoch."""
    told = read_table(folder / ".local" / "history", "epochs", columns=["epoch", "state"])
    return int(told["epoch"][told["state"] == EpochState.FINISHED.value].max())


@pytest.fixture(scope="module")
def killed(first, folder):
    """An epoch after the first one, killed with SIGKILL in the middle of its proofs."""
    process = started(folder)
    assert until(lambda: phase_is_at_work(folder, "proof") or process.poll() is not None, DEADLINE_S)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)


@pytest.fixture(scope="module")
def up(killed, folder):
    """`subnet up`, once it has run an epoch."""
    before = newest(folder)
    process = started(folder, "up")
    try:
        assert until(lambda: newest(folder) > before or process.poll() is not None, DEADLINE_S)
        assert process.poll() is None, process.communicate()
        yield process
    finally:
        subprocess.run([SUBNET, "down"], cwd=REPOSITORY, env=surroundings(folder), check=True)
        process.wait(60)


def test_up_runs_epochs(up, first, folder):
    """`subnet up` runs an epoch at once by its worker, and has the next ones scheduled.

    Its weights land: the chain's rate limit is not in the way of epochs in a row.
    """

    latest = newest(folder)
    outcome = read_epoch(folder / ".local" / "history", latest)
    holder = json.loads((folder / ".local" / "run" / "stack.json").read_text())

    assert latest > first["epoch"]
    assert outcome.weight_outcome.status is WeightStatus.CONFIRMED
    assert until(lambda: scheduled_runs(holder["prefect_url"], folder) > 0, 90.0)
    assert crash_automations(holder["prefect_url"], folder) == 1


def test_a_killed_epoch_is_archived_and_the_next_one_works(up, first, folder):
    """What the dead one had found out is in the archive, and the epoch after it went through."""

    history = folder / ".local" / "history"
    between = [read_epoch(history, n) for n in archived_epochs(history) if n > first["epoch"]]
    abandoned = [outcome for outcome in between if outcome.state is EpochState.ABANDONED]

    assert any(len(outcome.reports) == 12 for outcome in abandoned)
    assert newest(folder) > max(outcome.epoch for outcome in abandoned)


def typed(folder: Path, line: str, stdin: str | None = None) -> str:
    """What a command prints that succeeds."""
    done = subprocess.run(
        [SUBNET, *shlex.split(line)],
        cwd=REPOSITORY,
        env=surroundings(folder),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, f"subnet {line}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_a_new_user_rents_a_machine(up, folder):
    """Key, credit, a lease by specification, SSH into its real container, stop, start, rm; and the books are even."""
    if reason := why_missing():
        skip_or_fail(reason)
    key = folder / "home" / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    typed(folder, "rent login", typed(folder, "market renter add ada"))
    typed(folder, "market credit ada 20 --reason welcome")

    rented = typed(
        folder,
        "rent up --spec 1xRTX4090 --image subnet/plain:1 --volume data:/data "
        f"--command 'sh -c \"echo it runs; sleep 9999\"' --key {shlex.quote(str(key))}.pub --yes --json",
    )
    lease = json.loads(rented)["lease_id"]
    card = lease_of(folder, lease)["card_uuids"][0]
    inside = f"rent ssh -i {shlex.quote(str(key))} {lease} -- "

    assert card in typed(folder, inside + "nvidia-smi -L")
    typed(folder, inside + "'echo kept > /data/file'")
    assert typed(folder, f"rent exec {lease} -- cat /data/file") == "kept\n"
    assert "it runs" in typed(folder, f"rent logs {lease}")
    typed(folder, f"rent stop {lease}")
    assert lease_of(folder, lease)["state"] == "stopped"
    typed(folder, f"rent start {lease}")
    assert typed(folder, inside + "cat /data/file") == "kept\n"
    typed(folder, f"rent rm {lease} --yes")
    assert until(lambda: lease_of(folder, lease)["state"] == "ended", 90.0)
    over = lease_of(folder, lease)
    books = json.loads(typed(folder, "market books --json"))
    balance = json.loads(typed(folder, "rent balance --json"))

    assert over["ended_at"] is not None
    assert 0 < over["cost_micro_usd"] == 20_000_000 - balance["micro_usd"]
    assert books["is_even"]
    assert engine_lists(folder) == []


def lease_of(folder: Path, lease: str) -> dict:
    return json.loads(typed(folder, f"rent show {lease} --json"))


def engine_lists(folder: Path) -> list[str]:
    """Containers that the local subnet's own engine has."""
    host = place_of(folder / ".local" / "localnet").host
    done = subprocess.run(
        ["docker", "--host", host, "ps", "--all", "--quiet"], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_down_ends_everything(up, folder):
    """What `up` has told until then is there, and no process is left of it."""

    typed(folder, "down")
    said, _ = up.communicate(timeout=60)

    assert "cinder-2 HOST_KEY_MISMATCH" in said
    assert until(lambda: not processes_of(folder), 10.0), processes_of(folder)
