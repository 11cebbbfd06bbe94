"""The lying machines' interpreter: Python that lies about the cards or the computing of its prover.

    liars.py folds -I -c PROGRAM             its cards have half the memory that they claim
    liars.py alias=GPU-... -I -c PROGRAM     its card is another listing's, by a name of its own
    liars.py lazy -I -c PROGRAM              it computes a tenth of the product

It stands on the machine in the place of the announced interpreter and is called like it, `-I -c PROGRAM`. It runs
the very program that the validator sends; where the real prover's modules are imported, one thing about them is changed.
Everything else, protocol, hashes and trees, is the honest prover's own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import MappingProxyType, ModuleType
from typing import Any

PATIENCE_S = 5.0
KEPT_OF_TEN = 1


def main(arguments: Sequence[str]) -> None:
    """Run `LIE -I -c PROGRAM [arguments]` as Python does without its first word, with the lie in place."""
    name, _, about = arguments[0].partition("=") if arguments else ("", "", "")
    if name not in LIES or len(arguments) < 4 or list(arguments[1:3]) != ["-I", "-c"]:
        sys.exit(f"usage: {'|'.join(LIES)}[=UUID] -I -c PROGRAM [ARGUMENT...]")
    sys.meta_path.insert(0, _Watcher(LIES[name](about)))
    sys.argv = ["-c", *arguments[4:]]
    exec(compile(arguments[3], "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102  what `-c` means


# --- the lies --------------------------------------------------------------------------------------


def _folds(_about: str) -> dict[str, Change]:
    """Half of every reservation, filled, so that line i of D stands for the lines 2 i and 2 i + 1.

    What it can't do is open a segment that the validator walks through all of D.
    """
    return {"kernels.cards": _halve_cards, "kernels.cpu": _fill_what_is_there}


def _halve_cards(cards: Any) -> None:
    """Reserve and hold half of what is asked for."""
    honest: Callable[[Any, int], Any] = cards.SimulatedCard.allocate
    cards.SimulatedCard.allocate = lambda card, lines: honest(card, lines // 64 * 32)


def _fill_what_is_there(cpu: Any) -> None:
    """Fill as many lines as the memory has; the walk then folds its addresses into them by itself."""
    honest: Callable[[Any, int, int, Any], None] = cpu.fill
    cpu.fill = lambda seed, _lines, w, out: honest(seed, out.shape[0], w, out)


def _alias(real_uuid: str) -> dict[str, Change]:
    """The card of another listing, under the name that this one gave it: its memory is there once only."""

    def change(cards: Any) -> None:
        honest: Callable[[Any, str], Any] = cards.FolderCards.open
        cards.FolderCards.open = lambda source, _uuid: _after_the_other(honest(source, real_uuid), cards)

    return {"kernels.cards": change}


def _after_the_other(card: Any, cards: Any) -> Any:
    """The card, once the other listing has filled it: the first of the two is to look honest."""
    end = time.monotonic() + PATIENCE_S
    while not any(cards._live_reservations(card._folder)) and time.monotonic() < end:  # noqa: SLF001  a lie knows all
        time.sleep(0.02)
    return card


def _lazy(_about: str) -> dict[str, Change]:
    """One tile of ten is computed, the others are left empty: eight opened ones tell."""

    def change(multiply: Any) -> None:
        honest: Callable[..., Any] = multiply.multiply

        def tenth(*of: Any) -> Any:
            tiles = honest(*of)
            for first in range(10):
                if first >= KEPT_OF_TEN:
                    tiles[first::10] = 0
            return tiles

        multiply.multiply = tenth

    return {"kernels.multiply": change}


Change = Callable[[Any], None]
"""What is done to a module once it is loaded."""
LIES: Mapping[str, Callable[[str], dict[str, Change]]] = MappingProxyType(
    {"folds": _folds, "alias": _alias, "lazy": _lazy}
)


# --- how a module is changed -----------------------------------------------------------------------


class _Watcher(MetaPathFinder):
    """Finds modules as Python does, and changes some of them once they are loaded."""

    def __init__(self, lies: dict[str, Change]) -> None:
        self._lies = lies

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's own spec, its loader wrapped; None for all others."""
        lie = self._lies.get(fullname)
        spec = None if lie is None else PathFinder.find_spec(fullname, path, target)
        if lie is not None and spec is not None and spec.loader is not None:
            spec.loader = _LyingLoader(spec.loader, lie)
        return spec


class _LyingLoader(Loader):
    """A module's own loader, and then the lie."""

    def __init__(self, honest: Loader, lie: Callable[[Any], None]) -> None:
        self._honest, self._lie = honest, lie

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the honest loader does."""
        return self._honest.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Load honestly, then change it."""
        self._honest.exec_module(module)
        self._lie(module)


if __name__ == "__main__":
    main(sys.argv[1:])
