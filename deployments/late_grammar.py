"""A grammar that is built when somebody asks for it: it takes a second of CPU, and every process that imports Prefect built it.

Prefect imports `jsonschema`, and that imports `rfc3987_syntax` wherever it is installed, for addresses with letters of all languages.
None of our schemas has such an address. Where it is installed, as what checks our lists of dependencies brings it, a stand-in gives
way to it at the first question.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType

NAME = "rfc3987_syntax"
_stand_in = ModuleType(NAME)


def put_off() -> None:
    """For whoever imports it from now on in this process."""
    if NAME not in sys.modules and find_spec(NAME) is not None:
        sys.modules[NAME] = _stand_in


def _is_valid_syntax(term: str, value: str) -> bool:
    """What the module itself says."""
    if sys.modules.get(NAME) is _stand_in:
        del sys.modules[NAME]
    import rfc3987_syntax  # type: ignore[import-untyped]  # noqa: PLC0415  now that somebody asks

    return bool(rfc3987_syntax.is_valid_syntax(term, value))


vars(_stand_in)["is_valid_syntax"] = _is_valid_syntax
