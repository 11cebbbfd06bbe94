import ast
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.localnet.warming import warm_cache
from kernels.__main__ import main, read_frame, write_frame
from kernels.cards import add_simulated_card
from kernels.cuda.needs import driver_version
from kernels.messages import CardSeed, Go, encode
from kernels.protocol import BadMessage, Parameters
from tasks.proof.archive import prover_archive

PACKAGE = Path(__file__).parents[2] / "kernels"
SIZES = Parameters(
    lines=512, chain_w=1, rounds=1, walkers=1, segments=1, segment_steps=1, rows=16, columns=16, tiles=1
)
START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from kernels.__main__ import main; sys.exit(main(sys.argv[1:]))"
LIMIT_BYTES = 64 * 1024


@pytest.fixture(scope="module")
def shipped(pytestconfig):
    """The extracted archive as a machine has it, its kernels compiled beside it; all tests share them."""
    cache = pytestconfig.cache.mkdir("kernels")
    warm_cache(cache)
    return cache.resolve() / prover_archive().digest


def run(where, cards, compiled, frames):
    """Run the shipped prover in isolated mode in an environment without anything of ours; its answers."""
    sent = io.BytesIO()
    for frame in frames:
        write_frame(sent, frame)
    done = subprocess.run(
        [sys.executable, "-I", "-c", START, str(where)],
        input=sent.getvalue(),
        capture_output=True,
        check=True,
        cwd=cards,
        env={"SUBNET_SIMULATED_CARDS": str(cards), "NUMBA_CACHE_DIR": str(compiled), "HOME": str(cards)},
    )
    assert done.stderr == b""
    answers = io.BytesIO(done.stdout)
    return list(iter(lambda: read_frame(answers), None))


def test_archive_is_small():
    """The whole prover travels in at most 64 KiB."""

    assert len(prover_archive().content) <= LIMIT_BYTES


@pytest.mark.slow
def test_shipped_prover(shipped, tmp_path):
    """Extracted, isolated from everything else, it fills a card and ends with its channel."""

    check_filled(shipped, tmp_path, shipped.parent / "compiled")


@pytest.mark.long
def test_shipped_prover_from_its_zip(tmp_path):
    """The same from inside the zip, where nothing is compiled yet."""

    path = tmp_path / "prover.zip"
    path.write_bytes(prover_archive().content)

    check_filled(path, tmp_path, tmp_path / "compiled")


def check_filled(where, cards, compiled):
    add_simulated_card(cards, "GPU-a", 65_536)
    go = encode(Go("cpu", SIZES, bytes(32), (CardSeed(0, "GPU-a", bytes(32)),)))

    answers = run(where, cards, compiled, [go, b'{"type":"end"}'])

    assert [json.loads(answer) for answer in answers] == [{"type": "ready"}]
    assert sorted(path.name for path in (cards / "GPU-a").iterdir()) == ["lock", "total"]


@pytest.mark.slow
def test_shipped_cuda_form(shipped, tmp_path):
    """The CUDA form travels along: isolated, a machine without a driver is told that it has none."""

    if driver_version() is not None:
        pytest.skip("this machine has a driver")
    go = encode(Go("cuda", SIZES, bytes(32), (CardSeed(0, "GPU-a", bytes(32)),)))

    (answer,) = [json.loads(a) for a in run(shipped, tmp_path, shipped.parent / "compiled", [go])]

    assert (answer["code"], answer["card"]) == ("FORM_UNAVAILABLE", None)
    assert answer["detail"].startswith("no NVIDIA driver")


def test_cpu_form_knows_nothing_of_cuda():
    """Serving simulated cards and judging proofs load no `numba.cuda`, which would take a second of every start."""

    program = (
        "import sys; from kernels import prover; prover.warm(); import tasks.proof.step;"
        "print([name for name in sys.modules if name.startswith(('numba.cuda', 'kernels.cuda'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_oldest_python():
    """Every file is Python 3.9 syntax: executors run what their system has."""

    for source in PACKAGE.rglob("*.py"):
        ast.parse(source.read_text(), feature_version=(3, 9))


def test_only_numpy_numba_and_the_standard_library():
    """What runs on a machine imports nothing else, but for llvmlite, which Numba stands on."""

    names = {name.split(".")[0] for source in PACKAGE.rglob("*.py") for name in imported(source)}

    assert names - set(sys.stdlib_module_names) <= {"numpy", "numba", "llvmlite", "kernels"}


def imported(source):
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_arguments(capsys):
    """`warm` practises and serves nobody; any other word is told with what was expected."""

    assert main(["warm"]) == 0
    assert main(["wram"]) == 2
    assert capsys.readouterr() == ("", "unknown arguments ['wram'], expected none or 'warm'\n")


def test_frames():
    """A frame that is cut off is the end, one that is too long is refused unread."""

    stream = io.BytesIO()
    write_frame(stream, b"abc")
    whole = stream.getvalue()

    assert read_frame(io.BytesIO(whole)) == b"abc"
    assert [read_frame(io.BytesIO(whole[:cut])) for cut in range(len(whole))] == [None] * 7
    with pytest.raises(BadMessage, match="at most"):
        read_frame(io.BytesIO(b"\xff\xff\xff\xff"))
