"""`subnet rent up`: a machine from the wish to the way in."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from deployments.renting.client import Client
from deployments.renting.desk import Desk, complete_templates, verb
from deployments.renting.following import until_ready
from deployments.renting.look import lines_of, plural, ready_lines, short_machine, stderr_lines
from deployments.renting.quantities import duration, micro_usd_of, usd
from deployments.renting.spec import Spec, parse
from deployments.renting.wire import Document, Lease, Offer, integer, text
from deployments.renting.wishes import (
    end_of,
    environment_of,
    fitting,
    mount_of,
    port_of,
    public_key_of,
    read_text,
    size_of,
    terms_of,
    usual_key,
    wish_of,
    with_options,
    words_of,
)
from tasks.errors import SettingError

DEFAULT_TEMPLATES = ("plain", "ubuntu")
"""What runs when neither an image nor a template is named: the first of them that the market has."""
FALLBACKS = 3
"""So many of the cheapest fits decide how much a lease may cost when no price was named."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z", re.ASCII)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

_WHICH = (
    click.option(
        "--spec",
        default="",
        help='What machine, in one line: "2xRTX4090 vram>=24 price<=1.2 region=EU perf>=0.9".',
    ),
    click.option("--model", help="E.g. RTX4090."),
    click.option("--count", type=click.IntRange(1, 64), help="Cards; the whole machine if not given."),
    click.option("--min-vram", type=click.FloatRange(0, 10_000), help="GiB of each card."),
    click.option(
        "--max-price", help="USD an hour for all cards: never more, whichever machine it gets to be."
    ),
    click.option("--region", help="As `ls` shows it."),
    click.option("--min-performance", type=click.FloatRange(0, 10), help="Proved bandwidth over the class."),
    click.option("--min-reliability", type=click.FloatRange(0, 1), help="Share of epochs passed."),
    click.option(
        "--mode", type=click.Choice(["on-demand", "reserved", "spot"]), default="on-demand", show_default=True
    ),
    click.option("--bid", help="Of a spot lease: USD an hour for all cards."),
    click.option(
        "--hours",
        type=click.IntRange(1, 87_600),
        help="Of a reserved lease: hours committed, paid stopped or not.",
    ),
)
_WHAT = (
    click.option("--image", help="E.g. ubuntu:24.04, with a digest if you like."),
    click.option(
        "--template", shell_complete=complete_templates, help="A pod that is kept: `subnet rent templates`."
    ),
    click.option(
        "--command", "words", help="Instead of the image's own; words as in a shell, but no shell reads them."
    ),
    click.option("--entrypoint", help="Instead of the image's own."),
    click.option(
        "--env",
        "variables",
        multiple=True,
        metavar="NAME[=VALUE]",
        help="NAME alone takes the value that it has here.",
    ),
    click.option(
        "--env-file", "env_files", multiple=True, type=FILE, help="Lines of NAME=VALUE or NAME; for secrets."
    ),
    click.option(
        "--port",
        "ports",
        multiple=True,
        metavar="PORT[/udp]",
        help="To be reached from outside; SSH always is.",
    ),
    click.option("--volume", "volumes", multiple=True, metavar="NAME:/path", help="Outlives the lease."),
    click.option("--shm", help="Shared memory, e.g. 16g."),
    click.option("--memory", help="Limit, e.g. 64g."),
    click.option("--cpus", type=click.FloatRange(0.1, 4_096), help="Limit."),
    click.option(
        "--key",
        "keys",
        multiple=True,
        type=FILE,
        help="A public key's file; else those of `subnet rent keys`, or your own.",
    ),
    click.option("--registry-user", help="Of a private image; the password comes from a file."),
    click.option("--registry-password-file", type=FILE),
)
_TERMS = (
    click.option("--ttl", help="Ends so long after the hand-over: 2h, 1d12h."),
    click.option("--until", help="Ends then: 18:30 on your clock, or 2026-10-09T18:30."),
    click.option("--cap", help="Ends before it costs more USD than this in all."),
    click.option(
        "--idle",
        metavar="PERCENT/TIME",
        help="Stops when every card is used less than that for so long: 5%/30m.",
    ),
    click.option("--detach", is_flag=True, help="Do not wait until it is ready."),
    click.option("--yes", is_flag=True, help="Do not ask whether the price is right."),
    click.option(
        "--request-id", help="Names this request: typed again with the same name it is the same lease."
    ),
)


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed((*_WHICH, *_WHAT, *_TERMS)):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class Order:
    """A lease that is about to be asked for, and what it will cost at most."""

    body: Document
    first: Offer
    price_micro_usd: int
    ceiling_micro_usd: int
    count: int


