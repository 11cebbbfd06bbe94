"""One HTML file that opens without a network: pictures, numbers and looks are in it, and all foreign text is escaped.

The pictures are SVG in data addresses: a browser runs no script in them and loads nothing for them. The policy in the
page's head forbids scripts and every address but those.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from html import escape

from tasks.reporting.drawing import as_svg
from tasks.reporting.frames import Frames
from tasks.reporting.headlines import headlines, incidents, weight_outcomes
from tasks.reporting.picture import Missing, Picture, Table, table
from tasks.reporting.style import STYLE

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
MAX_TOLD = 20
"""Lines of a list that may be long."""


def page_of(frames: Frames, pictures: Iterable[Picture | Missing]) -> bytes:
    """The whole page, UTF-8; the same frames give the same bytes."""
    return "\n".join(_page(frames, pictures)).encode("utf-8", "replace")


def _page(frames: Frames, pictures: Iterable[Picture | Missing]) -> Iterator[str]:
    title = f"Network report, {frames.period}"
    yield "<!DOCTYPE html>"
    yield '<html lang="en"><head><meta charset="utf-8"/>'
    yield f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}"/>'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
    yield f"<title>{_text(title)}</title><style>{STYLE}</style></head><body>"
    yield f"<header><h1>{_text(title)}</h1>"
    yield from (f"<p>{_text(line)}</p>" for line in about(frames))
    yield "</header>"
    yield from _headlines(frames)
    yield from _troubles(frames)
    for picture in pictures:
        yield from _section(picture)
    yield "<footer><p>Everything here is made of the validator's archive (Parquet) alone; the same archive gives the "
    yield "same page. Days are UTC.</p></footer></body></html>"


def about(frames: Frames) -> Iterator[str]:
    """What was reported on, in sentences."""
    epochs = frames.epochs
    if epochs.empty:
        yield f"No epoch is archived from {frames.period.begin:%Y-%m-%d %H:%M} to {frames.period.end:%Y-%m-%d %H:%M} UTC."
        return
    first, last = epochs.iloc[0], epochs.iloc[-1]
    yield (
        f"Subnet {last['netuid']}, validator {last['validator_hotkey']}: {len(epochs):,} epochs from {first['epoch']} "
        f"({first['started_at']:%Y-%m-%d %H:%M} UTC) to {last['epoch']} (ended {last['finished_at']:%Y-%m-%d %H:%M} UTC)."
    )
    policies = sorted({f"{p} ({d})" for p, d in zip(epochs["policy"], epochs["policy_digest"], strict=True)})
    versions = sorted(set(epochs["code_version"]))
    yield f"Policy {_some(policies)}; code {_some(versions)}."


def _some(texts: list[str]) -> str:
    shown = ", ".join(texts[:4])
    return shown if len(texts) <= 4 else f"{shown} and {len(texts) - 4} more"


def _headlines(frames: Frames) -> Iterator[str]:
    yield '<dl class="headlines">'
    for line in headlines(frames):
        yield f"<div><dt>{_text(line.name)}</dt><dd>{_text(line.shown)}</dd></div>"
    yield "</dl>"


def _troubles(frames: Frames) -> Iterator[str]:
    """Our own side: what went wrong, how the weights ended, what could not be read."""
    weights = ", ".join(
        f"{status} {count:,}" for status, count in weight_outcomes(frames).most_common(MAX_TOLD)
    )
    yield (
        f"<p>Weights by epoch: {_text(weights)}.</p>"
        if weights
        else "<p>No epoch of these days tried to set weights.</p>"
    )
    found = incidents(frames).most_common()
    if found:
        yield "<h2>Incidents</h2><p>Trouble of the validator's own side or the chain's.</p>"
        yield from _table(table(("code", "times"), [(code, f"{count:,}") for code, count in found]))
    if frames.unread:
        yield "<h2>Not readable</h2><p>These files of the archive are left out.</p><ul>"
        yield from (f"<li>{_text(text)}</li>" for text in frames.unread[:MAX_TOLD])
        yield (
            f"<li>and {len(frames.unread) - MAX_TOLD:,} more</li></ul>"
            if len(frames.unread) > MAX_TOLD
            else "</ul>"
        )


def _section(picture: Picture | Missing) -> Iterator[str]:
    yield f"<section><h2>{_text(picture.title)}</h2>"
    if isinstance(picture, Missing):
        yield f'<p class="missing">{_text(picture.why)}</p></section>'
        return
    yield f"<figure><figcaption>{_text(picture.sentence)}</figcaption>"
    source = base64.b64encode(as_svg(picture.draw())).decode()
    yield f'<img alt="{_text(picture.alt)}" src="data:image/svg+xml;base64,{source}"/></figure>'
    yield "<details><summary>The same as numbers</summary>"
    yield from _table(picture.table)
    yield "</details></section>"


def _table(shown: Table) -> Iterator[str]:
    yield (
        "<table><thead><tr>"
        + "".join(f'<th scope="col">{_text(c)}</th>' for c in shown.columns)
        + "</tr></thead>"
    )
    yield "<tbody>"
    for row in shown.rows:
        yield "<tr>" + "".join(f"<td>{_text(value)}</td>" for value in row) + "</tr>"
    yield "</tbody></table>"
    if shown.left_out:
        yield f"<p>and {shown.left_out:,} more; the archive has them all.</p>"


def _text(text: str) -> str:
    """Foreign text as text; what no page may hold is replaced."""
    return escape("".join(c if c.isprintable() else "\ufffd" for c in text))
