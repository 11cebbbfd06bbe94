"""Everything that can be tried on a machine with a real card: `make card`, or `python -m tests.kernels.cuda.on_card [part ...]`.

Parts, each a process of its own, so that one that breaks its card or hangs costs no other:

    kernels         every case of `simulated`, by the card itself
    conversations   whole proofs of small cards: the CPU form's frames, byte for byte
    facts           inspection of this very machine by the validator's own questions
    proof           the full proof of the policy `default`, judged as in an epoch
    leased          the small proof of a leased machine
    ends            a prover that is killed, two provers at once, a card that is taken: who comes next can prove
    speed           the walk by size of D and number of walkers, the fill, the product, a copy beside them

Prints a line for each thing seen and writes all of it as JSON, with the transcripts, into FOLDER (`.local/card`).
Exits 1 when anything was not as it has to be, 2 where there is no card.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from storage.records import Executor
from tasks.inspection import facts as inspection
from tasks.inspection.models import find, sku
from tasks.inspection.talk import ask_facts, start_runner
from tasks.policy import DEFAULT, Policy
from tasks.proof import transcript
from tasks.proof.challenge import ProofKind, parameters_for
from tasks.proof.conversation import Failure
from tasks.proof.proving import Occasion, prove_machine, verdicts_of
from tasks.proof.wave import MonotonicClock, Wave, gate_limits_s
from tests.kernels.cuda.pipes import PipeSession

FOLDER = Path(".local/card")
OUR_HOTKEY = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
MINER_HOTKEY = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"
LIMITS_S = {
    "kernels": 150,
    "conversations": 120,
    "facts": 60,
    "proof": 240,
    "leased": 90,
    "ends": 240,
    "speed": 240,
}


class Wrong(Exception):
    """Something was not as it has to be."""


# --- the card ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Here:
    """The first card of this machine, as nvidia-smi has it."""

    uuid: str
    model: str
    vram_mib: int
    driver: str

    @property
    def size(self) -> Any:
        """Its row of the validator's table."""
        model = find(self.model)
        assert model is not None, f"{self.model!r} is no model of ours"
        found = sku(model, self.vram_mib, DEFAULT.inspection.vram_window)
        assert found is not None, f"{self.model!r} has no size of {self.vram_mib} MiB"
        return found


def here() -> Here:
    """Raises OSError or CalledProcessError where there is no card."""
    query = "--query-gpu=uuid,memory.total,driver_version,name"
    told = subprocess.check_output(["nvidia-smi", query, "--format=csv,noheader,nounits"], text=True)
    uuid, vram, driver, model = told.splitlines()[0].split(", ")
    return Here(uuid, model, int(vram), driver)


# --- kernels and conversations -------------------------------------------------------------------------


def kernels(_folder: Path) -> dict[str, object]:
    """The cases that the simulator runs, but the one that calls a device function as if it were Python."""
    from tests.kernels.cuda.simulated import CASES, LONG, run

    seen: dict[str, object] = {}
    for case in (*CASES, *LONG):
        if case != "digests":
            begin = time.perf_counter()
            run(case)
            seen[case] = f"{time.perf_counter() - begin:.2f} s"
    return seen


def conversations(_folder: Path) -> dict[str, object]:
    """Frames of whole proofs against those of the CPU form, through the driver's own cards."""
    from tests.kernels.cuda.test_conversation import by_cpu, go, script

    uuid = here().uuid
    kinds = {
        "groups of segments": {"rounds": 3},
        "every leaf kept": {"rounds": 1, "segments": 3, "lines": 544},
        "many tiles and rounds": {
            "rounds": 4,
            "segments": 4,
            "walkers": 5,
            "lines": 1_024,
            "rows": 32,
            "columns": 48,
            "tiles": 4,
        },
        "a thousand walkers": {
            "walkers": 1_000,
            "segments": 128,
            "lines": 1 << 16,
            "rows": 160,
            "columns": 160,
        },
    }
    seen: dict[str, object] = {}
    for name, sizes in kinds.items():
        # A card that was given back is not used again by one process.
        code = f"import tests.kernels.cuda.on_card as it; it.converse_once({uuid!r}, {sizes!r})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        theirs = json.loads(done.stdout)
        ours = [frame.decode() for frame in by_cpu(script(go("cpu", uuid, **sizes)))]
        assert theirs == ours, f"{name}: {theirs[-1][:300]}"
        seen[name] = f"{len(ours)} frames, {sum(map(len, ours))} bytes, equal"
    return seen


def converse_once(uuid: str, sizes: dict[str, int]) -> None:
    """One conversation with the CUDA form; its answers as JSON on stdout."""
    from kernels import prover
    from kernels.messages import encode
    from tests.kernels.cuda.test_conversation import go, script

    frames = [encode(request) for request in script(go("cuda", uuid, **sizes))]
    answers: list[bytes] = []
    prover.serve(lambda: frames.pop(0) if frames else None, answers.append)
    json.dump([answer.decode() for answer in answers], sys.stdout)


