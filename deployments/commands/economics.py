"""`subnet economics`: what each known cheat would earn, by the cost model of the proof."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tasks.errors import SettingError
from tasks.inspection.models import MODELS
from tasks.policy import DEFAULT
from tasks.proof.economics.attempts import Attempt
from tasks.proof.economics.pay import EPOCH_S, Outcome, tolerable_failure
from tasks.proof.economics.table import CLAIMED, ModelEconomics, economics, pairs

WIDTH = 132
BEGIN, END = "<!-- made by `subnet economics --into` -->", "<!-- end of what is made -->"
"""Around the tables in the docs."""
SHORT = MappingProxyType(
    {
        "H100 80GB HBM3": "H100",
        "A100-SXM4-80GB": "A100 80",
        "RTX PRO 6000 Blackwell": "PRO 6000",
        "RTX 6000 Ada Generation": "6000 Ada",
        "RTX A6000": "A6000",
        "GeForce RTX 5090": "5090",
        "GeForce RTX 4090": "4090",
        "GeForce RTX 3090": "3090",
    }
)
"""Names for the head of a column."""
_STYLES = {Outcome.PAYS: "bold red", Outcome.EVEN: "yellow", Outcome.LOSES: "green"}


@click.command()
@click.option(
    "--model",
    "models",
    multiple=True,
    help="Only this model, every cheat in USD with its reason. Repeatable.",
)
@click.option("--markdown", "as_markdown", is_flag=True, help="The tables of docs/gpu-proof.md.")
@click.option(
    "--into",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Write these tables between the marks of a file, as docs/gpu-proof.md has them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(*, models: tuple[str, ...], as_markdown: bool, into: Path | None, as_json: bool) -> None:
    """Show what each known cheat would earn an epoch, against what the same outlay earns honestly.

    A model of costs, with the policy `default` and the market rates of the table of models; no figure about cards has
    been measured yet. 1.00 is what honest work earns. PAYS: more; even: within 2 %; loses: less.

    \b
    Examples:
      subnet economics
      subnet economics --model "GeForce RTX 4090"
      subnet economics --json | jq '.models[].attempts[] | select(.outcome == "PAYS")'
    """
    known = {model.name for model in MODELS}
    unknown = next((name for name in models if name not in known), None)
    if unknown is not None:
        raise SettingError("--model", unknown, f"a name of the table of models, such as {CLAIMED[0]!r}")
    found = economics(DEFAULT, models or CLAIMED)
    if as_json:
        click.echo(json.dumps(_document(found), indent=2))
    elif into is not None:
        _write(into, markdown(found))
    elif as_markdown:
        click.echo(markdown(found))
    else:
        console = Console()
        if console.width < WIDTH:
            console = Console(width=WIDTH)
        for one in found if models else ():
            _show_model(console, one)
        if not models:
            _show_all(console, found)


# --- for a terminal --------------------------------------------------------------------------------


def _show_all(console: Console, found: Sequence[ModelEconomics]) -> None:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("cheat")
    for one in found:
        table.add_column(_short(one), justify="right")
    table.add_row("honest, USD an epoch", *(f"{one.honest_usd:.3f}" for one in found))
    for row in _rows(found):
        table.add_row(row[0].cheat, *(_cell(attempt) for attempt in row))
    console.print(table)
    console.print(_paying_table(found))
    console.print(_pair_table())
    console.print(_failure_sentence())


def _cell(attempt: Attempt) -> Text:
    return Text(f"{attempt.ratio:.2f}\n{attempt.outcome}", _STYLES[attempt.outcome])


def _show_model(console: Console, one: ModelEconomics) -> None:
    title = f"{one.model.name}: {one.honest_usd:.4f} USD an epoch honestly"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for heading in ("cheat", "hardware"):
        table.add_column(heading)
    for heading in ("passes", "earns", "honestly"):
        table.add_column(heading, justify="right")
    table.add_column("")
    table.add_column("why")
    for a in one.attempts:
        figures = (f"{a.pass_probability:.3f}", f"{a.income_usd:.4f}", f"{a.honest_usd:.4f}")
        table.add_row(a.cheat, _hardware(a), *figures, Text(a.outcome, _STYLES[a.outcome]), a.why)
    console.print(table)


def _paying_table(found: Iterable[ModelEconomics]) -> Table:
    table = Table(
        title="What pays most with other hardware", title_justify="left", box=SIMPLE_HEAD, pad_edge=False
    )
    for heading in ("claimed", "cheat", "hardware"):
        table.add_column(heading)
    for heading in ("USD an epoch", "honestly", "times"):
        table.add_column(heading, justify="right")
    for a in _paying(found):
        table.add_row(
            a.claimed, a.cheat, _hardware(a), f"{a.income_usd:.4f}", f"{a.honest_usd:.4f}", f"{a.ratio:.2f}"
        )
    return table


def _pair_table() -> Table:
    table = Table(
        title="Certain cards under certain names", title_justify="left", box=SIMPLE_HEAD, pad_edge=False
    )
    for heading in ("hardware", "claimed", "what the clock says", ""):
        table.add_column(heading)
    table.add_column("times", justify="right")
    for a in pairs():
        table.add_row(_hardware(a), a.claimed, a.why, Text(a.outcome, _STYLES[a.outcome]), f"{a.ratio:.2f}")
    return table


# --- for the docs ----------------------------------------------------------------------------------


def markdown(found: Sequence[ModelEconomics]) -> str:
    """The tables as docs/gpu-proof.md has them."""
    heads = ["cheat", *(_short(one) for one in found)]
    honest = ["honest, USD an epoch", *(f"{one.honest_usd:.3f}" for one in found)]
    matrix = [[row[0].cheat, *map(_markdown_cell, row)] for row in _rows(found)]
    paying = [
        [a.claimed, a.cheat, _hardware(a), f"{a.income_usd:.4f}", f"{a.honest_usd:.4f}", f"{a.ratio:.2f}"]
        for a in _paying(found)
    ]
    certain = [[_hardware(a), a.claimed, a.why, a.outcome, f"{a.ratio:.2f}"] for a in pairs()]
    return "\n\n".join(
        [
            _markdown_table(heads, [honest, *matrix], 1),
            _markdown_table(["claimed", "cheat", "hardware", "USD an epoch", "honestly", "times"], paying, 3),
            _markdown_table(["hardware", "claimed", "what the clock says", "", "times"], certain, 4),
            _failure_sentence(),
        ]
    )


def _markdown_cell(attempt: Attempt) -> str:
    ratio = f"{attempt.ratio:.2f}"
    if attempt.outcome is Outcome.LOSES:
        return ratio
    return f"**{ratio} PAYS**" if attempt.outcome is Outcome.PAYS else f"{ratio} even"


def _markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]], texts: int) -> str:
    """A table whose first `texts` columns are texts, all others figures."""
    lines = [list(heads), ["---"] * texts + ["---:"] * (len(heads) - texts), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _write(path: Path, tables: str) -> None:
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SettingError("--into", str(path), f"a file with the lines {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}", encoding="utf-8")


# --- both ------------------------------------------------------------------------------------------


def _rows(found: Sequence[ModelEconomics]) -> list[tuple[Attempt, ...]]:
    """A row for each cheat, an attempt for each model."""
    return list(zip(*(one.attempts for one in found), strict=True))


def _paying(found: Iterable[ModelEconomics]) -> list[Attempt]:
    """Of each model, what pays with other hardware than the claimed: there a price decides and not the protocol alone."""
    return [
        a
        for one in found
        for a in one.attempts
        if a.outcome is Outcome.PAYS and one.model.name not in a.hardware and "leased" not in a.cheat
    ]


def _failure_sentence() -> str:
    chances = ", ".join(
        f"x{gain:g}: {tolerable_failure(gain, DEFAULT.scoring):.2%}" for gain in (1.25, 2, 4, 8)
    )
    return (
        f"A failed epoch costs its pay and the uptime ramp ({DEFAULT.scoring.uptime_full_s / EPOCH_S:.0f} epochs). A cheat "
        f"that multiplies its income breaks even when it fails with a chance, in each epoch, of ({chances})."
    ).replace("%", " %")


def _short(one: ModelEconomics) -> str:
    return SHORT.get(one.model.name, one.model.name)


def _hardware(attempt: Attempt) -> str:
    return attempt.hardware + (" (~)" if attempt.is_price_estimated else "")


def _document(found: Iterable[ModelEconomics]) -> dict[str, object]:
    return {
        "policy": {"name": DEFAULT.name, "digest": DEFAULT.digest()},
        "models": [
            {
                "model": one.model.name,
                "honest_usd": one.honest_usd,
                "attempts": [_attempt(a) for a in one.attempts],
            }
            for one in found
        ],
        "pairs": [_attempt(a) for a in pairs()],
    }


def _attempt(attempt: Attempt) -> dict[str, object]:
    return {**asdict(attempt), "ratio": attempt.ratio, "outcome": attempt.outcome}