@click.command()
@click.argument("machine", required=False)
@_options
@verb
def command(
    desk: Desk, *, machine: str | None, yes: bool, detach: bool, request_id: str | None, **options: Any
) -> None:
    """Rent a machine, by the name that `ls` shows or by a specification, and wait until SSH works.

    When a machine fails, the next one that fits is tried; nothing is charged before the hand-over. You are asked once
    whether the price is right, and whatever machine it gets to be costs no more than what you were shown. Ctrl-C while
    you wait leaves the lease to itself.

    \b
    Examples:
      subnet rent up --spec "2xRTX4090 vram>=24 price<=1.2" --image ubuntu:24.04 --ttl 2h
      subnet rent up rack1-a --count 1 --template pytorch --volume data:/data --cap 20 --idle 5%/30m
      subnet rent up --model H100 --count 8 --mode spot --bid 9.50 --until 18:30 --env-file .env --yes
    """
    if request_id is not None and not _REQUEST_ID.match(request_id):
        raise SettingError("--request-id", request_id[:60], "up to 100 letters, digits and ._-")
    spec = _spec(machine, options)
    body = _body(desk, options)
    with desk.open() as client:
        order = _ordered(client, spec, body, options)
        body["pod"] = {**_default(client, _pod_of(body)), **_keys(desk, client, options["keys"])}
        desk.is_sure(_question(order, options), is_yes=yes)
        lease = Lease.of(client.post("/v1/leases", order.body, request_id=request_id or ""))
        if not detach:
            lease = _waited(desk, client, lease)
    if desk.is_json:
        desk.answer(lease.document)
        return
    for line in lines_of(lease, desk.now())[:2] if detach else ready_lines(lease):
        click.echo(line)
    if detach:
        click.echo(f"subnet rent show {lease.short}")


def _spec(machine: str | None, options: Mapping[str, Any]) -> Spec:
    price = options["max_price"]
    return with_options(
        parse(options["spec"]),
        machine=machine,
        model=options["model"],
        count=options["count"],
        min_vram_gib=options["min_vram"],
        max_micro_usd_per_hour=micro_usd_of("--max-price", price) if price else 0,
        region=options["region"],
        min_performance=options["min_performance"],
        min_reliability=options["min_reliability"],
    )


def _body(desk: Desk, options: Mapping[str, Any]) -> Document:
    """All of the lease's JSON but the machine and the keys: what is wrong in it is told before anything is asked."""
    environment, exposed = environment_of(options["variables"], options["env_files"], desk.environment)
    for name in exposed:
        desk.say(
            f"Warning: the value of {name} stands in your command line, where others can see it; use --env-file"
        )
    pod: Document = {
        "environment": environment or None,
        "template": options["template"],
        "image": options["image"],
        "entrypoint": options["entrypoint"],
        "words": words_of(options["words"]) if options["words"] else None,
        "ports": [port_of(port) for port in options["ports"]] or None,
        "mounts": [mount_of(volume) for volume in options["volumes"]] or None,
        "shm_bytes": size_of("--shm", options["shm"]) if options["shm"] else None,
        "memory_bytes": size_of("--memory", options["memory"]) if options["memory"] else None,
        "cpus": options["cpus"],
        "registry": registry_of(options["registry_user"], options["registry_password_file"]),
    }
    return {
        "pod": {name: value for name, value in pod.items() if value is not None},
        "terms": terms_of(options["ttl"], options["cap"], options["idle"]),
        "ends_by": end_of(options["until"], desk.now()),
    }


