"""nvidia-smi's XML, read as a stream: only the paths that are wanted are kept, everything else is counted and dropped.

No tree is built. The one declaration let through is nvidia's own `<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">`,
which is never fetched; an internal subset, an entity of any kind, depth, breadth and names beyond the real output are
refused.
"""

from __future__ import annotations

import re
from xml.parsers import expat

from tasks.inspection.facts.text import Unreadable, shown

MAX_DEPTH = 16
MAX_ELEMENTS = 60_000
MAX_NAME = 64
"""Characters of an element's name; the longest real one has 40. Each element looks its whole path up: with a name of a
megabyte above them, sixty thousand would cost half a minute."""
MAX_TEXT = 256
"""Characters kept of one element."""
_PIECE = 1 << 18
"""Characters that are encoded at a time."""

PATHS = {
    "uuid": "uuid",
    "product_name": "model",
    "fb_memory_usage/total": "vram_mib",
    "fb_memory_usage/used": "memory_used_mib",
    "max_clocks/graphics_clock": "graphics_clock_mhz",
    "max_clocks/mem_clock": "memory_clock_mhz",
    "gpu_power_readings/current_power_limit": "power_limit_w",
    "gpu_power_readings/default_power_limit": "power_default_w",
    "power_readings/power_limit": "power_limit_w",
    "power_readings/default_power_limit": "power_default_w",
    "pci/pci_gpu_link_info/pcie_gen/max_link_gen": "pcie_generation",
    "pci/pci_gpu_link_info/link_widths/current_link_width": "pcie_width",
    "utilization/gpu_util": "utilisation_pct",
    "mig_mode/current_mig": "mig",
}
"""Path below `<gpu>` -> our field; drivers before 525 say `power_readings`."""

_DTD = re.compile(r"nvsmi_device(_v[0-9]{1,3})?\.dtd")


class _Refused(Exception):
    """The document is not what nvidia-smi prints."""


def read_gpus(text: str, max_gpus: int) -> list[dict[str, str]] | Unreadable:
    """One mapping of field -> text for each `<gpu>`: [{'uuid': 'GPU-...', 'vram_mib': '24564 MiB', ...}]."""
    try:
        return _Reader(max_gpus).read(text)
    except _Refused as refused:
        return Unreadable(f"XML refused: {refused}")
    except expat.ExpatError as error:
        return Unreadable(f"no XML: {shown(str(error))}")


class _Reader:
    """The state of one pass: where in the document, and what was found for each card."""

    def __init__(self, max_gpus: int) -> None:
        self._max_gpus = max_gpus
        self._path: list[str] = []
        self._elements = 0
        self._text = ""
        self._driver: str | None = None
        self._gpus: list[dict[str, str]] = []

    def read(self, text: str) -> list[dict[str, str]]:
        """Parse it all; raises `_Refused` or `ExpatError`."""
        parser = expat.ParserCreate("utf-8")
        parser.StartDoctypeDeclHandler = self._doctype
        parser.EntityDeclHandler = _no_entity
        parser.SkippedEntityHandler = _no_entity
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.buffer_text = True  # else each line of a text is a call of its own
        document = text.strip()
        for start in range(0, len(document), _PIECE):
            # A lone surrogate can't come from our decoding, but the function answers for every string.
            parser.Parse(document[start : start + _PIECE].encode("utf-8", "replace"))
        parser.Parse(b"", True)  # noqa: FBT003  expat takes it by position
        return [{**gpu, "driver": self._driver or ""} for gpu in self._gpus]

    def _doctype(self, name: str, system: str | None, public: str | None, has_subset: int) -> None:
        if name != "nvidia_smi_log" or public is not None or has_subset or not _DTD.fullmatch(system or ""):
            raise _Refused("a DOCTYPE that is not nvidia's")

    def _start(self, name: str, _attributes: dict[str, str]) -> None:
        if len(name) > MAX_NAME:
            raise _Refused(f"an element with a name of {len(name)} characters")
        self._elements += 1
        self._path.append(name)
        self._text = ""
        if len(self._path) > MAX_DEPTH or self._elements > MAX_ELEMENTS:
            raise _Refused(f"deeper than {MAX_DEPTH} or more than {MAX_ELEMENTS} elements")
        if len(self._path) == 1 and name != "nvidia_smi_log":
            raise _Refused(f"it begins with <{shown(name, 40)}>")
        if self._path == ["nvidia_smi_log", "gpu"]:
            self._gpus.append({})
            if len(self._gpus) > self._max_gpus:
                raise _Refused(f"more than {self._max_gpus} cards")

    def _characters(self, data: str) -> None:
        if len(self._text) < MAX_TEXT:
            self._text += data[:MAX_TEXT]

    def _end(self, _name: str) -> None:
        text = self._text.strip()[:MAX_TEXT]
        if self._path == ["nvidia_smi_log", "driver_version"]:
            self._driver = text
        elif self._path[1:2] == ["gpu"] and (key := PATHS.get("/".join(self._path[2:]))):
            if key in self._gpus[-1]:
                raise _Refused(f"{self._path[-1]} said twice for card {len(self._gpus) - 1}")
            self._gpus[-1][key] = text
        self._path.pop()
        self._text = ""


def _no_entity(name: str, *_rest: object) -> None:
    raise _Refused(f"the entity {shown(name, 40)}")