# --- the validator's own work --------------------------------------------------------------------------


def facts(folder: Path) -> dict[str, object]:
    """What the validator asks of a machine, here; the raw outputs go into the folder."""
    session = PipeSession(folder / "runner.log")
    try:
        deadline = time.monotonic() + 50
        start_runner(session, deadline=deadline)
        outputs = ask_facts(session, inspection.COMMANDS, deadline=deadline)
    finally:
        session.close()
    raw = {
        o.name: {"exit": o.exit_code, "stdout": o.stdout.decode(), "seconds": o.duration_s} for o in outputs
    }
    (folder / "facts.json").write_text(json.dumps(raw, indent=1))
    found, reasons = inspection.read_facts({o.name: o for o in outputs})
    seen: dict[str, object] = {o.name: f"exit {o.exit_code}, {o.duration_s:.3f} s" for o in outputs}
    seen["cards"] = [str(card) for card in found.cards]
    seen["not read"] = [f"{r.code}: {r.got}" for r in reasons]
    return seen


def proof(folder: Path) -> dict[str, object]:
    """Two full proofs: of a machine that has nothing compiled, then as every epoch has it."""
    shutil.rmtree(folder / "home", ignore_errors=True)
    return {number: prove(folder, f"proof_{number}", ProofKind.FULL) for number in ("first", "second")}


def leased(folder: Path) -> dict[str, object]:
    """The proof of a leased machine."""
    return {"leased": prove(folder, "proof_leased", ProofKind.LEASED)}


def prove(
    folder: Path, name: str, kind: ProofKind, card: Here | None = None, rules: Policy = DEFAULT
) -> dict[str, object]:
    """One conversation from the runner's start to the verdict; raises Wrong when the card is not proved."""
    card, home = card or here(), folder / "home"
    home.mkdir(exist_ok=True)
    session = PipeSession(folder / f"{name}.log", {**os.environ, "HOME": str(home)})
    begin = time.monotonic()
    try:
        start_runner(session, deadline=begin + 20)
        talked = prove_machine(
            _prover_of(session, rules),
            _occasion(),
            _wave_of_one(rules),
            _subject(card, kind),
            secrets.token_bytes,
        )
        whole_s = time.monotonic() - begin
    finally:
        session.close()
    end_s = time.monotonic() - begin - whole_s
    verdict = verdicts_of([talked], rules)[0]
    (folder / f"{name}.json").write_bytes(transcript.dump(talked.challenge, talked.reply))
    if isinstance(talked.reply, Failure):
        why = talked.reply.reason
        raise Wrong(f"{why.code} at {talked.reply.phase}: {why.got}")
    if not verdict.cards[0].passed and talked.challenge.bounds.is_enforced:
        seen_gb_s = verdict.cards[0].bandwidth_gb_s
        raise Wrong(f"{verdict.cards[0].code}: {verdict.cards[0].detail}, {seen_gb_s:.0f} GB/s")
    reply, p = talked.reply, talked.challenge.parameters
    read = p.walkers * p.segments * p.segment_steps * 128
    return {
        "verdict": str(verdict.cards[0]),
        "bounds": str(talked.challenge.bounds),
        "parameters": str(p),
        "steps": {step.name: step.seconds for step in (*talked.steps, *verdict.steps)},
        "rounds_s": [e.elapsed_s for e in reply.rounds],
        "rounds_gb_s": [read / e.elapsed_s / 1e9 for e in reply.rounds],
        "product_s": reply.product.elapsed_s,
        "whole_s": whole_s,
        "given_back_s": end_s,
    }


def _occasion() -> Occasion:
    # Alone with this machine: nobody has to be told for whom it is busy.
    return Occasion(51, OUR_HOTKEY, 1_000, "0x" + "ab" * 32, 1, None)  # type: ignore[arg-type]


def _executor() -> Executor:
    return Executor("card-1", MINER_HOTKEY, 1, 0, "127.0.0.1", 22, "root", sys.executable, bytes(51), 1.0)


def _wave_of_one(rules: Policy) -> Wave:
    return Wave([_executor().key], gate_limits_s(rules.proof, 120.0), MonotonicClock())


def _subject(card: Here, kind: ProofKind) -> Any:
    return SimpleNamespace(
        executor=_executor(),
        cards=[(0, card.uuid)],
        model=card.model,
        vram_mib=card.vram_mib,
        kind=kind,
        population=None,
    )


def _prover_of(session: PipeSession, rules: Policy) -> Any:
    return SimpleNamespace(
        policy=rules,
        session_of=lambda _key: session,
        release=lambda _keys: None,
        keep=lambda _executor, _session: None,
    )


# --- ends ----------------------------------------------------------------------------------------------


