"""The folding machine's interpreter: Python that lies about the memory of its cards.

It stands on the machine in the place of the announced interpreter and is called like it, `-I -c PROGRAM`. It runs
the very program that the validator sends; only where the real prover is imported, it halves every reservation and
fills just that half, so that line i of D stands for the lines 2 i and 2 i + 1. Everything else, protocol, hashes and
trees, is the honest prover's own. What it can't do is open a segment that the validator walks through all of D.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


def main(arguments: Sequence[str]) -> None:
    """Run `-I -c PROGRAM [arguments]` as Python does, with the lie in place."""
    if len(arguments) < 3 or list(arguments[:2]) != ["-I", "-c"]:
        sys.exit("usage: -I -c PROGRAM [ARGUMENT...]")
    sys.meta_path.insert(0, _Watcher({"kernels.cards": _halve_cards, "kernels.cpu": _fill_what_is_there}))
    sys.argv = ["-c", *arguments[3:]]
    exec(compile(arguments[2], "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102  what `-c` means


def _halve_cards(cards: Any) -> None:
    """Reserve and hold half of what is asked for."""
    honest: Callable[[Any, int], Any] = cards.SimulatedCard.allocate
    cards.SimulatedCard.allocate = lambda card, lines: honest(card, lines // 64 * 32)


def _fill_what_is_there(cpu: Any) -> None:
    """Fill as many lines as the memory has; the walk then folds its addresses into them by itself."""
    honest: Callable[[Any, int, int, Any], None] = cpu.fill
    cpu.fill = lambda seed, _lines, w, out: honest(seed, out.shape[0], w, out)


class _Watcher(MetaPathFinder):
    """Finds modules as Python does, and changes some of them once they are loaded."""

    def __init__(self, lies: dict[str, Callable[[Any], None]]) -> None:
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
