"""What commands of the inspection printed on machines that we have met: data files, one for each fact and case."""

from __future__ import annotations

import json
from pathlib import Path

from tasks.inspection.facts import FactOutput

FOLDER = Path(__file__).parent / "facts"
CASES = sorted(FOLDER.glob("*/*.json"))
HEALTHY = {
    "gpu_xml": "h100_x8",
    "gpu_csv": "h100_x8",
    "gpu_list": "h100_x8",
    "gpu_processes": "idle",
    "cpu": "epyc",
    "memory": "128_gib",
    "disk": "one_root",
    "os_release": "ubuntu_22_04",
    "kernel": "ubuntu",
    "uptime": "two_weeks",
    "docker": "nvidia_and_sysbox",
    "podman": "absent",
    "interfaces": "server",
}
"""The case of each fact that a server with eight H100 gives."""


def output_of(path: Path) -> FactOutput:
    """The recorded output of a data file."""
    case = json.loads(path.read_text(encoding="utf-8"))
    stdout, stderr = ("\n".join(case.get(stream, [])).encode() for stream in ("stdout", "stderr"))
    return FactOutput(path.parent.name, case["exit_code"], stdout, stderr, 0.1, truncated=False)


def outputs(**chosen: str) -> dict[str, FactOutput]:
    """The outputs of one machine by fact and case; the facts that are not named are those of a healthy server."""
    files = {name: FOLDER / name / f"{case}.json" for name, case in (HEALTHY | chosen).items()}
    return {name: output_of(path) for name, path in files.items()}
