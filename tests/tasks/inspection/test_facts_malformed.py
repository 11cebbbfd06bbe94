"""Malformed output for every fact that an inspection reads: a code each, next to no time and memory, never an error."""

from __future__ import annotations

import re
import time
import tracemalloc
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.records import HostFacts, Reason
from tasks.inspection.facts import FACTS, FactOutput
from tasks.inspection.facts.smi_xml import read_gpus
from tasks.inspection.facts.text import Unreadable
from tests.tasks.inspection.damage import DAMAGES, STRANGE_NUMBERS, cuts, with_numbers, without_a_line
from tests.tasks.inspection.judging import assert_harmless, inspected
from tests.tasks.inspection.outputs import CASES, output_of, outputs

BY_NAME = {fact.command.name: fact for fact in FACTS}
FRAME_BYTES = (1 << 20) * 3 // 4
"""All facts come in one frame, in base64."""
MAX_CPU_S = 0.1
MAX_GROWTH_BYTES = 20 << 20

CODES = {
    "=": "",
    "~": "",
    "U": "FACT_UNREADABLE",
    "D": "GPU_READINGS_DISAGREE",
    "M": "GPU_DETAILS_MISMATCH",
    "X": "GPU_COUNT_EXCEEDS_MAX",
    "O": "OS_NOT_RECOMMENDED",
}
"""`=` is read as if nothing were wrong, `~` as another value that nobody can tell from a real one."""

# What the first new reason says, in the order of DAMAGES:
#                 nothing, half, decimal commas, translated, ANSI, NUL, invalid UTF-8, UTF-16, 10^9 rows,
#                 negative, enormous, nan, inf, twice, noise of a login, in one line, CRLF
EXPECTED = {
    "gpu_xml": "U U U U U U U U U U U U U U U = =",
    "gpu_csv": "D D D D D U U U U U U U U D U U =",
    "gpu_list": "M M = U U U U U U U U U U X U M =",
    "gpu_processes": "U U U U U U U U U U U U U ~ = U =",
    "cpu": "U ~ ~ U U U U U U U U U U = = U =",
    "memory": "U = U U U U U U U U U U U = = U U",
    "disk": "U U U = = U U U U U U U U = = = =",
    "os_release": "U U O U U U = U U O O O O = = U =",
    "kernel": "U U ~ U U U U U U ~ U ~ ~ U U = =",
    "uptime": "U = U = U U U U U U U U U U U = =",
    "docker": "U U U U U U = U U U ~ U U U U = =",
    "podman": "U U U U U U = U U U ~ U U U U = =",
    "interfaces": "U ~ = U U U ~ U U = = = = = U ~ =",
}


@cache
def machine(name: str) -> dict[str, FactOutput]:
    """The outputs of a machine on which this fact has something to say."""
    engine = {"docker": "absent", "podman": "crun"} if name == "podman" else {}
    return outputs(gpu_processes="users", **engine)


def printing(name: str, stdout: bytes) -> tuple[HostFacts, tuple[Reason, ...]]:
    """The same machine, whose command of this name prints something else."""
    outs = machine(name)
    is_cut = len(stdout) > BY_NAME[name].command.limit_bytes
    return inspected(outs | {name: replace(outs[name], exit_code=0, stdout=stdout, truncated=is_cut)})


@pytest.mark.parametrize("name", BY_NAME)
def test_each_damage_has_its_code(name: str) -> None:
    """Each way of being malformed is told by one code for each fact, unless nothing that matters is lost by it."""

    before = machine(name)
    facts, known = inspected(before)
    found = {}
    for damage, make in DAMAGES.items():
        stdout = make(before[name].stdout, BY_NAME[name].command.limit_bytes)
        read, reasons = printing(name, stdout)
        new = [r.code for r in reasons if r.code not in {k.code for k in known}]
        found[damage] = new[0] if new else "=" if read == facts else "~"
        assert_harmless(read, reasons)

    wanted = dict(zip(DAMAGES, EXPECTED[name].split(), strict=True))
    assert found == {damage: CODES[letter] or letter for damage, letter in wanted.items()}


