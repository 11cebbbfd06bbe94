"""Replies of a machine's program that fill the whole frame with what is worst for who reads it."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from tasks.errors import BadAnswer
from tasks.inspection.facts import COMMANDS
from tasks.inspection.talk import ask_facts
from tests.tasks.inspection.replaying import Replaying

MOST = 1 << 20
MAX_CPU_S = 0.1
MAX_GROWTH_BYTES = 20 << 20
FACT = b'{"name":"it","exit":0,"stdout":"aGk=","stderr":"","seconds":0.1,"truncated":false}'

WORST = {
    "unknown keys": b"{" + b",".join(b'"%d":0' % n for n in range(90_000)) + b"}",
    "one key, again and again": b"{" + b",".join([b'"facts":[]'] * 80_000) + b"}",
    "facts of many keys": b'{"facts":['
    + b",".join([b"{" + b",".join(b'"%d":0' % n for n in range(1_200)) + b"}"] * 64)
    + b"]}",
    "twelve thousand facts": b'{"facts":[' + b",".join([FACT] * 12_000) + b"]}",
    "numbers": b'{"facts":[' + b"0," * 500_000 + b"0]}",
    "lists in lists": b"[" * MOST,
    "objects in objects": b'{"a":' * (MOST // 5),
    "a number of a million digits": b'{"facts":' + b"9" * (MOST - 100) + b"}",
    "a fraction of a million digits": b'{"facts":0.' + b"9" * (MOST - 100) + b"}",
    "an exponent of a million digits": b'{"facts":1e' + b"9" * (MOST - 100) + b"}",
    "a text of a megabyte": b'{"facts":"' + b"x" * (MOST - 100) + b'"}',
    "a text of escapes": b'{"facts":"' + b"\\u0041" * (MOST // 6 - 100) + b'"}',
    "quotes": b'"' * MOST,
    "NUL": bytes(MOST),
    "no UTF-8": b"\xff" * MOST,
    "blanks": b" " * MOST,
    "nothing": b"",
    "a refusal of a megabyte": b'{"error":"NO","detail":"' + b"x" * (MOST - 100) + b'"}',
    "no base64": FACT.replace(b"aGk=", b"*" * (MOST - 200)).join([b'{"facts":[', b"]}"]),
}


@pytest.mark.parametrize("name", WORST)
def test_a_frame_of_the_worst_costs_next_to_nothing(name: str) -> None:
    """It is refused as an answer that does not fit, for less than 0.1 s of CPU and 20 MB, in a short printable sentence."""

    assert len(WORST[name]) <= MOST
    began = time.process_time()
    with pytest.raises(BadAnswer) as caught:
        ask_facts(Replaying([WORST[name]]), COMMANDS, deadline=0.0)
    took_s = time.process_time() - began
    tracemalloc.start()
    with pytest.raises(BadAnswer):
        ask_facts(Replaying([WORST[name]]), COMMANDS, deadline=0.0)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert took_s < MAX_CPU_S
    assert peak_bytes < MAX_GROWTH_BYTES
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()