def ends(folder: Path) -> dict[str, object]:
    """Whatever ends a prover, the next one finds the card empty."""
    from kernels.messages import encode
    from tests.kernels.cuda.test_conversation import go

    uuid = here().uuid
    size = {"lines": 32 << 20, "walkers": 65_536, "segments": 256, "segment_steps": 128}
    seen: dict[str, object] = {"free before": free_mib()}

    with _serving(folder) as one:
        one.send(encode(go("cuda", uuid, **size, chain_w=32)), deadline=0)
        time.sleep(6)
        seen["free while it fills"] = free_mib()
        one.process.send_signal(signal.SIGKILL)
        one.process.wait()
        seen["free after kill -9 in the fill"] = _free_soon(seen["free before"])

    with _serving(folder) as one, _serving(folder) as two:
        one.send(encode(go("cuda", uuid, **size)), deadline=0)
        seen["one of two"] = _told(one, "ready")
        two.send(encode(go("cuda", uuid, **size)), deadline=0)
        seen["the other of two"] = _told(two, "busy")
    seen["free after two"] = _free_soon(seen["free before"])

    import numpy as np
    from numba import cuda

    taken = cuda.device_array((int(free_mib() - 2_000) << 18,), np.uint32)
    with _serving(folder) as one:
        one.send(encode(go("cuda", uuid, **size)), deadline=0)
        seen["on a card that is taken"] = _told(one, "CARD_MEMORY_SHORT")
    del taken
    with _serving(folder) as one:
        one.send(encode(go("cuda", "GPU-00000000-0000-0000-0000-000000000000", **size)), deadline=0)
        seen["an unknown card"] = _told(one, "CARD_NOT_FOUND")
    return seen


@contextmanager
def _serving(folder: Path) -> Iterator[PipeSession]:
    """`python -m kernels`, with frames over pipes."""
    session = PipeSession(folder / "serving.log", arguments=("-m", "kernels"))
    try:
        yield session
    finally:
        session.close()


def _told(session: PipeSession, wanted: str) -> str:
    """The answer; Wrong where it is not of this type, or has not this code."""
    frame = session.receive(deadline=time.monotonic() + 90, limit_bytes=1 << 20).decode()
    answer = json.loads(frame)
    if wanted not in (answer["type"], answer.get("code")):
        raise Wrong(f"{wanted} was expected: {frame[:300]}")
    return frame


def free_mib() -> int:
    """As nvidia-smi has it."""
    told = subprocess.check_output(
        ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"], text=True
    )
    return int(told.split()[0])


def _free_soon(wanted: object) -> str:
    begin = time.monotonic()
    while (free := free_mib()) < int(str(wanted)) - 64:
        assert time.monotonic() - begin < 20, f"{free} MiB are free, {wanted} were"
        time.sleep(0.1)
    return f"{free} MiB within {time.monotonic() - begin:.1f} s"


# --- all of it -----------------------------------------------------------------------------------------


def speed(_folder: Path) -> dict[str, object]:
    """What the kernels reach on this card, without a conversation."""
    from tests.kernels.cuda import card_speed

    card = here()
    told = card_speed.measured(parameters_for(card.size, DEFAULT.proof))
    return {"model": card.model, "driver": card.driver, **told}


PARTS: dict[str, Callable[[Path], dict[str, object]]] = {
    "kernels": kernels,
    "conversations": conversations,
    "facts": facts,
    "proof": proof,
    "leased": leased,
    "ends": ends,
    "speed": speed,
}


def main(arguments: list[str]) -> int:
    """Run parts, each in a process; 1 when one went wrong, 2 without a card."""
    reader = argparse.ArgumentParser(
        prog="on_card", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    reader.add_argument("parts", nargs="*", choices=[*PARTS], help="all of them, unless named")
    reader.add_argument("--folder", type=Path, default=FOLDER)
    reader.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = reader.parse_args(arguments)
    asked.folder.mkdir(parents=True, exist_ok=True)
    if asked.inside:
        seen = PARTS[asked.parts[0]](asked.folder)
        (asked.folder / f"{asked.parts[0]}_seen.json").write_text(json.dumps(seen, indent=1))
        return 0
    try:
        print(here())
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"No NVIDIA card here: {error}", file=sys.stderr)
        return 2
    wrong = [part for part in asked.parts or PARTS if not _run(part, asked.folder)]
    print(f"not as it has to be: {', '.join(wrong)}" if wrong else "all as it has to be")
    return 1 if wrong else 0


def _run(part: str, folder: Path) -> bool:
    begin = time.monotonic()
    command = [sys.executable, "-m", "tests.kernels.cuda.on_card", part, "--inside", "--folder", str(folder)]
    log = folder / f"{part}.log"
    with log.open("wb") as out:
        try:
            status = subprocess.run(
                command, stdout=out, stderr=out, timeout=LIMITS_S[part], check=False
            ).returncode
        except subprocess.TimeoutExpired:
            status = 124
    print(
        f"--- {part}: {'well' if status == 0 else f'exit {status}'}, {time.monotonic() - begin:.1f} s",
        flush=True,
    )
    seen = folder / f"{part}_seen.json"
    print(seen.read_text() if status == 0 else log.read_text(errors="replace")[-3_000:], flush=True)
    return status == 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
