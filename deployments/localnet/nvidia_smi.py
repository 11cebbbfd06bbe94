#!/usr/bin/env python3
"""A stand-in for nvidia-smi on the local subnet's executors: it shows the cards of the JSON file that SUBNET_FAKE_GPUS names.

One file, standard library only, so that it can stand alone on a machine's PATH. It answers `-L`, `-q -x`, `--query-gpu=...`
and `--query-compute-apps=...` with `--format=csv[,noheader][,nounits]` in the real tool's words, order and exit codes: 0, 2 for
wrong usage, 6 without a card, 9 without a driver (no file). The file is a list of cards as `cards_json` writes it; a field
that is null prints as N/A. A card's `processes` are a list of {"pid", "name", "memory_mib"}.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SPEC_VARIABLE = "SUBNET_FAKE_GPUS"

NO_DRIVER = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
    "Make sure that the latest NVIDIA driver is installed and running.\n"
)

Value = str | int | float | None
Card = Mapping[str, Any]

DEFAULTS: Card = {
    "driver": "570.133.20",
    "graphics_clock_mhz": 1980,
    "memory_clock_mhz": 2619,
    "power_limit_w": 350.0,
    "power_default_w": 350.0,
    "pcie_generation": 4,
    "pcie_width": 16,
    "utilisation_pct": 0,
    "memory_used_mib": 1,
    "temperature_c": 34,
    "power_w": 61.5,
    "mig": None,
    "processes": [],
}

FIELDS: Mapping[str, tuple[str, str]] = {
    "index": ("index", ""),
    "name": ("model", ""),
    "gpu_name": ("model", ""),
    "uuid": ("uuid", ""),
    "gpu_uuid": ("uuid", ""),
    "driver_version": ("driver", ""),
    "memory.total": ("vram_mib", "MiB"),
    "memory.used": ("memory_used_mib", "MiB"),
    "clocks.max.graphics": ("graphics_clock_mhz", "MHz"),
    "clocks.max.memory": ("memory_clock_mhz", "MHz"),
    "power.limit": ("power_limit_w", "W"),
    "power.default_limit": ("power_default_w", "W"),
    "pcie.link.gen.max": ("pcie_generation", ""),
    "pcie.link.width.current": ("pcie_width", ""),
    "utilization.gpu": ("utilisation_pct", "%"),
    "temperature.gpu": ("temperature_c", ""),
    "power.draw": ("power_w", "W"),
    "mig.mode.current": ("mig", ""),
}
"""Field of `--query-gpu` -> the card's key and the unit."""

APP_FIELDS: Mapping[str, tuple[str, str]] = {
    "pid": ("pid", ""),
    "process_name": ("name", ""),
    "name": ("name", ""),
    "gpu_uuid": ("uuid", ""),
    "gpu_name": ("model", ""),
    "used_memory": ("memory_mib", "MiB"),
    "used_gpu_memory": ("memory_mib", "MiB"),
}

# Nested as driver 570 nests them, with the elements that inventories read.
LOG = """\
<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log>
	<driver_version>{driver}</driver_version>
	<cuda_version>12.8</cuda_version>
	<attached_gpus>{count}</attached_gpus>
{gpus}</nvidia_smi_log>
"""

GPU = """\
	<gpu id="00000000:{slot}:00.0">
		<product_name>{model}</product_name>
		<mig_mode>
			<current_mig>{mig}</current_mig>
			<pending_mig>{mig}</pending_mig>
		</mig_mode>
		<mig_devices>None</mig_devices>
		<uuid>{uuid}</uuid>
		<minor_number>{index}</minor_number>
		<pci>
			<pci_gpu_link_info>
				<pcie_gen>
					<max_link_gen>{pcie_generation}</max_link_gen>
					<current_link_gen>1</current_link_gen>
				</pcie_gen>
				<link_widths>
					<max_link_width>16x</max_link_width>
					<current_link_width>{width}</current_link_width>
				</link_widths>
			</pci_gpu_link_info>
		</pci>
		<fb_memory_usage>
			<total>{vram_mib}</total>
			<used>{memory_used_mib}</used>
		</fb_memory_usage>
		<utilization>
			<gpu_util>{utilisation_pct}</gpu_util>
		</utilization>
		<gpu_power_readings>
			<current_power_limit>{power_limit_w}</current_power_limit>
			<default_power_limit>{power_default_w}</default_power_limit>
		</gpu_power_readings>
		<max_clocks>
			<graphics_clock>{graphics_clock_mhz}</graphics_clock>
			<mem_clock>{memory_clock_mhz}</mem_clock>
		</max_clocks>
		<processes>
{processes}		</processes>
	</gpu>
"""

PROCESS = """\
			<process_info>
				<pid>{pid}</pid>
				<type>C</type>
				<process_name>{name}</process_name>
				<used_memory>{memory_mib}</used_memory>
			</process_info>
"""


