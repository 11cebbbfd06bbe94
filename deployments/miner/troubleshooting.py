"""The table of every reason in docs/miner.md, read off the code that gives them: `python -m deployments.miner.troubleshooting`.

    sources of tasks/ -> calls that make a Reason -> (code, effect, mend), each call of a helper followed to what it makes

Reading the source and not a list beside it is what keeps the table whole: a reason that is new in the code is new here.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType, ModuleType

import tasks
from storage.records import Reason, Severity

PAGE = Path(__file__).parents[2] / "docs" / "miner.md"
MARK = "<!-- written by `python -m deployments.miner.troubleshooting`; do not edit below -->"

OUR_OWN = frozenset({"WEIGHTS_DIFFER", "PRICES_STALE"})
"""Incidents of a validator, which no miner is told."""
PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "The agent and what it announces": ("tasks.edges", "tasks.discovery"),
        "The machine": ("tasks.inspection",),
        "The proof of the cards": ("tasks.proof",),
        "Swaps of cards": ("tasks.swaps",),
        "Told by `subnet miner check` alone": ("tasks.onboarding",),
        "Pay": ("tasks",),
    }
)
"""Title and the modules whose reasons stand under it; the first that fits counts."""
EFFECTS: Mapping[str, str] = MappingProxyType(
    {"FAIL": "not paid", "NO_VERDICT": "no verdict", "WARN": "told only, or less pay down to none"}
)
DOOR: Mapping[str, str] = MappingProxyType(
    {
        "AUTH_REPLAYED": "Nothing to do: the validator asks with a new nonce. If it goes on, two agents share one nonce store.",
        "AUTH_FUTURE": "Set the clocks of both machines by NTP.",
        "AUTH_STALE": "Set the clocks of both machines by NTP.",
        "AUTH_RECEIVER": "Start the agent with the hotkey that is registered for this endpoint.",
        **dict.fromkeys(
            ("AUTH_BAD_SIGNATURE", "AUTH_DUPLICATE", "AUTH_MISSING", "AUTH_TARGET", "AUTH_TOO_LONG"),
            "See that no proxy before the agent rewrites path, headers or body; else whoever asked is no validator.",
        ),
        **dict.fromkeys(
            (
                *("AUTH_CRYPTO", "AUTH_HOTKEY", "AUTH_NONCE", "AUTH_SIGNATURE", "AUTH_VERSION"),
                *("AUTH_WEAK_KEY", "AUTH_WRAPPED"),
            ),
            "Nothing to do: whoever asked is no validator of ours.",
        ),
        "BAD_REQUEST": "Run an agent of the current version; if it is one, the validator's is not.",
        "CA_FILE": "Let the agent read the key that ssh_ca names: an ed25519 private key of its own user, mode 0600.",
        "ENCODED": "Take the proxy away that compresses requests before the agent.",
        "EXPIRED": "Set the clocks of both machines by NTP.",
        "EXPIRY_TOO_FAR": "Raise max_grant_s in the agent's file to 1000 or more.",
        "GONE": "See that the network between validator and agent does not drop connections.",
        "NOT_ADMITTED": "The detail says why: a permit, the stake (min_validator_stake_tao) or your list (allowed_validators).",
        "NO_RENTALS": "Set rentals = true in the agent's file, if the machines are to be rented.",
        "NO_SUCH_METHOD": "Nothing to do: whoever asked is no validator of ours.",
        "NO_SUCH_PATH": "Set folder in the agent's file if it is /v1/results; else whoever asked is no validator of ours.",
        "PAUSED": "Nothing to do while no new lease is wanted; else `subnet miner machines resume`.",
        "STORE_AWAY": "See that the agent's folder can be written and its disk is not full.",
        "TOO_LARGE": "Nothing to do: whoever asked is no validator of ours.",
        "TOO_MANY_LEASES": "Raise max_leases in the agent's file, if all of them are wanted; `subnet miner visits` shows whose they are.",
        "TOO_MANY": "See that no proxy lets all validators come from one address.",
        "TOO_SLOW": "See that the network between validator and agent carries a few KiB within seconds.",
        "UNKNOWN_EXECUTOR": "Nothing to do: the machine was taken out of the agent's file.",
    }
)
"""What the agent answers to who knocks, as MINER_REFUSED shows it."""
_CODE = re.compile(r"[A-Z][A-Z0-9_]{2,63}")
_TABLE = ("| code | effect | what to do |", "|---|---|---|")


@dataclass(slots=True)
class Found:
    """One code, with every effect that it may have and every mend that the code gives it."""

    code: str
    module: str
    effects: set[str] = field(default_factory=set)
    mends: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Maker:
    """How a function makes a Reason: where its call has code, severity and mend, or the value that is always the same."""

    positions: Mapping[str, int]
    fixed: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Source:
    """A module, its tree, and the function around each of its calls."""

    module: ModuleType
    calls: tuple[tuple[ast.Call, ast.FunctionDef | None], ...]
    functions: Mapping[str, ast.FunctionDef]


_REASON = _Maker({"code": 0, "severity": 1, "mend": 4}, {})


@cache
def found_reasons() -> tuple[dict[str, Found], list[str]]:
    """Every code of tasks/ by its name, and the calls whose code is only known when it runs (module and line)."""
    sources = [_read(name) for name in _modules()]
    makers = _makers(sources)
    every: dict[str, Found] = {}
    unknown: list[str] = []
    for source in sources:
        for call, around in source.calls:
            maker = _maker_of(call, source, makers)
            if maker is None:
                continue
            codes = _values("code", call, maker, source, around)
            if not codes and not _is_passed_on(call, around):
                unknown.append(f"{source.module.__name__}:{call.lineno}")
            for code in codes:
                one = every.setdefault(code, Found(code, source.module.__name__))
                one.effects.update(_values("severity", call, maker, source, around))
                _add(one.mends, _values("mend", call, maker, source, around))
    for source in sources:
        for code, mend in getattr(source.module, "MENDS", {}).items():
            if isinstance(mend, str) and _CODE.fullmatch(code):
                one = every.setdefault(code, Found(code, source.module.__name__, {"FAIL"}))
                _add(one.mends, (mend,))
    return {code: one for code, one in every.items() if code not in OUR_OWN}, unknown


def reference() -> str:
    """The tables, as Markdown."""
    every, _ = found_reasons()
    parts: defaultdict[str, list[Found]] = defaultdict(list)
    for code in sorted(every):
        parts[_part_of(every[code].module)].append(every[code])
    lines = ["## Every reason, and what to do about it"]
    for title in PARTS:
        lines += ["", f"### {title}", "", *_TABLE, *(_row(one) for one in parts[title])]
    lines += [
        "",
        "### Refusals of the agent (in the `got` of MINER_REFUSED)",
        "",
        "| code | what to do |",
        "|---|---|",
    ]
    lines += [f"| `{code}` | {mend} |" for code, mend in sorted(DOOR.items())]
    return "\n".join(lines) + "\n"


def _row(one: Found) -> str:
    effects = ", ".join(text for name, text in EFFECTS.items() if name in one.effects) or EFFECTS["FAIL"]
    return f"| `{one.code}` | {effects} | {' / '.join(one.mends).replace('|', '/')} |"


def _part_of(module: str) -> str:
    return next(title for title, names in PARTS.items() if module.startswith(names))


# --- reading the sources ---------------------------------------------------------------------------


def _modules() -> Iterator[str]:
    root = Path(tasks.__path__[0])
    for path in sorted(root.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "Reason" in text or "reason(" in text:
            yield ".".join(("tasks", *path.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")


def _read(name: str) -> _Source:
    module = importlib.import_module(name)
    assert module.__file__ is not None
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    return _Source(
        module,
        tuple(_calls(tree, None)),
        {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)},
    )


def _calls(
    node: ast.AST, around: ast.FunctionDef | None
) -> Iterator[tuple[ast.Call, ast.FunctionDef | None]]:
    if isinstance(node, ast.Call):
        yield node, around
    inner = node if isinstance(node, ast.FunctionDef) else around
    for child in ast.iter_child_nodes(node):
        yield from _calls(child, inner)


def _makers(sources: Iterable[_Source]) -> dict[tuple[str, str], _Maker]:
    """The functions that are given a code and make a Reason of it, by module and name; helpers of helpers too."""
    makers: dict[tuple[str, str], _Maker] = {}
    listed = tuple(sources)
    before = -1
    while before != len(makers):
        before = len(makers)
        for source in listed:
            for call, around in source.calls:
                if around is not None and (maker := _maker_of(call, source, makers)) is not None:
                    made = _made_by(call, maker, source, around)
                    if made is not None:
                        makers.setdefault((source.module.__name__, around.name), made)
    return makers


def _made_by(call: ast.Call, maker: _Maker, source: _Source, around: ast.FunctionDef) -> _Maker | None:
    if not _is_passed_on(call, around):
        return None
    names = [a.arg for a in around.args.args if a.arg not in {"self", "cls"}]
    positions, fixed = {}, {}
    for part in ("code", "severity", "mend"):
        given = _argument(part, call, maker)
        if isinstance(given, ast.Name) and given.id in names:
            positions[part] = names.index(given.id)
        else:
            fixed[part] = _values(part, call, maker, source, around)
    return _Maker(positions, fixed)


def _is_passed_on(call: ast.Call, around: ast.FunctionDef | None) -> bool:
    """Whether the code is an argument of the function around: its callers are looked at instead."""
    names = {a.arg for a in around.args.args} if around is not None else set()
    first = next((k.value for k in call.keywords if k.arg == "code"), call.args[0] if call.args else None)
    return isinstance(first, ast.Name) and first.id in names


def _maker_of(call: ast.Call, source: _Source, makers: Mapping[tuple[str, str], _Maker]) -> _Maker | None:
    match call.func:
        case ast.Name(id=name):
            found = getattr(source.module, name, None)
        case ast.Attribute(value=ast.Name(id="self"), attr=name):
            return makers.get((source.module.__name__, name))
        case _:
            return None
    if found is Reason:
        return _REASON
    return makers.get((getattr(found, "__module__", ""), getattr(found, "__name__", "")))


# --- reading values --------------------------------------------------------------------------------


def _values(
    part: str, call: ast.Call, maker: _Maker, source: _Source, around: ast.FunctionDef | None
) -> tuple[str, ...]:
    if part in maker.fixed:
        return maker.fixed[part]
    found = _texts(_argument(part, call, maker), source, around)
    return tuple(text for text in found if _CODE.fullmatch(text)) if part != "mend" else found


def _argument(part: str, call: ast.Call, maker: _Maker) -> ast.expr | None:
    keyword = next((k.value for k in call.keywords if k.arg == part), None)
    at = maker.positions.get(part)
    return keyword or (call.args[at] if at is not None and at < len(call.args) else None)


def _texts(  # noqa: PLR0911  a line for each kind of expression
    node: ast.expr | None, source: _Source, around: ast.FunctionDef | None
) -> tuple[str, ...]:
    """Every text that an expression may be, as far as the source tells; what is filled in later is three dots."""
    match node:
        case ast.Constant(value=str() as text):
            return (text,)
        case ast.JoinedStr(values=parts):
            return ("".join(str(p.value) if isinstance(p, ast.Constant) else "..." for p in parts),)
        case ast.IfExp(body=one, orelse=other):
            return (*_texts(one, source, around), *_texts(other, source, around))
        case ast.Attribute(value=ast.Name(id="Severity"), attr=name):
            return (name,)
        case ast.Subscript(value=ast.Name(id=name)):
            table = getattr(source.module, name, {})
            values = tuple(map(str, table.values())) if isinstance(table, Mapping) else ()
            return values if all(map(_CODE.fullmatch, values)) else ()
        case ast.Name(id=name):
            return _named(name, source, around)
    return ()


def _named(name: str, source: _Source, around: ast.FunctionDef | None) -> tuple[str, ...]:
    """A constant of the module, or what the function around gives the name."""
    for node in ast.walk(around) if around is not None else ():
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == name for t in node.targets
        ):
            return _texts(node.value, source, around)
    value = getattr(source.module, name, None)
    return (value.name,) if isinstance(value, Severity) else (value,) if isinstance(value, str) else ()


def _add(known: list[str], more: Iterable[str]) -> None:
    known.extend(text for text in more if text not in known)


if __name__ == "__main__":
    head, _, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    PAGE.write_text(f"{head}{MARK}\n\n{reference()}", encoding="utf-8")
