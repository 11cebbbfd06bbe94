"""From what a renter types to the body of a lease: the wish, the pod, the terms. Pure, but for the files it names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from deployments.renting.quantities import idle_of, micro_usd_of, moment_of, seconds_of
from deployments.renting.spec import Spec, is_model, squashed
from deployments.renting.wire import Document, Offer
from tasks.errors import NothingFits, SettingError

MAX_FILE_BYTES = 1 << 20
MAX_KEY_BYTES = 8_192
USUAL_KEYS = ("id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub")
SECRET_WORDS = ("TOKEN", "SECRET", "PASSW", "KEY", "CREDENTIAL")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z", re.ASCII)
_SIZE = re.compile(r"(\d{1,6})([gm])(?:i?b)?\Z", re.ASCII | re.IGNORECASE)
_PORT = re.compile(r"(\d{1,5})(?:/(tcp|udp))?\Z", re.ASCII)
_VOLUME = re.compile(r"([a-z0-9][a-z0-9-]{0,62}):(/[^\0\n,:\"]*)\Z")
_NAMED = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z", re.ASCII)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}\Z", re.ASCII)
_PUBLIC = re.compile(r"(ssh-|ecdsa-|sk-)[a-z0-9@.-]+ [A-Za-z0-9+/]{40,}={0,2}( .*)?\Z", re.ASCII)


def with_options(spec: Spec, **options: object) -> Spec:
    """The spec with what was given by options; SettingError where both say something else."""
    given = {name: value for name, value in options.items() if value}
    for name, value in given.items():
        if getattr(spec, name) not in (0, "", value):
            raise SettingError(
                f"--spec and the option for {name}", f"{getattr(spec, name)} and {value}", "one of them"
            )
    return replace(spec, **given)  # type: ignore[arg-type]  # each option has its field's type


def fitting(spec: Spec, offers: Sequence[Offer]) -> tuple[Spec, list[Offer]]:
    """The spec with names as the market has them, and the free machines that fit, the cheapest first.

    NothingFits, with what stands in the way, when there are none.
    """
    named = _named_as_the_market(spec, offers)
    kept = [offer for offer in offers if _fits(named, offer)]
    free = [offer for offer in kept if offer.cards_for(named.count)]
    if not free:
        raise NothingFits(_why_nothing(named, offers, kept))
    return named, sorted(free, key=lambda offer: (offer.price(named.count), -offer.reliability))


def _named_as_the_market(spec: Spec, offers: Sequence[Offer]) -> Spec:
    """`RTX4090` and `rack1-a` become the names that the market's list has; SettingError when they could be several."""
    models = (
        sorted({o.model for o in offers if squashed(o.model) == squashed(spec.model)}) if spec.model else []
    )
    alike = sorted({o.model for o in offers if is_model(o.model, spec.model)})
    if spec.model and not models and alike:
        if len(alike) > 1:
            raise SettingError("the model", spec.model, f"one of {', '.join(alike[:8])}")
        models = alike
    keys = (
        sorted({o.executor_key for o in offers if is_machine(o.executor_key, spec.machine)})
        if spec.machine
        else []
    )
    if len(keys) > 1:
        raise SettingError("the machine", spec.machine, f"more of its name: it may be {', '.join(keys[:4])}")
    return replace(spec, model=models[0] if models else spec.model, machine=keys[0] if keys else spec.machine)


def is_machine(executor_key: str, wanted: str) -> bool:
    """Whether a machine is meant by its key, its own name, or `ls`'s short form of the key."""
    miner, _, name = executor_key.partition("/")
    return wanted in {executor_key, name, f"{miner[:4]}..{miner[-4:]}/{name}"}


def _fits(spec: Spec, offer: Offer) -> bool:
    return (
        spec.machine in ("", offer.executor_key)
        and spec.model in ("", offer.model)
        and offer.card_count >= max(spec.count, 1)
        and offer.vram_gib >= spec.min_vram_gib
        and spec.max_micro_usd_per_hour >= offer.price(spec.count) * (spec.max_micro_usd_per_hour > 0)
        and spec.region.lower() in ("", offer.region.lower())
        and offer.performance >= spec.min_performance
        and offer.reliability >= spec.min_reliability
    )


def _why_nothing(spec: Spec, offers: Sequence[Offer], kept: Sequence[Offer]) -> str:
    if kept:
        return f"{len(kept)} machines fit, but none has the cards free now: try again soon, or fewer cards"
    if not offers:
        return "the market offers no machine now: it does after its next epoch that proves some"
    models = sorted({offer.model for offer in offers})
    if spec.model and spec.model not in models:
        return f"no machine has the model {spec.model}; there are {', '.join(models[:12])}"
    return (
        f"none of the {len(offers)} machines fits all of it: loosen a condition (`subnet rent ls` shows them)"
    )


def wish_of(spec: Spec, mode: str, bid: str | None, hours: int) -> Document:
    """The wish's JSON; SettingError when a bid or hours do not belong to the mode."""
    if (mode == "spot") != (bid is not None):
        raise SettingError("--bid", bid or "not given", "one with --mode spot, and only there")
    if (mode == "reserved") != (hours > 0):
        raise SettingError("--hours", str(hours or "not given"), "some with --mode reserved, and only there")
    return {
        "executor_key": spec.machine or None,
        "model": spec.model,
        "card_count": spec.count,
        "min_vram_gib": spec.min_vram_gib,
        "max_micro_usd_per_hour": spec.max_micro_usd_per_hour,
        "min_performance": spec.min_performance,
        "min_reliability": spec.min_reliability,
        "region": spec.region,
        "mode": mode.replace("-", "_"),
        "bid_micro_usd_per_hour": micro_usd_of("--bid", bid) if bid is not None else 0,
        "hours": hours,
    }


