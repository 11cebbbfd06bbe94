"""The local subnet's container engine: our own daemon, which leaves nothing behind however it ends."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deployments.localnet.cast import CAST
from deployments.localnet.engine import Card, cards_of, serve_engine, why_missing
from deployments.localnet.engine_place import place_of
from deployments.localnet.nvidia_hook import Refused, script, visible
from storage.records import Severity
from tasks.edges.runtime import find_engine
from tasks.errors import EngineAway, SettingError
from tasks.inspection.facts.reading import COMMANDS, read_facts
from tasks.inspection.talk import ask_facts
from tests.deployments.localnet.visiting import told_by, wait_for
from tests.engines import PLAIN, skip_or_fail, soon

pytestmark = pytest.mark.xdist_group("engine")

CARDS = {
    "GPU-a": {"name": "NVIDIA H100 PCIe", "vram_mib": 81559},
    "GPU-b": {"name": "NVIDIA L4", "vram_mib": 23034},
}
REPOSITORY = Path(__file__).parents[3]


class TestCards:
    """The stand-in for NVIDIA's hook."""

    @pytest.mark.parametrize(
        ("value", "seen"),
        [
            ("GPU-b", ["GPU-b"]),
            ("GPU-b,GPU-a", ["GPU-a", "GPU-b"]),
            ("all", ["GPU-a", "GPU-b"]),
            ("void", []),
            ("", []),
        ],
    )
    def test_a_container_sees_the_cards_that_it_was_given(self, value, seen):
        """By UUID, in the machine's order; `all` are all of them."""
        assert list(visible(["PATH=/bin", f"NVIDIA_VISIBLE_DEVICES={value}"], CARDS)) == seen

    def test_a_container_that_names_no_cards_has_none(self):
        """Without the variable nothing is brought in."""
        assert visible(["PATH=/bin"], CARDS) == {}

    def test_an_unknown_card_is_refused_in_the_real_words(self):
        """The container does not start."""
        with pytest.raises(Refused, match="GPU-x: unknown device"):
            visible(["NVIDIA_VISIBLE_DEVICES=GPU-a,GPU-x"], CARDS)

    @pytest.mark.parametrize("shell", [["sh"], ["busybox", "sh"], ["bash"]])
    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["-L"], "GPU 0: NVIDIA H100 PCIe (UUID: GPU-a)\nGPU 1: NVIDIA L4 (UUID: GPU-b)\n"),
            (
                ["--query-gpu=index,uuid,name,memory.total,utilization.gpu", "--format=csv,noheader"],
                "0, GPU-a, NVIDIA H100 PCIe, 81559 MiB, 0 %\n1, GPU-b, NVIDIA L4, 23034 MiB, 0 %\n",
            ),
            (
                ["--query-gpu=name,memory.total", "--format=csv,nounits"],
                "name, memory.total\nNVIDIA H100 PCIe, 81559\nNVIDIA L4, 23034\n",
            ),
            (["--query-gpu=memory.total", "--format=csv"], "memory.total [MiB]\n81559 MiB\n23034 MiB\n"),
        ],
    )
    def test_the_tool_answers_as_the_real_one(self, tmp_path, shell, words, told):
        """In any POSIX shell."""
        if shutil.which(shell[0]) is None:
            skip_or_fail(f"{shell[0]} is not installed")
        tool = tmp_path / "nvidia-smi"
        tool.write_text(script(CARDS))

        done = subprocess.run([*shell, tool, *words], capture_output=True, text=True, check=False)

        assert (done.stdout, done.stderr, done.returncode) == (told, "", 0)

    def test_every_card_of_the_cast_is_known(self):
        """With its model and memory, so that any local machine can be rented."""
        cards = cards_of(CAST)

        assert set(cards) == {uuid for executor in CAST.executors for uuid in executor.card_uuids}
        assert all(isinstance(card, Card) and card.vram_mib > 1_000 for card in cards.values())


def test_each_folder_has_an_engine_of_its_own(tmp_path):
    """Two local subnets never meet: socket, bridge and data are named by the folder, and short enough for a socket."""
    deep = tmp_path / ("x" * 100)

    assert place_of(deep) == place_of(deep)
    assert place_of(deep).host != place_of(tmp_path).host
    assert len(place_of(deep).host) < 100
    assert len(place_of(deep).bridge) < 16


