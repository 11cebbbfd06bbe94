"""`subnet rent certificate`: the proof of the very cards that a lease has, to keep and to check without the market."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deployments.renting.desk import Desk, find_lease, lease_argument, show_json, verb
from deployments.renting.look import Column, show_items
from deployments.renting.wire import Document, parts, text, texts
from deployments.renting.wishes import read_text
from tasks.errors import SettingError

if TYPE_CHECKING:
    from tasks.renting.certifying import Claim, Judged

MAX_BYTES = 64 << 20
PROOFS = (
    Column("at (UTC)", lambda p: text(p, "at")[:19].replace("T", " ")),
    Column("occasion", lambda p: text(p, "occasion")),
    Column("machine", lambda p: text(p, "executor_key")),
    Column("cards", lambda p: str(len(texts(p, "card_uuids")))),
    Column("code", lambda p: text(p, "code")),
)


@click.group()
def command() -> None:
    """Fetch the proof of the cards that you rent, and judge it again on your own computer.

    \b
    Examples:
      subnet rent certificate get 3f9a --out cards.json
      subnet rent certificate verify cards.json
    """


@command.command()
@lease_argument()
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Keep it in this file.")
@verb
def get(desk: Desk, *, lease: str, out: Path | None) -> None:
    """Fetch a lease's certificate: all proofs of its cards, with every challenge and answer.

    \b
    Examples:
      subnet rent certificate get 3f9a --out cards.json
    """
    with desk.open() as client:
        found = client.get(f"/v1/leases/{find_lease(client, lease).lease_id}/certificate")
    if out is not None:
        out.write_text(json.dumps(found, indent=1) + "\n")
    if desk.is_json:
        desk.answer(found)
        return
    show_items(PROOFS, parts(found, "proofs"), "no proof was kept yet")
    if out is not None:
        click.echo(f"{out}: `subnet rent certificate verify {out}` judges it again, without the market")


@command.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "is_json", is_flag=True, help="Print JSON for programs.")
def verify(*, file: Path, is_json: bool) -> int:
    """Judge a certificate again by our own arithmetic: nothing is asked of anybody. Exit code 1 when it does not hold.

    Every figure follows from the transcript but one thing: that the validator's clock is true (docs/gpu-proof.md).

    \b
    Examples:
      subnet rent certificate verify cards.json
    """
    from tasks.renting.certifying import judge  # noqa: PLC0415  the arithmetic takes a second to import

    proofs = parts(_certificate(file), "proofs")
    if not proofs:
        raise SettingError("FILE", str(file)[:100], "a certificate with a proof in it")
    judged = [(proof, judge(_claim(proof))) for proof in proofs]
    if is_json:
        show_json([_as_json(proof, found) for proof, found in judged])
    else:
        for proof, found in judged:
            _tell(proof, found)
    return 0 if all(found.holds for _, found in judged) else 1


def _certificate(file: Path) -> Document:
    try:
        found = json.loads(read_text(file, "FILE", MAX_BYTES))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise SettingError("FILE", str(file)[:100], "what `subnet rent certificate get --out` wrote")
    return found


def _claim(proof: Document) -> Claim:
    from tasks.renting.certifying import Claim  # noqa: PLC0415  as above

    try:
        content = base64.b64decode(str(proof.get("transcript") or ""), validate=True)
    except (binascii.Error, ValueError):
        content = b""
    return Claim(
        executor_key=text(proof, "executor_key"),
        card_uuids=texts(proof, "card_uuids"),
        code=text(proof, "code"),
        transcript=content,
        digest=text(proof, "transcript_blake2s"),
    )


def _tell(proof: Document, found: Judged) -> None:
    holds = "holds" if found.holds else "DOES NOT HOLD"
    occasion, at, machine = text(proof, "occasion"), text(proof, "at"), text(proof, "executor_key")
    click.echo(f"{occasion} of {at}, {machine}: {holds}")
    for objection in found.objections:
        click.echo(f"  {objection}")
    if found.code:
        click.echo(f"  {found.code}, {found.kind} proof, form {found.form}, begun after block {found.block}")
    for card in found.cards:
        figures = f"{_size(card.memory_bytes)} proved, {card.bandwidth_gb_s:.4g} GB/s, {card.operations_tera_s:.4g} Top/s"
        click.echo(f"  {card.card_uuid}  {card.code}  {figures}")


def _size(count_bytes: int) -> str:
    gib = count_bytes / (1 << 30)
    return f"{gib:.2f} GiB" if gib >= 1 else f"{1024 * gib:.2f} MiB"


def _as_json(proof: Document, found: Judged) -> Document:
    return {
        "occasion": text(proof, "occasion"),
        "at": text(proof, "at"),
        "executor_key": text(proof, "executor_key"),
        "holds": found.holds,
        "objections": list(found.objections),
        "code": found.code,
        "kind": found.kind,
        "form": found.form,
        "block": found.block,
        "cards": [
            {
                "card_uuid": card.card_uuid,
                "code": card.code,
                "memory_bytes": card.memory_bytes,
                "bandwidth_gb_s": card.bandwidth_gb_s,
                "operations_tera_s": card.operations_tera_s,
            }
            for card in found.cards
        ],
    }
