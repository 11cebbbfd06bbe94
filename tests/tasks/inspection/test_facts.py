import json
import random
import subprocess
import time
from dataclasses import asdict, is_dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.records import HostFacts, Severity
from tasks.inspection.facts import COMMANDS, FACTS, FactOutput, read_facts
from tasks.inspection.facts.text import Unreadable
from tests.tasks.inspection.outputs import CASES, output_of, outputs

BY_NAME = {fact.command.name: fact for fact in FACTS}


def plain(value):
    """A parsed value in the words of JSON."""
    if isinstance(value, Unreadable):
        return {"unreadable": value.why}
    if is_dataclass(value):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(x) for x in value] if isinstance(value, tuple | list) else value


def codes(reasons):
    return [(reason.code, reason.severity.value) for reason in reasons]


@pytest.mark.parametrize("path", CASES, ids=[f"{p.parent.name}-{p.stem}" for p in CASES])
def test_output_is_read_as_its_data_file_says(path):
    """What a command prints is parsed into exactly the value of its data file, or refused in exactly its words."""

    case = json.loads(path.read_text(encoding="utf-8"))
    fact = BY_NAME[path.parent.name]

    assert fact.command.command.split("\n") == case["command"].split("\n")
    assert plain(fact.read(output_of(path))) == case["expected"]


def test_every_fact_has_good_and_bad_cases():
    """No fact is without an output that is read and one that is refused."""

    kinds = {name: set() for name in BY_NAME}
    for path in CASES:
        expected = json.loads(path.read_text(encoding="utf-8"))["expected"]
        kinds[path.parent.name].add(isinstance(expected, dict) and "unreadable" in expected)

    assert kinds == {name: {True, False} for name in BY_NAME}


def test_commands_are_valid_shell_within_a_budget():
    """Every command is POSIX sh, has a name of its own, and all together stay within a minute and 4 MiB."""

    for command in COMMANDS:
        checked = subprocess.run(["sh", "-n", "-c", command.command], capture_output=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, b""), command.name
    assert len({command.name for command in COMMANDS}) == len(COMMANDS)
    assert all(0 < command.timeout_s <= 20 for command in COMMANDS)
    assert sum(command.limit_bytes for command in COMMANDS) <= 4 << 20


def test_healthy_machine_gives_all_facts_and_no_reason():
    """A server with eight H100 answers every field and nothing is complained of."""

    facts, reasons = read_facts(outputs())

    assert reasons == ()
    assert [card.model for card in facts.cards] == ["NVIDIA H100 80GB HBM3"] * 8
    assert facts == HostFacts(
        cards=facts.cards,
        gpu_count=8,
        processes=(),
        cpu_model="AMD EPYC 7763 64-Core Processor",
        cpu_count=16,
        ram_bytes=131892060 * 1024,
        disk_free_bytes=1612575744 * 1024,
        os_id="ubuntu",
        os_version="22.04",
        kernel="Linux 5.15.0-91-generic x86_64",
        container_runtime="docker 28.2.2",
        container_runtimes=("io.containerd.runc.v2", "nvidia", "runc", "sysbox-runc"),
        uptime_s=1209600.42,
        network_interfaces=("eno1", "eno2", "bond0", "docker0", "wg0"),
    )


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"gpu_xml": "entity_bomb"}, [("FACT_UNREADABLE", "warn")]),
        ({"gpu_csv": "short_row"}, [("FACT_UNREADABLE", "warn")]),
        ({"gpu_xml": "entity_bomb", "gpu_csv": "short_row"}, [("FACT_UNREADABLE", "fail")] * 2),
        ({"gpu_csv": "rtx_4090"}, [("GPU_READINGS_DISAGREE", "fail")]),
        ({"gpu_csv": "no_devices"}, [("GPU_READINGS_DISAGREE", "fail")]),
        ({"gpu_xml": "a100_in_mig_mode", "gpu_csv": "a100_in_mig_mode"}, [("GPU_MIG_ENABLED", "fail")]),
        ({"gpu_list": "another_text"}, [("FACT_UNREADABLE", "fail")]),
        ({"gpu_processes": "another_text"}, [("FACT_UNREADABLE", "fail")]),
        ({"memory": "negative"}, [("FACT_UNREADABLE", "fail")]),
        ({"disk": "no_row"}, [("FACT_UNREADABLE", "fail")]),
        ({"kernel": "nothing"}, [("FACT_UNREADABLE", "fail")]),
        ({"cpu": "no_numbers"}, [("FACT_UNREADABLE", "warn")]),
        ({"os_release": "absent"}, [("FACT_UNREADABLE", "warn")]),
        ({"uptime": "nan"}, [("FACT_UNREADABLE", "warn")]),
        ({"interfaces": "another_text"}, [("FACT_UNREADABLE", "warn")]),
        ({"docker": "not_in_the_docker_group"}, [("FACT_UNREADABLE", "warn")]),
        ({"docker": "absent", "podman": "crun"}, []),
        ({"docker": "absent", "podman": "absent"}, []),
    ],
)
def test_reason_for_what_cannot_be_read(chosen, expected):
    """What can't be read is a reason as grave as the fact is needed; an engine that is not installed is none."""

    assert codes(read_facts(outputs(**chosen))[1]) == expected


