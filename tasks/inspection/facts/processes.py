"""The processes that hold a card, and who owns each: a user, or a container by its cgroup."""

from __future__ import annotations

import re

from storage.records import GpuProcess, Severity
from tasks.inspection.facts.fact import Fact
from tasks.inspection.facts.gpu import NO_DEVICES
from tasks.inspection.facts.text import Unreadable, rows, shown, whole
from tasks.inspection.output import Command

MAX_PROCESSES = 256

# The owners come before the list: they are the kernel's words, and whatever a process calls itself stands below the
# first `--` and can't pass for one of them.
SCRIPT = f"""\
apps=$(nvidia-smi --query-compute-apps=pid,gpu_uuid,used_gpu_memory,process_name --format=csv,noheader,nounits)
code=$?
if [ $code -ne 0 ]; then printf '%s\\n' "$apps"; exit $code; fi
printf '%s\\n' "$apps" | cut -d, -f1 | sort -un | head -n {MAX_PROCESSES} | while read -r pid; do
case $pid in ''|*[!0-9]*) continue ;; esac
printf 'pid %s %s\\n' "$pid" "$(stat -c %U "/proc/$pid" 2>/dev/null)"
grep '^Uid:' "/proc/$pid/status" 2>/dev/null
cat "/proc/$pid/cgroup" 2>/dev/null
done
printf -- '--\\n%s\\n' "$apps"
exit 0"""

_APP = re.compile(r"([0-9]{1,10}), (GPU-[0-9a-fA-F-]{1,40}|MIG-[0-9a-fA-F-]{1,40}), ([^,]{1,40}), (.*)")
_CONTAINER = re.compile(r"(?<![0-9a-f])([0-9a-f]{12})[0-9a-f]{52}(?![0-9a-f])")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@$-]{0,31}")
_NO_CARDS = re.compile(r"No devices (were )?found\.?")


def parse_processes(text: str) -> tuple[GpuProcess, ...] | Unreadable:
    """Owners, `--`, compute apps -> (GpuProcess(pid=4242, card_uuid='GPU-5d5b...', name='python3', memory_mib=70012,
    owner='container:1f2e3d4c5b6a'), ...); the owner is `alice`, `uid:1003`, or empty when the process is gone.
    """
    lines = rows(text, 64 * MAX_PROCESSES, max_row=8_192)
    if isinstance(lines, Unreadable):
        return lines
    if len(lines) == 1 and _NO_CARDS.fullmatch(lines[0]):
        return ()
    if "--" not in lines:
        return Unreadable("no list of processes")
    cut = lines.index("--")
    owners = _owners(lines[:cut])
    apps = lines[cut + 1 :]
    # A name may hold line breaks, so lines that are no row are skipped, unless no line is one.
    found = [match for line in apps if (match := _APP.fullmatch(line))]
    if apps and not found:
        return Unreadable(f"no row of a process: {shown(apps[0])!r}")
    if len(found) > MAX_PROCESSES:
        return Unreadable(f"{len(found)} processes, more than {MAX_PROCESSES}")
    return tuple(
        GpuProcess(int(pid), uuid, shown(name, 80), whole(used, 4 << 20), owners.get(pid, ""))
        for pid, uuid, used, name in (match.groups() for match in found)
    )


def _owners(lines: list[str]) -> dict[str, str]:
    """The owner of each pid: the container if the cgroup names one, else the user, else the uid."""
    owners: dict[str, str] = {}
    pid = ""
    for line in lines:
        if line.startswith("pid "):
            pid, _, user = line[4:].partition(" ")
            owners[pid] = user if _USER.fullmatch(user) and user != "UNKNOWN" else ""
        elif line.startswith("Uid:"):
            uid = whole(line.split()[1] if len(line.split()) > 1 else "", 1 << 32)
            owners[pid] = owners.get(pid) or ("" if uid is None else f"uid:{uid}")
        elif container := _CONTAINER.search(line):
            owners[pid] = f"container:{container[1]}"
    return owners


GPU_PROCESSES = Fact(
    Command("gpu_processes", SCRIPT, timeout_s=20, limit_bytes=128 << 10),
    parse_processes,
    Severity.FAIL,
    accepted_exit_codes=(0, NO_DEVICES),
)
