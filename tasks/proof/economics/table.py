"""All cheats of twelve models, and pairs of models that are often asked about."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.inspection.models import MODELS, Model
from tasks.policy import DEFAULT, Policy
from tasks.proof.economics.attempts import Attempt, attempt, honest_usd
from tasks.proof.economics.claims import Claim, Sources, claim, round_by_rows_s
from tasks.proof.economics.hardware import Cards
from tasks.proof.economics.lesser import another_name, several_as_one, short_of_memory
from tasks.proof.economics.listings import leased_to_oneself, one_for_several, ready_by_turns, relayed
from tasks.proof.economics.work import product_left_out, replayed, segments_invented

CLAIMED = (
    *(
        "B200",
        "H200",
        "H100 80GB HBM3",
        "A100-SXM4-80GB",
        "RTX PRO 6000 Blackwell",
        "RTX 6000 Ada Generation",
    ),
    *("L40S", "RTX A6000", "GeForce RTX 5090", "GeForce RTX 4090", "GeForce RTX 3090", "L4"),
)
"""Of every class of memory and bandwidth, all with a published price."""
PAIRS = (
    (1, "A100-SXM4-40GB", "A100-SXM4-80GB"),
    (2, "A100-SXM4-40GB", "A100-SXM4-80GB"),
    (1, "A100 80GB PCIe", "A100-SXM4-80GB"),
    (1, "A100-SXM4-80GB", "H100 80GB HBM3"),
    (2, "A100 80GB PCIe", "H100 80GB HBM3"),
    (1, "H800", "H100 80GB HBM3"),
    (1, "H100 80GB HBM3", "H200"),
    (1, "GeForce RTX 4090", "H100 80GB HBM3"),
    (4, "GeForce RTX 4090", "H100 80GB HBM3"),
    (1, "GeForce RTX 3090", "GeForce RTX 4090"),
    (1, "GeForce RTX 4090 D", "GeForce RTX 4090"),
    (1, "GeForce RTX 4090", "GeForce RTX 5090"),
    (2, "GeForce RTX 4090", "RTX 6000 Ada Generation"),
    (1, "A40", "RTX 6000 Ada Generation"),
    (1, "RTX A4500", "RTX A5000"),
)
"""Count and model that is there, and model that is claimed."""


@dataclass(frozen=True, slots=True)
class ModelEconomics:
    """One claimed model: what it earns honestly an epoch, and every cheat on it."""

    model: Model
    honest_usd: float
    attempts: tuple[Attempt, ...]


def economics(policy: Policy = DEFAULT, names: tuple[str, ...] = CLAIMED) -> tuple[ModelEconomics, ...]:
    """The claimed models, in the order of their names as given."""
    claims = [claim(model_named(name), policy) for name in names]
    return tuple(ModelEconomics(c.cards.model, honest_usd(c.cards, c), every_cheat(c)) for c in claims)


def every_cheat(of: Claim) -> tuple[Attempt, ...]:
    """All known cheats on a claimed model, in the order of the table."""
    return (
        *short_of_memory(of),
        another_name(of),
        *several_as_one(of),
        *one_for_several(of),
        *ready_by_turns(of),
        *segments_invented(of),
        *product_left_out(of),
        replayed(of),
        *leased_to_oneself(of),
        *relayed(of),
    )


def pairs(policy: Policy = DEFAULT) -> tuple[Attempt, ...]:
    """Certain cards under certain names, with every source of lines that they have."""
    return tuple(
        _pair(count, model_named(have), claim(model_named(named), policy)) for count, have, named in PAIRS
    )


def model_named(name: str) -> Model:
    """The model of this name in the table; KeyError when there is none."""
    return {model.name: model for model in MODELS}[name]


def _pair(count: int, have: Model, of: Claim) -> Attempt:
    cards = Cards(have, have.skus[0], count)
    nvlink = cards.nvlink_gb_s > 0.0 and count > 1
    sources = Sources(anew=True, host=nvlink or count == 1, nvlink=nvlink, pcie=count > 1 and not nvlink)
    return attempt("a name", of, cards, round_by_rows_s(of, cards, sources))