@pytest.mark.parametrize(
    ("case", "code"),
    [
        ("absent", "DRIVER_MISSING"),
        ("driver_not_loaded", "DRIVER_MISSING"),
        ("driver_library_mismatch", "DRIVER_MISMATCH"),
    ],
)
def test_broken_driver_is_told_once(case, code):
    """Four facts that trip over one broken driver give one reason, which says what the tool said."""

    gpu = dict.fromkeys(("gpu_xml", "gpu_csv", "gpu_list", "gpu_processes"), case)
    facts, reasons = read_facts(outputs(**gpu))

    assert codes(reasons) == [(code, "fail")]
    assert facts.cards == ()
    assert reasons[0].got == plain(BY_NAME["gpu_xml"].read(outputs(**gpu)["gpu_xml"]))["unreadable"]


def test_silent_machine_is_no_verdict():
    """Needed facts that were never answered give no verdict, which is not the same as a failure."""

    facts, reasons = read_facts({})

    assert facts == HostFacts()
    needed = {name for name, fact in BY_NAME.items() if fact.severity is Severity.FAIL}
    assert {r.got.split(":")[0] for r in reasons if r.severity is Severity.NO_VERDICT} == needed
    assert all(r.severity is not Severity.FAIL for r in reasons)


@pytest.mark.parametrize(
    ("exit_code", "stdout", "truncated", "why"),
    [
        (-1, b"", False, "the command never answered"),
        (124, b"", False, "stopped after 20 s"),
        (0, b"x", True, "more than 65536 bytes"),
        (0, b"x" * 65_537, False, "more than 65536 bytes"),
        (0, b"\xff\xfe", False, "no line of a card: ''"),
        (0, b"GPU 0\0", False, "NUL bytes, which no text has"),
    ],
)
def test_output_that_is_not_whole_is_not_parsed(exit_code, stdout, truncated, why):
    """An output that never ended, ran out of its time or its bytes, or is no text, is refused for that."""

    output = FactOutput("gpu_list", exit_code, stdout, b"", 0.1, truncated)

    assert plain(BY_NAME["gpu_list"].read(output)) == {"unreadable": why}


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_text_makes_a_parser_raise(data):
    """Whatever a machine prints, every parser answers with a value or a refusal that is printable and short."""

    for fact in FACTS:
        text = data.draw(
            st.text(max_size=300) | st.binary(max_size=300).map(lambda b: b.decode("utf-8", "replace"))
        )
        value = fact.parse(text)
        if isinstance(value, Unreadable):
            assert value.why.isprintable()
            assert len(value.why) < 300


@pytest.mark.parametrize("path", CASES, ids=[f"{p.parent.name}-{p.stem}" for p in CASES])
def test_damaged_output_never_raises(path):
    """An output with bytes cut, doubled or overwritten still gives facts and reasons."""

    random_bytes = random.Random(path.name)
    original = output_of(path)
    for _ in range(5):
        damaged = bytearray(original.stdout)
        for _ in range(random_bytes.randrange(1, 20)):
            at = random_bytes.randrange(len(damaged) + 1)
            damaged[at : at + random_bytes.randrange(3)] = random_bytes.randbytes(random_bytes.randrange(4))
        output = FactOutput(original.name, 0, bytes(damaged), b"", 0.1, truncated=False)

        facts, reasons = read_facts({original.name: output})

        assert isinstance(facts, HostFacts)
        assert all(text.isprintable() for r in reasons for text in (r.got, r.wanted, r.mend))


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("gpu_xml", b"<nvidia_smi_log>"),
        ("gpu_xml", b'<nvidia_smi_log a="' + b"x" * 1000 + b'">'),
        ("gpu_csv", b", "),
        ("gpu_list", b"GPU 0: "),
        ("gpu_processes", b"pid 1 \n"),
        ("gpu_processes", b"0123456789abcdef"),
        ("cpu", b"processor: 1\n"),
        ("memory", b"MemTotal: "),
        ("disk", b"1% "),
        ("os_release", b"ID=\n"),
        ("docker", b'{"a":'),
        ("interfaces", b"Inter-|\n"),
    ],
)
def test_full_budget_of_nonsense_costs_little(name, unit):
    """An output that fills its whole budget with what is worst for its parser is refused within CPU milliseconds."""

    fact = BY_NAME[name]
    stdout = (unit * (fact.command.limit_bytes // len(unit) + 1))[: fact.command.limit_bytes]
    before = time.process_time()
    value = fact.read(FactOutput(name, 0, stdout, b"", 0.1, truncated=False))

    assert isinstance(value, Unreadable)
    assert time.process_time() - before < 0.5


@pytest.mark.parametrize(
    "fact", [f for f in FACTS if not f.command.name.startswith(("gpu_", "docker", "podman"))]
)
def test_facts_of_this_machine(fact):
    """The commands of the host's facts, run by a real shell on this machine, are read without a complaint."""

    ran = subprocess.run(["sh", "-c", fact.command.command], capture_output=True, timeout=20, check=False)
    value = fact.read(
        FactOutput(fact.command.name, ran.returncode, ran.stdout, ran.stderr, 0.1, truncated=False)
    )

    assert not isinstance(value, Unreadable), value
