"""What a machine with a card runs (`make card`), as far as it goes without one: the card is simulated by the CPU form."""

import pytest

from tasks import policy
from tasks.proof.challenge import ProofKind
from tasks.proof.verdict import verify_transcript
from tests.kernels.cuda import on_card
from tests.kernels.cuda.on_card import Here

CARD = Here("GPU-5d5ba0d6-0000-0000-0000-000000000000", "NVIDIA L4", 23_034, "580.159.04")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """This machine, with a simulated card of 200 MiB."""
    (tmp_path / "cards" / CARD.uuid).mkdir(parents=True)
    (tmp_path / "cards" / CARD.uuid / "total").write_text(str(200 << 20))
    monkeypatch.setenv("SUBNET_SIMULATED_CARDS", str(tmp_path / "cards"))
    monkeypatch.setenv("SUBNET_PROOF_LOCKS", str(tmp_path))
    return tmp_path


def test_a_card_is_proved_by_the_validators_own_conversation(machine):
    """The far end's program over pipes, GO to END: what is written down is a transcript that anybody judges the same."""

    seen = on_card.prove(machine, "it", ProofKind.FULL, card=CARD, rules=policy.LOCALNET)

    assert "code='PROVED'" in seen["verdict"]
    assert [
        step for step in ("start", "ready", "walk", "multiply", "answer", "verify") if step in seen["steps"]
    ]
    assert verify_transcript((machine / "it.json").read_bytes()).code == "PROVED"


def test_a_card_that_fails_is_told_with_its_reason(machine):
    """A card without room for D: the part fails, by the prover's code."""

    (machine / "cards" / CARD.uuid / "total").write_text("4096")

    with pytest.raises(on_card.Wrong, match="CARD_MEMORY_SHORT at ready"):
        on_card.prove(machine, "it", ProofKind.FULL, card=CARD, rules=policy.LOCALNET)


def test_the_validators_questions_are_asked_here(machine):
    """Inspection's own commands: what this machine has is read, and what it has not is named."""

    seen = on_card.facts(machine)

    assert seen["kernel"].startswith("exit 0")
    assert (machine / "facts.json").exists()


def test_without_a_card_it_says_so(tmp_path, monkeypatch, capsys):
    """One line with what is missing, and its own exit code."""

    monkeypatch.setenv("PATH", "/nowhere")

    assert on_card.main(["kernels", "--folder", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("No NVIDIA card here:")
