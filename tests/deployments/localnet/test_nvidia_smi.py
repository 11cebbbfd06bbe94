import json
import os
import subprocess
import sys

import pytest

from deployments.localnet.nvidia_smi import SPEC_VARIABLE, cards_json, install
from storage.records import Card, GpuProcess
from tasks.inspection.facts import COMMANDS, FactOutput, read_facts

UUIDS = [f"GPU-5a6b7c8d-0000-4000-8000-{i:012x}" for i in range(8)]


@pytest.fixture
def machine(tmp_path):
    """Runs a shell command on a machine that has the fake first on its PATH and shows the cards of a spec."""

    folder = tmp_path / "bin of the machine"
    folder.mkdir()
    install(folder, sys.executable)

    def run(command, spec=None):
        environment = {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(tmp_path)}
        if spec is not None:
            (tmp_path / "cards.json").write_text(spec)
            environment[SPEC_VARIABLE] = str(tmp_path / "cards.json")
        return subprocess.run(
            ["sh", "-c", command], env=environment, capture_output=True, timeout=20, check=False
        )

    return run


def inspect(machine, spec):
    """Facts and reasons of the machine, asked by the real commands and read by the real parsers."""
    found = {}
    for command in COMMANDS:
        if command.name.startswith("gpu_"):
            ran = machine(command.command, spec)
            found[command.name] = FactOutput(
                command.name, ran.returncode, ran.stdout, ran.stderr, 0.1, truncated=False
            )
    facts, reasons = read_facts(found)
    return facts, [r for r in reasons if r.code != "FACT_UNREADABLE" or r.got.startswith("gpu_")]


def test_what_was_put_in_comes_out(machine):
    """Eight cards of a spec are the eight cards that the inspection's own commands and parsers find."""

    spec = cards_json(
        "NVIDIA H100 80GB HBM3",
        UUIDS,
        81_559,
        driver="535.183.01",
        power_limit_w=650.0,
        power_default_w=700.0,
        pcie_generation=5,
        utilisation_pct=3,
        memory_used_mib=17,
        mig="Disabled",
    )

    facts, reasons = inspect(machine, spec)

    assert reasons == []
    assert facts.gpu_count == 8
    assert facts.processes == ()
    assert facts.cards == tuple(
        Card(
            index=i,
            uuid=uuid,
            model="NVIDIA H100 80GB HBM3",
            vram_mib=81_559,
            driver="535.183.01",
            graphics_clock_mhz=1_980,
            memory_clock_mhz=2_619,
            power_limit_w=650.0,
            power_default_w=700.0,
            pcie_generation=5,
            pcie_width=16,
            utilisation_pct=3,
            memory_used_mib=17,
        )
        for i, uuid in enumerate(UUIDS)
    )


def test_field_without_a_value_is_not_available(machine):
    """What the spec leaves null is N/A in XML and CSV alike, and no value to the inspection."""

    keys = ["graphics_clock_mhz", "memory_clock_mhz", "power_limit_w", "power_default_w"]
    keys += ["pcie_generation", "pcie_width", "utilisation_pct", "memory_used_mib"]
    spec = cards_json("NVIDIA GeForce RTX 2080 Ti", UUIDS[:1], 11_264, **dict.fromkeys(keys))

    facts, reasons = inspect(machine, spec)

    assert reasons == []
    assert [getattr(facts.cards[0], key) for key in keys] == [None] * len(keys)


def test_processes_are_found_with_their_real_owner(machine):
    """A process of the spec is listed, and its owner is read from this machine's own /proc."""

    cards = json.loads(cards_json("NVIDIA L4", UUIDS[:1], 23_034))
    cards[0]["processes"] = [{"pid": os.getpid(), "name": "python3 <&>, x", "memory_mib": 700}]

    facts, reasons = inspect(machine, json.dumps(cards))

    assert reasons == []
    owner = facts.processes[0].owner
    assert facts.processes == (GpuProcess(os.getpid(), UUIDS[0], "python3 <&>, x", 700, owner),)
    assert owner


def test_sliced_card_is_told(machine):
    """A card in MIG mode is one that the inspection refuses to take for whole."""

    _, reasons = inspect(machine, cards_json("NVIDIA A100-SXM4-80GB", UUIDS[:1], 81_920, mig="Enabled"))

    assert [reason.code for reason in reasons] == ["GPU_MIG_ENABLED"]


def test_machine_without_a_card(machine):
    """An empty list is a driver without a card: no fact is unreadable, and there is none."""

    facts, reasons = inspect(machine, "[]")

    assert reasons == []
    assert (facts.cards, facts.gpu_count, facts.processes) == ((), 0, ())


def test_machine_without_a_driver(machine):
    """Without a spec there is no driver, which is one reason and not four."""

    _, reasons = inspect(machine, None)

    assert [reason.code for reason in reasons] == ["DRIVER_MISSING"]


@pytest.mark.parametrize(
    ("command", "exit_code", "printed"),
    [
        ("nvidia-smi -L", 0, f"GPU 0: NVIDIA L4 (UUID: {UUIDS[0]})\n"),
        (
            "nvidia-smi --query-gpu=name,memory.total --format=csv",
            0,
            "name, memory.total [MiB]\nNVIDIA L4, 23034 MiB\n",
        ),
        (
            "nvidia-smi --query-gpu=memory.total,mig.mode.current --format=csv,noheader,nounits",
            0,
            "23034, [N/A]\n",
        ),
        ("nvidia-smi --format=csv,noheader --query-gpu=power.limit", 0, "72.00 W\n"),
        ("nvidia-smi --query-gpu=vram --format=csv", 2, 'Field "vram" is not a valid field to query.\n\n'),
        (
            "nvidia-smi --query-gpu=name",
            2,
            "Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n",
        ),
        (
            "nvidia-smi --query-gpu=name --format=json",
            2,
            "Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n",
        ),
        ("nvidia-smi --gpus", 2, "ERROR: Option --gpus is not recognized. Please run 'nvidia-smi -h'.\n"),
    ],
)
def test_usage_is_that_of_the_real_tool(machine, command, exit_code, printed):
    """Right usage prints the real tool's form, wrong usage its sentence with exit code 2."""

    ran = machine(command, cards_json("NVIDIA L4", UUIDS[:1], 23_034, power_limit_w=72.0))

    assert (ran.returncode, ran.stdout.decode(), ran.stderr) == (exit_code, printed, b"")


def test_unknown_field_of_a_card_is_refused():
    """A misspelt field in a spec is an error at once, not a card that silently keeps its default."""

    with pytest.raises(ValueError, match="no field of a card: vram_gib"):
        cards_json("NVIDIA L4", UUIDS[:1], 23_034, vram_gib=24)