def registry_of(user: str | None, password_file: Path | None) -> Document | None:
    """Who may pull a private image; both or none."""
    if user is None and password_file is None:
        return None
    if user is None or password_file is None:
        raise SettingError("--registry-user and --registry-password-file", "one of them", "both or none")
    return {"user": user, "password": read_text(password_file, "--registry-password-file").rstrip("\r\n")}


def _pod_of(body: Document) -> Document:
    pod = body["pod"]
    assert isinstance(pod, dict)
    return pod


def _default(client: Client, pod: Document) -> Document:
    """The pod, with a template of the market where neither that nor an image was named."""
    if "image" in pod or "template" in pod:
        return pod
    names = [text(item, "name") for item in client.pages("/v1/templates")]
    found = next((name for name in DEFAULT_TEMPLATES if name in names), None)
    if found is None:
        raise SettingError("--image", "not given", "an image, or a --template of `subnet rent templates`")
    return {**pod, "template": found}


def _keys(desk: Desk, client: Client, files: tuple[Path, ...]) -> Document:
    """The public keys that are let in: those given, else those kept with the market, else this computer's own."""
    if files:
        return {"public_keys": [public_key_of(file) for file in files], "ssh_keys": []}
    if next(client.pages("/v1/ssh-keys", most=1), None) is not None:
        return {}
    own = usual_key(Path(desk.environment.get("HOME") or "~").expanduser())
    if own is None:
        raise SettingError(
            "--key", "not given", "a public key: --key FILE, `subnet rent keys add`, or one in ~/.ssh"
        )
    desk.say(f"{own} is let in; `subnet rent keys add` keeps it for all your leases")
    return {"public_keys": [public_key_of(own)]}


def _ordered(client: Client, spec: Spec, body: Document, options: Mapping[str, Any]) -> Order:
    """The wish in the market's words, with a ceiling for its price: what the user will be asked."""
    query: Mapping[str, Any] = {"limit": 1_000, "sort": "price"}
    named, fits = fitting(spec, [Offer.of(item) for item in client.pages("/v1/offers", query)])
    price = fits[0].price(named.count)
    ceiling = named.max_micro_usd_per_hour or fits[:FALLBACKS][-1].price(named.count)
    if options["mode"] != "spot":
        named = replace(named, max_micro_usd_per_hour=ceiling)
    body["wish"] = wish_of(named, options["mode"], options["bid"], options["hours"] or 0)
    return Order(body, fits[0], price, ceiling, named.count or fits[0].card_count)


def _question(order: Order, options: Mapping[str, Any]) -> str:
    what = f"{plural(order.count, 'card')} {order.first.model} of {short_machine(order.first.executor_key)}"
    if options["mode"] == "spot":
        return f"{what}, spot, at a bid of {options['bid']} USD/h?"
    price = f"{usd(order.price_micro_usd)} USD/h"
    if order.ceiling_micro_usd > order.price_micro_usd:
        price += f", or another that fits for {usd(order.ceiling_micro_usd)} USD/h at most"
    if options["mode"] == "reserved":
        hours = options["hours"] or 0
        return f"{what}, {price}, less the discount for {hours} hours: at most {usd(order.ceiling_micro_usd * hours)} USD?"
    return f"{what}, {price}?"


def _waited(desk: Desk, client: Client, lease: Lease) -> Lease:
    """The lease when it is ready, with a line for each step; what Ctrl-C leaves behind is told."""
    began, lines = desk.monotonic(), stderr_lines()
    desk.say(f"{lease.lease_id} is asked for")
    try:
        lease = until_ready(client, lease, lines.show)
    except KeyboardInterrupt:
        lines.close()
        name = lease.short
        desk.say(
            f"lease {lease.lease_id} goes on without you: `subnet rent show {name}`; `subnet rent rm {name}` ends it"
        )
        raise click.exceptions.Abort from None
    finally:
        lines.close()
    terms = lease.document.get("terms")
    ttl_s = integer(terms, "ttl_s") if isinstance(terms, dict) else 0
    limit = f", for {duration(ttl_s)}" if ttl_s else ""
    took_s = desk.monotonic() - began
    desk.say(f"ready after {took_s:.1f} s, {usd(lease.micro_usd_per_hour)} USD/h{limit}")
    return lease
