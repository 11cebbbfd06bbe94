"""Whether Grafana's own types know every key of our dashboard: read into them and written again, nothing is lost.

    python -m venv /tmp/grafana && /tmp/grafana/bin/pip install grafana-foundation-sdk
    /tmp/grafana/bin/python tests/deployments/gauges/against_grafana.py

No test of the suite: the types are a package of Grafana's that nothing else here needs.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

DASHBOARD = Path(__file__).parents[3] / "deployments/gauges/dashboard.json"


def lost(ours: object, theirs: object, path: str = "") -> Iterator[str]:
    """Where ours has something that theirs has not, or has otherwise."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            yield from lost(value, theirs.get(key), f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from lost(one, other, f"{path}[{number}]")
    elif ours != theirs:
        yield path


def round_trip(dashboard: dict[str, object]) -> list[str]:
    """The keys that Grafana's types do not take."""
    return list(lost(dashboard, json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))))


if __name__ == "__main__":
    plugins.register_default_plugins()
    ours = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    misspelt = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    misspelt["panels"][0]["targets"][0]["exprr"] = "1"
    if round_trip(misspelt) != [".panels[0].targets[0].exprr"]:
        sys.exit("Grafana's types would not show a key that they don't know: this check tells nothing")
    found = round_trip(ours)
    print("\n".join(found) or f"Grafana's types know all keys of {len(ours['panels'])} panels")
    sys.exit(bool(found))