def test_machines_reach_their_engine(docker, tmp_path):
    """`docker` on a local machine is the local engine; only chosen cards are in a container, by the fake hook."""
    with docker.session(tmp_path) as session:
        card = CAST.executors[0].card_uuids[1]
        told = told_by(session, f"docker run --rm --gpus '\"device={card}\"' {PLAIN} nvidia-smi -L")

    assert told == f"GPU 0: {CAST.executors[0].model} (UUID: {card})"


def test_a_local_machine_has_no_other_engine(docker, tmp_path):
    """With the local engine down nothing is asked of this computer's own Docker or Podman."""
    down = replace(docker, environment={"DOCKER_HOST": "unix:///nowhere/docker.sock"})

    with down.session(tmp_path) as session, pytest.raises(EngineAway):
        find_engine(session, deadline=soon())


def test_machines_pass_while_others_are_rented(docker, tmp_path):
    """One engine has the containers of all: a machine's inspection finds it, and nothing in it against the machine."""
    card = CAST.executors[1].card_uuids[0]
    docker.run(
        "run",
        "--detach",
        "--name=other",
        f'--gpus="device={card}"',
        "--label=org.compute-subnet.lease=l-other",
        PLAIN,
    )
    try:
        with docker.session(tmp_path) as session:
            outputs = ask_facts(session, COMMANDS, deadline=soon())
    finally:
        docker.run("rm", "--force", "other")
    facts, reasons = read_facts({output.name: output for output in outputs})

    assert facts.container_runtime.startswith("docker ")
    assert "runc" in facts.container_runtimes
    assert [reason for reason in reasons if reason.severity is not Severity.WARN] == []


def test_an_image_can_not_lead_the_hook_out(docker, tmp_path):
    """A root whose /usr/bin is a link to the machine's own files: the tool lands inside, whatever the link says."""
    trap = tmp_path / "trap"
    trap.mkdir()
    root = tmp_path / "evil"
    (root / "usr").mkdir(parents=True)
    (root / "usr" / "bin").symlink_to(trap)
    (root / "bin").mkdir()
    packed = tmp_path / "evil.tar"
    subprocess.run(["tar", "-cf", packed, "-C", root, "."], check=True)
    docker.run("import", str(packed), "subnet/evil:1")
    card = CAST.executors[0].card_uuids[0]

    docker.run("run", "--rm", f'--gpus="device={card}"', "subnet/evil:1", "/bin/none", check=False)

    assert list(trap.iterdir()) == []


PROGRAM = """
import sys, time
from pathlib import Path
from deployments.localnet.engine import serve_engine
folder = Path(sys.argv[1])
with serve_engine(folder, {}, folder / "log") as engine:
    print(engine.wait(), flush=True)
    time.sleep(600)
"""


def test_a_killed_engine_leaves_no_process_and_the_next_one_starts_with_its_containers(tmp_path):
    """Kill -9 of whoever started it ends daemon and containers; the next start sweeps bridge and sockets, and goes on."""
    if reason := why_missing():
        skip_or_fail(reason)
    place = place_of(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, tmp_path], stdout=subprocess.PIPE, cwd=REPOSITORY
    ) as owner:
        try:
            assert owner.stdout.readline().strip()
            environment = {**os.environ, "DOCKER_HOST": place.host}
            run = ["docker", "run", "--detach", "--restart=unless-stopped", PLAIN, "sleep", "4711.25"]
            subprocess.run(run, env=environment, check=True, capture_output=True)
            assert wait_for(lambda: is_sleeping("4711.25"), 20)
        finally:
            owner.send_signal(signal.SIGKILL)
    assert wait_for(lambda: not is_sleeping("4711.25"))
    assert wait_for(lambda: not is_alive(str(place.run)))

    with serve_engine(tmp_path, {}, tmp_path / "log") as engine:
        engine.wait()
        assert wait_for(lambda: is_sleeping("4711.25"), 20)
        with (
            pytest.raises(SettingError, match="no other engine"),
            serve_engine(tmp_path, {}, tmp_path / "log"),
        ):
            pass

    assert wait_for(lambda: not is_alive(str(place.run)))
    assert not place.run.exists()
    assert not Path("/sys/class/net", place.bridge).exists()


def is_sleeping(seconds: str) -> bool:
    return any(line == ["sleep", seconds] for line in command_lines())


def is_alive(word: str) -> bool:
    return any(word in part for line in command_lines() for part in line)


def command_lines() -> list[list[str]]:
    """Of every process that is no zombie."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        except OSError:
            continue
        found.append([word.decode(errors="replace") for word in words])
    return found