def cards_json(model: str, uuids: Sequence[str], vram_mib: int, **fields: Value) -> str:
    """The JSON of a machine with a card for each UUID, all of one model; `fields` replace `DEFAULTS`."""
    unknown = sorted(set(fields) - set(DEFAULTS))
    if unknown:
        raise ValueError(f"no field of a card: {', '.join(unknown)}; there are {', '.join(DEFAULTS)}")
    card = {**DEFAULTS, **fields, "model": model, "vram_mib": vram_mib}
    return json.dumps([{**card, "uuid": uuid} for uuid in uuids], indent=1)


def install(folder: Path, python: Path) -> Path:
    """Put an executable `nvidia-smi` into `folder` that runs this file isolated under `python`; returns its path."""
    # A wrapper, because the kernel cuts a #! line that is longer than 127 bytes.
    command = shlex.join([str(python), "-I", "-S", str(Path(__file__).resolve())])
    path = folder / "nvidia-smi"
    path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    path.chmod(0o755)
    return path


def main(arguments: Sequence[str], spec: str | None) -> tuple[str, int]:
    """What the tool prints on stdout, and its exit code."""
    if spec is None or not Path(spec).is_file():
        return NO_DRIVER, 9
    cards = _load(Path(spec).read_text(encoding="utf-8"))
    options = dict(a.partition("=")[::2] for a in arguments)
    known = {"-L", "--list-gpus", "-q", "--query", "-x", "--xml-format", "--format"}
    strange = [
        o for o in options if o not in known and not o.startswith(("--query-gpu", "--query-compute-apps"))
    ]
    if strange:
        return f"ERROR: Option {strange[0]} is not recognized. Please run 'nvidia-smi -h'.\n", 2
    if not cards:
        return "No devices were found\n", 6
    return _answer(options, cards)


def _load(text: str) -> list[Card]:
    return [{**DEFAULTS, **card, "index": i} for i, card in enumerate(json.loads(text))]


def _answer(options: Mapping[str, str], cards: Sequence[Card]) -> tuple[str, int]:
    names = set(options)
    if names in ({"-L"}, {"--list-gpus"}):
        return "".join(f"GPU {c['index']}: {c['model']} (UUID: {c['uuid']})\n" for c in cards), 0
    if names & {"-q", "--query"} and names & {"-x", "--xml-format"} and len(names) == 2:
        return _xml(cards), 0
    if names == {"--query-gpu", "--format"}:
        return _table(options, "--query-gpu", FIELDS, cards)
    if names == {"--query-compute-apps", "--format"}:
        return _table(options, "--query-compute-apps", APP_FIELDS, _apps(cards))
    return "Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n", 2


def _table(
    options: Mapping[str, str], query: str, fields: Mapping[str, tuple[str, str]], found: Sequence[Card]
) -> tuple[str, int]:
    asked = options[query].split(",")
    unknown = next((name for name in asked if name not in fields), None)
    if unknown is not None:
        return f'Field "{unknown}" is not a valid field to query.\n\n', 2
    form = set(options["--format"].split(","))
    if "csv" not in form or form - {"csv", "noheader", "nounits"}:
        return "Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n", 2
    with_units = "nounits" not in form
    lines = [", ".join(_cell(row, *fields[name], with_units=with_units) for name in asked) for row in found]
    if "noheader" not in form:
        units = [f" [{fields[name][1]}]" if fields[name][1] and with_units else "" for name in asked]
        lines.insert(0, ", ".join(name + unit for name, unit in zip(asked, units, strict=True)))
    return "".join(f"{line}\n" for line in lines), 0


def _cell(row: Card, key: str, unit: str, *, with_units: bool) -> str:
    value = row[key]
    if value is None:
        return "[N/A]"
    text = f"{value:.2f}" if isinstance(value, float) else str(value)
    return f"{text} {unit}" if unit and with_units else text


def _apps(cards: Sequence[Card]) -> list[Card]:
    """The processes of the cards, each with its card's UUID and model."""
    return [
        {**process, "uuid": card["uuid"], "model": card["model"]}
        for card in cards
        for process in card["processes"]
    ]


def _xml(cards: Sequence[Card]) -> str:
    driver = _texts(cards[0], FIELDS)["driver"]
    return LOG.format(driver=driver, count=len(cards), gpus="".join(_gpu(card) for card in cards))


def _gpu(card: Card) -> str:
    processes = "".join(PROCESS.format(**_texts(process, APP_FIELDS)) for process in _apps([card]))
    width = "N/A" if card["pcie_width"] is None else f"{card['pcie_width']}x"
    slot = f"{card['index'] + 1:02X}"
    return GPU.format(**_texts(card, FIELDS), width=width, slot=slot, processes=processes)


def _texts(row: Card, fields: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Every value as the XML has it: `24564 MiB`, `N/A`."""
    shown = {key: _cell(row, key, unit, with_units=True) for key, unit in fields.values()}
    return {key: "N/A" if text == "[N/A]" else _escape(text) for key, text in shown.items()}


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


if __name__ == "__main__":
    printed, code = main(sys.argv[1:], os.environ.get(SPEC_VARIABLE))
    sys.stdout.write(printed)
    sys.exit(code)
