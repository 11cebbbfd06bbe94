"""A stand-in for NVIDIA's hook: dockerd calls it before a container with `--gpus` starts, and it brings `nvidia-smi` in.

One file, standard library only. Arguments: the table of cards (JSON: UUID -> {"name", "vram_mib"}), then the engine's own.
The container's state comes on stdin and names the bundle; its environment names the cards, as for the real hook. A card
that is not in the table is refused, as the real one refuses it. The root is an image's, so a stranger's: we go into it by
chroot before a file of it is touched, and none of its links leads out.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PLACE = "/usr/bin/nvidia-smi"
DRIVER = "570.133.20"

SCRIPT = r"""#!/bin/sh
# A stand-in for nvidia-smi: it shows the cards of this container. /run/nvidia-utilization sets their load, in percent.
load=0
[ -r /run/nvidia-utilization ] && read -r load < /run/nvidia-utilization
case $load in '' | *[!0-9]*) load=0 ;; esac
query= format= list=
for word in "$@"; do
  case $word in
    -L | --list-gpus) list=1 ;;
    --query-gpu=*) query=${word#*=} ;;
    --format=*) format=${word#*=} ;;
    *) echo "ERROR: Option $word is not recognized. Please run 'nvidia-smi -h'."; exit 2 ;;
  esac
done
unit_of() {
  case $1 in
    memory.*) unit=MiB ;;
    utilization.*) unit=% ;;
    *) unit= ;;
  esac
}
cell() {
  unit_of "$1"
  case $1 in
    index) value=$index ;;
    uuid | gpu_uuid) value=$uuid ;;
    name | gpu_name) value=$name ;;
    memory.total | memory.free) value=$memory ;;
    memory.used) value=0 ;;
    utilization.gpu) value=$load ;;
    utilization.memory) value=0 ;;
    driver_version) value=@DRIVER@ ;;
    *) echo "Field \"$1\" is not a valid field to query."; exit 2 ;;
  esac
  case ,$format, in *,nounits,*) unit= ;; esac
  value=$value${unit:+ $unit}
}
line() {
  out= rest=$query,
  while [ -n "$rest" ]; do
    field=${rest%%,*} rest=${rest#*,}
    "$1" "$field"
    out=${out:+$out, }$value
  done
  echo "$out"
}
title() {
  unit_of "$1"
  case ,$format, in *,nounits,*) unit= ;; esac
  value=$1${unit:+ [$unit]}
}
if [ -n "$query" ]; then
  case ,$format, in *,csv,*) ;; *) echo "Invalid combination of input arguments."; exit 2 ;; esac
  case ,$format, in *,noheader,*) ;; *) line title ;; esac
fi
while IFS='|' read -r index uuid name memory; do
  if [ -n "$query" ]; then line cell; else echo "GPU $index: $name (UUID: $uuid)"; fi
done << 'CARDS'
@CARDS@CARDS
"""


class Refused(Exception):
    """The container does not start; the text is what the engine shows."""


def main(arguments: Sequence[str], state: str) -> None:
    """Put the tool into the container that is about to start."""
    table, *rest = arguments
    if "prestart" not in rest:
        return
    bundle = Path(json.loads(state)["bundle"])
    config = json.loads((bundle / "config.json").read_text(encoding="utf-8"))
    chosen = visible(config["process"].get("env") or [], json.loads(Path(table).read_text(encoding="utf-8")))
    if not chosen:
        return
    root = bundle / config["root"]["path"]
    os.chroot(root)
    os.chdir("/")
    place(script(chosen).encode())


def visible(environment: Sequence[str], table: Mapping[str, Any]) -> dict[str, Any]:
    """The cards that the container may see, in the order of the table."""
    values = [entry.partition("=")[2] for entry in environment if entry.startswith("NVIDIA_VISIBLE_DEVICES=")]
    asked = [word for value in values[-1:] for word in value.split(",") if word not in ("", "none", "void")]
    if "all" in asked:
        return dict(table)
    unknown = [word for word in asked if word not in table]
    if unknown:
        raise Refused(f"nvidia-container-cli: device error: {unknown[0]}: unknown device")
    return {uuid: card for uuid, card in table.items() if uuid in asked}


def script(cards: Mapping[str, Any]) -> str:
    """The tool for these cards, numbered anew as in any container."""
    rows = "".join(f"{i}|{uuid}|{c['name']}|{c['vram_mib']}\n" for i, (uuid, c) in enumerate(cards.items()))
    return SCRIPT.replace("@DRIVER@", DRIVER).replace("@CARDS@", rows)


def place(content: bytes) -> None:
    """Write it whole; what the image had there is gone."""
    folder = os.path.dirname(PLACE)  # noqa: PTH120  of a path in the container's root, as the calls below
    os.makedirs(folder, exist_ok=True)  # noqa: PTH103
    partial = f"{folder}/.nvidia-smi.{os.getpid()}"
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755), "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), 0o755)
    os.replace(partial, PLACE)  # noqa: PTH105


if __name__ == "__main__":
    try:
        main(sys.argv[1:], sys.stdin.read(1 << 20))
    except Refused as refused:
        sys.stderr.write(f"{refused}\n")
        sys.exit(1)
