import json
import subprocess
import sys
from pathlib import Path

import pytest

from kernels.cuda import needs
from kernels.cuda.needs import Found, what_is_missing, what_is_too_old
from kernels.messages import CardSeed, Go, encode
from kernels.protocol import Parameters

ROOT = Path(__file__).parents[3]

PIP_13 = "/opt/python -m pip install 'numba-cuda[cu13]'"
PIP_12 = "/opt/python -m pip install 'numba-cuda[cu12]'"
NEW_DRIVER = "Run: sudo apt-get install nvidia-driver-580"
SMI = "nvidia-smi, it tells why; after an update of the driver, reboot"
GOOD = Found((13, 0), has_numba_cuda=True, toolkit=(13, 5))
CASES = {
    "no driver": (Found(None), "no NVIDIA driver: libcuda.so.1 does not load. " + NEW_DRIVER),
    "driver for CUDA 11": (
        Found((11, 8)),
        "the driver is for CUDA 11.8, 12.0 or newer is needed. " + NEW_DRIVER,
    ),
    "no numba-cuda": (Found((13, 1)), f"numba-cuda is missing. Run: {PIP_13}"),
    "no numba-cuda, an older driver": (Found((12, 4)), f"numba-cuda is missing. Run: {PIP_12}"),
    "no numba-cuda, a driver of the future": (Found((14, 0)), f"numba-cuda is missing. Run: {PIP_13}"),
    "numba-cuda without its CUDA": (
        Found((13, 0), has_numba_cuda=True, numba_cuda_trouble="no cuda.bindings"),
        f"numba-cuda does not start: no cuda.bindings. Run: {PIP_13}",
    ),
    "numba-cuda newer than the driver": (
        Found((12, 8), has_numba_cuda=True, toolkit=(13, 5)),
        f"numba-cuda has CUDA 13.5, the driver only 12.8. Run: {PIP_12}",
    ),
    "driver and module differ": (
        Found((13, 0), "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", has_numba_cuda=True, toolkit=(13, 5)),
        f"the driver does not start: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH. Run: {SMI}",
    ),
    "all there": (GOOD, None),
    "driver newer than numba-cuda": (Found((13, 0), has_numba_cuda=True, toolkit=(12, 9)), None),
    "newer within one CUDA": (Found((12, 2), has_numba_cuda=True, toolkit=(12, 9)), None),
}


@pytest.mark.parametrize(("found", "said"), CASES.values(), ids=CASES)
def test_what_is_missing(found, said):
    """What keeps the CUDA form from running is said with the command that mends it, and nothing else is in the way."""

    assert what_is_missing(found, "/opt/python") == said


def test_the_command_is_never_cut_off():
    """However long the trouble is, what is said fits in an answer of the prover, command and all."""

    long = Found((13, 0), has_numba_cuda=True, numba_cuda_trouble="x" * 1_000)

    said = what_is_missing(long, "/home/somebody/of/a/long/name/.venvs/with/a/long/name/bin/python3")

    assert len(said) <= 200
    assert said.startswith("numba-cuda does not start: xxx")
    assert said.endswith("-m pip install 'numba-cuda[cu13]'")


@pytest.mark.parametrize(
    ("capability", "is_too_old"),
    [((3, 5), True), ((7, 0), True), ((7, 5), False), ((8, 0), False), ((12, 0), False)],
)
def test_cards_that_are_too_old(capability, is_too_old):
    """Turing is the oldest card that the kernels run on; an older one is told its compute capability."""

    said = what_is_too_old(capability)

    assert (said is not None) == is_too_old
    assert said is None or f"{capability[0]}.{capability[1]}" in said


def test_this_machine_without_a_driver():
    """Where there is no driver, that is what is missing, and numba.cuda is not even imported."""

    if needs.driver_version() is not None:
        pytest.skip("this machine has a driver")
    program = (
        "import sys; from kernels.cuda.needs import look, what_is_missing; print(what_is_missing(look()));"
        "sys.exit('numba.cuda' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.startswith("no NVIDIA driver")


def test_numba_cuda_tells_that_there_is_no_driver():
    """numba-cuda's own message of a driver that does not load comes through, in one line."""

    if needs.driver_version() is not None:
        pytest.skip("this machine has a driver")
    found = needs.look_at_numba_cuda((13, 0))

    assert found.has_numba_cuda
    assert found.toolkit is not None
    assert found.driver_trouble.startswith("CUDA driver library cannot be found.")
    assert "the driver does not start" in what_is_missing(found)


@pytest.mark.parametrize(
    ("absent", "said"),
    [
        ("numba_cuda", "numba-cuda is missing. Run: "),
        ("cuda", "numba-cuda does not start: NVIDIA CUDA Python bindings not found."),
    ],
)
def test_without_numba_cuda_or_its_bindings(absent, said):
    """With a driver, but without numba-cuda, GO and `warm` tell what to install, though Numba has a `numba.cuda`."""

    program = f"""
import importlib.util, json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {absent!r}:
            raise ModuleNotFoundError(name)

found = importlib.util.find_spec
importlib.util.find_spec = lambda n, p=None: None if n.partition(".")[0] == {absent!r} else found(n, p)
sys.meta_path.insert(0, Absent())
from kernels import __main__ as command, prover
from kernels.cuda import needs
needs.driver_version = lambda: (13, 0)
frames = [sys.argv[1].encode()]
prover.serve(lambda: frames.pop() if frames else None, lambda answer: print(answer.decode()))
sys.exit(command._warm_cards())
"""
    sizes = Parameters(512, 1, 1, 1, 1, 1, 16, 16, 1)
    go = encode(Go("cuda", sizes, bytes(32), (CardSeed(0, "GPU-a", bytes(32)),))).decode()
    done = subprocess.run(
        [sys.executable, "-c", program, go], capture_output=True, text=True, check=False, cwd=ROOT
    )
    answer = json.loads(done.stdout)

    assert (done.returncode, answer["code"], answer["card"]) == (1, "FORM_UNAVAILABLE", None)
    assert answer["detail"].startswith(said)
    assert answer["detail"].endswith("-m pip install 'numba-cuda[cu13]'")
    assert done.stderr == f"FORM_UNAVAILABLE: {answer['detail']}\n"