@pytest.mark.parametrize("name", BY_NAME)
def test_any_cut_any_line_gone_any_strange_number(name: str) -> None:
    """Broken off at dozens of places, without each of its lines, with nan, -1, 10^4000 for each number: facts and reasons."""

    out = machine(name)[name].stdout
    for stdout in (*cuts(out), *without_a_line(out), *with_numbers(out)):
        output = FactOutput(name, 0, stdout, b"", 0.1, truncated=False)
        assert_harmless(*inspected({name: output}))


WORST = (
    b"\n",
    b" \n",
    b"a\n",
    b"\xff\n",
    b"\xff",
    b", ",
    b"1 ",
    b"1% ",
    b'a="1" ',
    b"<a/>",
    b"<a>",
    b"&amp;",
    b"<!---->",
    b'{"a":',
    b'"a":1,',
    b"[",
    b"pid 1 a\n",
    b"0123456789abcdef",
    b"--\n",
    b"1, GPU-0, 5, x\n",
    b"processor: 1\n",
    b"GPU 0: a (UUID: GPU-\n",
    b"eth0:\n",
    b"\x1b[0m",
)
HEADS = {
    "gpu_xml": (b"<nvidia_smi_log>", b"<nvidia_smi_log><gpu>", b"<nvidia_smi_log a='"),
    "docker": (b'{"version":"1","runtimes":{', b'{"version":'),
    "podman": (b'{"version":"1","runtimes":{', b'{"version":'),
    "interfaces": (b"Inter-|\n",),
    "gpu_processes": (b"--\n",),
}


@pytest.mark.parametrize("name", BY_NAME)
def test_a_full_budget_costs_next_to_nothing(name: str) -> None:
    """Filled to its limit with what is worst for a parser, an output costs less than 0.1 s of CPU and 20 MB while it is read."""

    fact = BY_NAME[name]
    limit = min(fact.command.limit_bytes, FRAME_BYTES)
    for head in (b"", *HEADS.get(name, ())):
        for unit in WORST:
            output = FactOutput(name, 0, (head + unit * limit)[:limit], b"", 0.1, truncated=False)
            began = time.process_time()
            fact.read(output)
            assert time.process_time() - began < MAX_CPU_S, (head, unit)
        if limit * 10 > MAX_GROWTH_BYTES:
            costly = FactOutput(name, 0, (head + b"\xff" * limit)[:limit], b"", 0.1, truncated=False)
            assert _grown_bytes(fact.read, costly) < MAX_GROWTH_BYTES, head


def _grown_bytes(read: object, output: FactOutput) -> int:
    tracemalloc.start()
    try:
        read(output)  # type: ignore[operator]
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


LOG = "<nvidia_smi_log>"
BOMBS = {
    "billion laughs": '<!DOCTYPE nvidia_smi_log [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><nvidia_smi_log>&b;',
    "quadratic blow-up": f'<!DOCTYPE nvidia_smi_log [<!ENTITY a "{"x" * 50_000}">]>{LOG}{"&a;" * 50_000}',
    "a file of ours": '<!DOCTYPE nvidia_smi_log [<!ENTITY f SYSTEM "file:///etc/passwd">]><nvidia_smi_log>&f;',
    "a parameter entity": '<!DOCTYPE nvidia_smi_log [<!ENTITY % p SYSTEM "http://127.0.0.1:1/"> %p;]><nvidia_smi_log/>',
    "a foreign DTD": '<!DOCTYPE nvidia_smi_log SYSTEM "http://127.0.0.1:1/evil.dtd"><nvidia_smi_log/>',
    "a public DTD": '<!DOCTYPE nvidia_smi_log PUBLIC "-//x" "nvsmi_device_v12.dtd"><nvidia_smi_log/>',
    "an entity that nobody declared": f"{LOG}&nbsp;</nvidia_smi_log>",
    "depth": LOG + "<a>" * 100_000,
    "breadth": LOG + "<a/>" * 400_000,
    "a name of a megabyte": f"{LOG}<gpu><{'n' * 1_000_000}>" + "<a/>" * 59_000,
    "a name without an end": LOG + "<" + "n" * 2_000_000,
    "an attribute of a megabyte": f'{LOG}<gpu a="{"x" * 1_000_000}"/>',
    "fifty thousand attributes": LOG + "<gpu " + " ".join(f"a{i}=''" for i in range(50_000)) + "/>",
    "a comment without an end": LOG + "<!--" + "-" * 2_000_000,
    "CDATA without an end": LOG + "<![CDATA[" + "]" * 2_000_000,
    "an instruction without an end": LOG + "<?" + "x" * 2_000_000,
    "another encoding": '<?xml version="1.0" encoding="utf-7"?><nvidia_smi_log>+ADw-',
    "version 1.1": '<?xml version="1.1"?><nvidia_smi_log>',
    "two roots": f"{LOG}</nvidia_smi_log>{LOG}</nvidia_smi_log>",
    "cards without number": LOG + "<gpu/>" * 1_000,
    "a card in a card": f"{LOG}<gpu><gpu><uuid>x</uuid>",
    "a UUID twice": f"{LOG}<gpu><uuid>a</uuid><uuid>b</uuid></gpu></nvidia_smi_log>",
    "a lone surrogate": f"{LOG}<gpu><uuid>\ud800</uuid></gpu>",
}