def terms_of(ttl: str | None, cap: str | None, idle: str | None) -> Document:
    """The terms' JSON."""
    below_percent, for_s = idle_of("--idle", idle) if idle else (0.0, 0)
    return {
        "ttl_s": seconds_of("--ttl", ttl) if ttl else 0,
        "cap_micro_usd": micro_usd_of("--cap", cap) if cap else 0,
        "idle_below_percent": below_percent,
        "idle_for_s": for_s,
    }


def end_of(until: str | None, now: datetime) -> str | None:
    """The absolute end's JSON."""
    return None if until is None else moment_of("--until", until, now).isoformat().replace("+00:00", "Z")


def environment_of(
    given: Iterable[str], files: Iterable[Path], own: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """The container's environment, and the names of what looks secret and stood in the command line.

    `NAME=VALUE` is a value, `NAME` takes our own environment's; a file has one of both a line.
    """
    found: dict[str, str] = {}
    for file in files:
        for number, line in enumerate(read_text(file, "--env-file").split("\n"), 1):
            plain = line.rstrip("\r")
            if plain.strip() and not plain.lstrip().startswith("#"):
                name, value = _variable(plain.strip(), own, f"line {number} of {file}")
                found[name] = value
    exposed = []
    for word in given:
        name, value = _variable(word, own, "--env")
        found[name] = value
        if "=" in word and any(secret in name.upper() for secret in SECRET_WORDS):
            exposed.append(name)
    return found, exposed


def _variable(word: str, own: Mapping[str, str], key: str) -> tuple[str, str]:
    name, is_value, value = word.partition("=")
    if not _NAME.match(name):
        raise SettingError(key, name[:40], "NAME=VALUE, or NAME for the value that it has here")
    if not is_value:
        if name not in own:
            raise SettingError(key, name, "a name that is set in your environment, or NAME=VALUE")
        value = own[name]
    if "\0" in value or "\n" in value or "\r" in value:
        raise SettingError(key, f"{name}=(not shown)", "a value of one line")
    return name, value


def size_of(key: str, text: str) -> int:
    """Bytes of `16g` or `512m`, in powers of 1,024."""
    found = _SIZE.match(text.strip())
    if not found or int(found[1]) == 0:
        raise SettingError(key, text[:40], "a size like 16g or 512m")
    return int(found[1]) << (30 if found[2].lower() == "g" else 20)


def port_of(text: str) -> Document:
    """A port of the container, `8888` or `5353/udp`."""
    found = _PORT.match(text)
    if not found or not 1 <= int(found[1]) <= 65_535:
        raise SettingError("--port", text[:40], "a port like 8888 or 5353/udp")
    return {"inside": int(found[1]), "protocol": found[2] or "tcp"}


def mount_of(text: str) -> Document:
    """A volume and where it is seen, `data:/data`."""
    found = _VOLUME.match(text)
    if not found:
        raise SettingError("--volume", text[:60], "NAME:/path, the name of a-z, 0-9 and -")
    return {"volume": found[1], "at": found[2]}


def checked_name(key: str, text: str) -> str:
    """A name of a volume, a template, a key; it becomes part of an address."""
    if not _NAMED.match(text):
        raise SettingError(key, text[:60], "a name of a-z, 0-9 and -, no dash in front")
    return text


def checked_id(key: str, text: str) -> str:
    """A name that the market chose; it becomes part of an address."""
    if not _ID.match(text):
        raise SettingError(key, text[:60], "a name as the market's list has it")
    return text


def words_of(command: str) -> list[str]:
    """The words of a command, split as a shell would; no shell reads them."""
    try:
        return shlex.split(command)
    except ValueError as error:
        raise SettingError("--command", command[:60], f"words as in a shell ({error})") from None


def public_key_of(path: Path) -> str:
    """The one line of a public key's file; a private key's file is not read on, and nothing of it is shown."""
    lines = [line for line in read_text(path, "--key", MAX_KEY_BYTES).splitlines() if line.strip()]
    if len(lines) != 1 or not _PUBLIC.match(lines[0].strip()):
        raise SettingError("--key", str(path)[:100], "a file with one public key, e.g. ~/.ssh/id_ed25519.pub")
    return lines[0].strip()


def usual_key(home: Path) -> Path | None:
    """The public key that ssh would offer by itself; None when there is none."""
    return next((path for name in USUAL_KEYS if (path := home / ".ssh" / name).is_file()), None)


def own_identity(home: Path, public_lines: Iterable[str]) -> str | None:
    """The private key in `~/.ssh` whose public one a lease lets in; None when there is none, and ssh chooses itself."""
    let_in = {" ".join(line.split()[:2]) for line in public_lines}
    for path in sorted((home / ".ssh").glob("*.pub")):
        try:
            line = path.read_text(encoding="utf-8", errors="replace")[:MAX_KEY_BYTES]
        except OSError:
            continue
        if " ".join(line.split()[:2]) in let_in and path.with_suffix("").is_file():
            return str(path.with_suffix(""))
    return None


def read_text(path: Path, key: str, most_bytes: int = MAX_FILE_BYTES) -> str:
    """A small file's text; SettingError when it is none."""
    try:
        with path.expanduser().open("rb") as file:
            data = file.read(most_bytes + 1)
        if len(data) > most_bytes:
            raise SettingError(key, str(path)[:100], f"a file of at most {most_bytes} bytes")
        return data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(
            key, str(path)[:100], f"a text file that can be read ({type(error).__name__})"
        ) from None
