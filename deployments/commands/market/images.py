"""`subnet market block-image`, `unblock-image` and `blocked`: what no container may be made of."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import click

from deployments.histories import json_option
from deployments.operating import day, own_database, show_json, show_table, who, words
from storage.belongings import BlockedImages
from storage.convert import row_of
from storage.renter import BlockedImage
from tasks.errors import SettingError

_PATTERN = re.compile(r"[a-z0-9*?][A-Za-z0-9*?._/:@-]{0,254}\Z", re.ASCII)


@click.command()
@click.argument("pattern")
@click.option("--reason", required=True, help="Renters read it.")
@click.option("--by", help="Who decides it; the user's name if not given.")
@json_option
def block(*, pattern: str, reason: str, by: str | None, as_json: bool) -> None:
    """Let no renter run images that fit a pattern, from the next request on; what runs already is not touched.

    `*` and `?` stand for any text and any character of the whole name, with tag or digest. Put the pattern in quotes.

    \b
    Examples:
      subnet market block-image "docker.io/evil/*" --reason "mines coins"
      subnet market block-image "*xmrig*" --reason "mines coins"
    """
    if not _PATTERN.match(pattern) or not pattern.strip("*?"):
        raise SettingError("PATTERN", pattern[:60], 'an image\'s name with * and ?, e.g. "docker.io/evil/*"')
    image = BlockedImage(pattern, words("--reason", reason), who(by), datetime.now(UTC))
    with own_database() as engine:
        BlockedImages(engine).block(image)
    if as_json:
        show_json(row_of(image))
        return
    click.echo(f"{pattern}: nobody can run it from now on")


@click.command()
@click.argument("pattern")
@json_option
def unblock(*, pattern: str, as_json: bool) -> None:
    """Let images be run again. Exit code 0, also when they were not blocked.

    \b
    Examples:
      subnet market unblock-image "docker.io/evil/*"
    """
    with own_database() as engine:
        was_blocked = BlockedImages(engine).unblock(pattern)
    if as_json:
        show_json({"pattern": pattern, "was_blocked": was_blocked})
        return
    click.echo(f"{pattern}: {'may be run again' if was_blocked else 'was not blocked'}")


@click.command()
@json_option
def blocked(*, as_json: bool) -> None:
    """List the blocked images.

    \b
    Examples:
      subnet market blocked
    """
    with own_database() as engine:
        images = BlockedImages(engine).all()
    if as_json:
        show_json([row_of(image) for image in images])
        return
    rows = [(i.pattern, i.reason, i.blocked_by, day(i.blocked_at)) for i in images]
    show_table("Blocked images", ("pattern", "reason", "by", "since"), rows, "no image is blocked")
