from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from deployments.localnet import liars
from kernels.messages import Failed, encode
from storage.records import Severity
from tasks.proof import messages
from tests.deployments.localnet.visiting import (
    begin_proof,
    challenge_of,
    enter,
    make,
    proved,
    served,
    wait_for,
)

pytestmark = pytest.mark.xdist_group("localnet-liars")
"""Its module's fixtures are dear: one worker has them all."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("liars")


@pytest.fixture(scope="module")
def machines(folder, request):
    cache = request.config.cache.mkdir("kernels")
    with served(
        make(folder, ["aurora-2", "basalt-1", "basalt-3", "basalt-4", "dune-1", "dune-2", "dune-3"], cache)
    ) as machines:
        yield machines


def test_the_honest_machine_of_the_same_model_is_proved(folder, machines):
    """Two real A100 pass where the folding one fails: the same model, policy and prover."""
    with enter(folder, machines["aurora-2"]) as session:
        verdict = proved(session, machines["aurora-2"])

    assert (verdict.code, [card.passed for card in verdict.cards]) == ("PROVED", [True, True])


def test_the_folding_prover_is_caught_by_an_opening(folder, machines):
    """It goes through the whole protocol with half of D, and the first opened segment gives it away."""
    with enter(folder, machines["basalt-3"]) as session:
        verdict = proved(session, machines["basalt-3"])

    assert (verdict.code, verdict.severity) == ("WALK_STATE_WRONG", Severity.FAIL)
    assert [card.passed for card in verdict.cards] == [False]


def test_without_the_lie_the_folding_machine_lacks_memory(folder, machines):
    """Its card really has half of what it claims: the honest interpreter on the same machine can't fill it."""
    home = machines["basalt-3"].home
    lying = (home / "bin" / "python").read_text()
    (home / "bin" / "python").write_text(lying.replace(f"{Path(liars.__file__).resolve()} folds ", ""))
    try:
        with enter(folder, machines["basalt-3"]) as session:
            verdict = proved(session, machines["basalt-3"])
    finally:
        (home / "bin" / "python").write_text(lying)

    assert verdict.code == "CARD_MEMORY_SHORT"


def test_a_card_in_two_listings_is_filled_once(folder, machines):
    """While one machine holds the shared card, the other machine's fill fails; afterwards it would not."""
    with enter(folder, machines["basalt-1"]) as first, enter(folder, machines["dune-2"]) as second:
        assert _fill(first, machines["basalt-1"]) is None
        refused = _fill(second, machines["dune-2"])

    assert isinstance(refused, Failed)
    assert (refused.code, refused.card) == ("CARD_MEMORY_SHORT", 0)
    assert wait_for(lambda: _fills_alone(folder, machines["dune-2"]), limit_s=20)


def test_a_card_by_a_second_name_is_filled_once(folder, machines):
    """While the one listing holds the card, the other, which calls it by a name of its own, can't fill it."""
    with enter(folder, machines["dune-1"]) as first, enter(folder, machines["dune-3"]) as second:
        assert _fill(first, machines["dune-1"]) is None
        refused = _fill(second, machines["dune-3"])

    assert isinstance(refused, Failed)
    assert (refused.code, refused.card) == ("CARD_MEMORY_SHORT", 0)


def test_a_tenth_of_the_product_is_caught_by_an_opened_tile(folder, machines):
    """It walks honestly and leaves nine tiles of ten empty: one of the eight that are opened shows it."""
    with enter(folder, machines["basalt-4"]) as session:
        verdict = proved(session, machines["basalt-4"])

    assert (verdict.code, verdict.severity) == ("TILE_ENTRY_WRONG", Severity.FAIL)


def test_the_lying_interpreter_runs_any_other_program_honestly():
    """Called as `-I -c PROGRAM ARGUMENTS` it behaves as Python does."""
    command = [
        sys.executable,
        liars.__file__,
        "lazy",
        "-I",
        "-c",
        "import sys; print(sys.argv, __name__)",
        "x",
    ]

    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert told == "['-c', 'x'] __main__\n"


def test_the_lying_interpreter_refuses_what_it_is_not_for():
    """Any other call ends with a usage line."""
    told = subprocess.run([sys.executable, liars.__file__, "-V"], capture_output=True, text=True, check=False)

    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith("usage:")


def _fills_alone(folder, machine) -> bool:
    with enter(folder, machine) as session:
        return _fill(session, machine) is None


def _fill(session, machine) -> Failed | None:
    """Ask for all cards to be filled; None when they are."""
    begin_proof(session)
    until = time.monotonic() + 30
    session.send(encode(challenge_of(machine).go), deadline=until)
    frame = session.receive(deadline=until, limit_bytes=messages.SMALL_FRAME_BYTES)
    return messages.read_ready(frame)
