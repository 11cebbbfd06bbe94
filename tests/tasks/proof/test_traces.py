"""What a proof leaves on a machine: the validator's own program, the real archive, and the machine afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.localnet.warming import warm_cache
from kernels.cards import FolderCards, add_simulated_card
from kernels.messages import CardSeed, End, Go, Multiply, Open, Walk, encode
from kernels.protocol import Parameters, commitment
from tasks.inspection import remote
from tasks.proof.archive import prover_archive

pytestmark = pytest.mark.slow
SIZES = Parameters(
    lines=512, chain_w=1, rounds=1, walkers=2, segments=2, segment_steps=1, rows=16, columns=16, tiles=1
)
SECRET = bytes(32)
GO = Go("cpu", SIZES, commitment(SECRET), (CardSeed(0, "GPU-a", bytes(32)), CardSeed(1, "GPU-b", bytes(32))))
WHOLE = [GO, Walk(0, bytes(32)), Multiply(bytes(32)), Open(SECRET), End()]
TALKS = {
    "a whole proof": (WHOLE, "opened"),
    "hung up after READY": (WHOLE[:1], "ready"),
    "hung up before OPEN": (WHOLE[:3], "multiplied"),
    "another secret": ([*WHOLE[:3], Open(bytes([1]) * 32)], "failed"),
    "out of order": ([GO, GO], "failed"),
    "too little memory": (
        [Go("cpu", SIZES, bytes(32), (*GO.cards, CardSeed(2, "GPU-small", SECRET)))],
        "failed",
    ),
    "CUDA on a machine without": ([Go("cuda", SIZES, bytes(32), GO.cards)], "failed"),
}


class Machine:
    """A home, a folder for temporary files and two cards, seen by one process."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder, self.cache = folder, cache
        for name in ("home", "tmp", "cards"):
            (folder / name).mkdir()
        for uuid, size_bytes in (("GPU-a", 65_536), ("GPU-b", 65_536), ("GPU-small", 65_535)):
            add_simulated_card(folder / "cards", uuid, size_bytes)

    def talk(self, frames: list[bytes], form: str) -> tuple[int, list[str]]:
        """Start the program, start the prover, send these frames and hang up; its process group and what it said."""
        archive = prover_archive()
        prove = {
            "do": "prove",
            "cache": str(self.cache),
            "digest": archive.digest,
            "form": form,
            "warm_s": 30,
        }
        sent = [json.dumps(prove).encode(), archive.content, *frames]
        child = subprocess.Popen(
            [sys.executable, "-I", "-c", Path(remote.__file__).read_text()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=self.folder / "home",
            env={
                "HOME": str(self.folder / "home"),
                "TMPDIR": str(self.folder / "tmp"),
                "PATH": os.environ["PATH"],
                "SUBNET_SIMULATED_CARDS": str(self.folder / "cards"),
            },
            start_new_session=True,
        )
        with child:
            assert child.stdin is not None
            assert child.stdout is not None
            for frame in sent:
                child.stdin.write(len(frame).to_bytes(4, "big") + frame)
                child.stdin.flush()
            said = [_read(child) for _ in range(1 + sum(f != encode(End()) for f in frames))]
            child.stdin.close()
            child.wait(timeout=30)
        return child.pid, said

    def files(self) -> list[Path]:
        """Everything that lies about in the home, where the program runs, and among temporary files."""
        return [path for name in ("home", "tmp") for path in (self.folder / name).rglob("*")]

    def fill_cards(self) -> None:
        """Take all memory of all cards, and give it back."""
        for uuid, lines in (("GPU-a", 512), ("GPU-b", 512), ("GPU-small", 511)):
            card = FolderCards(self.folder / "cards").open(uuid)
            card.allocate(lines)
            card.close()


def _read(child: subprocess.Popen[bytes]) -> str:
    assert child.stdout is not None
    answer = json.loads(child.stdout.read(int.from_bytes(child.stdout.read(4), "big")))
    return str(answer.get("type", "proving"))


@pytest.mark.parametrize(("requests", "last"), TALKS.values(), ids=TALKS)
def test_a_proof_leaves_nothing_but_its_cache(pytestconfig, tmp_path, requests, last):
    """However it ends, no process and no file stays but the archive and its compiled kernels, and cards are free again."""

    cache = pytestconfig.cache.mkdir("kernels")
    warm_cache(cache)
    machine = Machine(tmp_path, cache)

    group, said = machine.talk([encode(request) for request in requests], requests[0].form)

    assert said[-1] == last
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)
    assert machine.files() == []
    assert {path.name for path in cache.iterdir()} >= {prover_archive().digest, "compiled"}
    machine.fill_cards()