@pytest.mark.parametrize("name", BOMBS)
def test_xml_bombs_are_no_xml_of_nvidias(name: str) -> None:
    """What an XML parser can be hurt with is refused in next to no time, nothing is fetched, nothing is expanded."""

    began = time.process_time()
    read = read_gpus(BOMBS[name], 64)

    assert isinstance(read, Unreadable), read
    assert read.why.isprintable()
    assert time.process_time() - began < MAX_CPU_S


def test_a_card_is_known_by_printable_words() -> None:
    """A model or a UUID of nothing that can be shown is none: two machines must not seem to have one card."""

    csv = machine("gpu_csv")["gpu_csv"].stdout.splitlines()[0]
    uuid, _, rest = csv.partition(b", ")
    for strange in ("é".encode(), b"\x1b\x07", "\u2028".encode(), b"\xff"):
        facts, reasons = inspected(
            machine("gpu_csv")
            | {
                "gpu_csv": FactOutput("gpu_csv", 0, strange + b", " + rest, b"", 0.1, truncated=False),
                "gpu_xml": FactOutput("gpu_xml", 1, b"", b"", 0.1, truncated=False),
            }
        )
        assert uuid.startswith(b"GPU-")
        assert facts.cards == ()
        assert "FACT_UNREADABLE" in {r.code for r in reasons}


@st.composite
def pieced(draw: st.DrawFn) -> tuple[str, bytes]:
    """A fact, and an output pieced together from what its real ones consist of and from what none has."""
    name = draw(st.sampled_from(sorted(BY_NAME)))
    tokens = draw(st.lists(st.sampled_from(TOKENS[name]) | st.sampled_from(STRANGE), max_size=60))
    head = draw(st.sampled_from(STARTS[name]))
    return name, head + b"".join(tokens)


STRANGE = (*STRANGE_NUMBERS, b"\n", b"\0", b"\xff", b"\x1b[0m", b", ", b"<", b'"', b"\xe2\x80\xae", b"--\n")
TOKENS = {
    name: sorted(
        {
            t
            for path in CASES
            if path.parent.name == name
            for t in re.split(rb"(\W)", output_of(path).stdout)[:400]
        }
    )
    for name in BY_NAME
}
STARTS = {
    name: [
        b"",
        *(o[: len(o) // 2] for path in CASES if path.parent.name == name if (o := output_of(path).stdout)),
    ]
    for name in BY_NAME
}


@settings(max_examples=200)
@given(pieced())
def test_no_output_does_harm(printed: tuple[str, bytes]) -> None:
    """Whatever is pieced together from true and false words gives facts and reasons that can be kept and shown, and the same again."""

    first = printing(*printed)

    assert_harmless(*first)
    assert printing(*printed) == first
