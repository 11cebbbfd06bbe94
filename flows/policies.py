"""The policy that a setting names: one of ours, or a JSON file of what is different from one of ours.

    {"base": "default", "name": "default-disk-in-shadow", "shadow": {"checks": ["DISK_BELOW_MINIMUM"]}}

What the file does not name is as in its base (`default` when it names none); a section's keys are taken one by one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tasks.errors import PolicyRefused, SettingError
from tasks.policy import PRESETS, Policy, policy_of, preset

SUFFIX = ".json"
MAX_BYTES = 1 << 20
ARCHIVED = "the archived policy can't be read: "


def named_policy(text: str) -> Policy:
    """The policy of this name, or of the file at this path; SettingError and PolicyRefused when it is none."""
    return read_policy(Path(text)) if text.endswith(SUFFIX) else preset(text)


def read_policy(path: Path) -> Policy:
    """The policy of a file; whether its numbers make sense is looked at when an epoch is opened."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        said = json.loads(content[:MAX_BYTES])
    except OSError as error:
        raise SettingError("policy", str(path), f"a file that can be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise SettingError("policy", str(path), f"one JSON object of at most 1 MiB ({error})") from None
    if not isinstance(said, dict):
        raise SettingError("policy", str(path), "one JSON object")
    base = preset(str(said.pop("base", "default")))
    name = said.get("name", path.name.removesuffix(SUFFIX))
    if str(name) in PRESETS:
        raise PolicyRefused(f"{path}: the name {name!r} is that of one of ours; give yours another")
    try:
        return policy_of(json.dumps(_over(asdict(base), said | {"name": name})))
    except PolicyRefused as error:
        raise PolicyRefused(f"{path}: {str(error).removeprefix(ARCHIVED)}") from None


def _over(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The base with these changes, sections key by key; a key that the base lacks is kept, and refused when it is read."""
    merged = dict(base)
    for key, value in changes.items():
        known = merged.get(key)
        merged[key] = (
            _over(known, value) if isinstance(known, Mapping) and isinstance(value, Mapping) else value
        )
    return merged
