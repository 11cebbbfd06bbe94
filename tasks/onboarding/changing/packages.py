"""Packages by the machine's own manager, and the engine's knowledge of NVIDIA's runtime."""

from __future__ import annotations

import base64
import os
import shutil
import time
import urllib.request
from pathlib import Path

from tasks.onboarding.changing.filing import kept, make_folder, note_made, put_file, refuse_read_only
from tasks.onboarding.changing.journal import WORDS, Change, Entry, Failed, Left, Work, absent
from tasks.onboarding.changing.system import PATH, QUICK_S, is_systemd, need, run, tool
from tasks.onboarding.changing.users import add_group

APT_S, LOCK_S = 1_200, 120
APT_OPTIONS = (
    f"DPkg::Lock::Timeout={LOCK_S}",
    "Dpkg::Use-Pty=0",
    "Dpkg::Options::=--force-confdef",
    "Dpkg::Options::=--force-confold",
)
"""It waits for others, and asks nothing: settings of the owner's stay."""
ENGINES = ("docker", "podman")
KEYRING = "/usr/share/keyrings/nvidia-container-toolkit-keyring.asc"
REPOSITORY = "/etc/apt/sources.list.d/nvidia-container-toolkit.list"
KEY_URL = "https://nvidia.github.io/libnvidia-container/gpgkey"
REPOSITORY_TEXT = (
    f"deb [signed-by={KEYRING}] https://nvidia.github.io/libnvidia-container/stable/deb/$(ARCH) /\n"
)


def have_engine(wanted: Change, work: Work) -> list[str]:
    """Docker, unless an engine is there that answers."""
    found = [name for name in ENGINES if shutil.which(name, path=PATH)]
    if any(run([name, "info"]).returncode == 0 for name in found):
        return []
    if found and not work.journal.find("packages", " ".join(wanted["names"])):
        raise Failed("ENGINE_SILENT", f"{found[0]} is there and does not answer")
    return add_group({"name": wanted["group"]}, work) + install_packages(wanted, work)


def install_packages(wanted: Change, work: Work) -> list[str]:
    """Packages by the machine's own manager; none of the owner's is removed for them."""
    names = [name for name in wanted["names"] if not is_installed(name)]
    if not names:
        return []
    need("apt-get", "NO_APT")
    refuse_read_only("/usr")
    if work.is_dry:
        return names
    key = " ".join(wanted["names"])
    if work.journal.find("packages", key):
        apt(["dpkg", "--force-confdef", "--force-confold", "--configure", "-a"])
    if not all(map(has_candidate, names)):
        if wanted.get("is_nvidias"):
            add_repository(work)
        apt(["apt-get", "-qq", "update"])
    fresh, upgraded, gone = simulated(["install", "--no-install-recommends", *wanted["names"]])
    if gone:
        raise Failed("WOULD_REMOVE", f"{' '.join(names)} can't be had beside {' '.join(gone)}")
    work.journal.note("packages", key, names=fresh, upgraded=upgraded, absent=absent(tuple(wanted["data"])))
    apt(["apt-get", "-qq", "-y", "--no-install-recommends", "install", *wanted["names"]])
    return names


def add_repository(work: Work) -> None:
    """NVIDIA's own: no distribution has its toolkit."""
    with urllib.request.urlopen(KEY_URL, timeout=QUICK_S) as answer:
        armoured = answer.read(1 << 16).decode("ascii", "replace")
    for path, text in ((KEYRING, armoured), (REPOSITORY, REPOSITORY_TEXT)):
        put_file({"path": path, "text": text, "mode": 0o644}, work)


def undo_packages(entry: Entry) -> Left:
    """Those that came with it are purged, unless something of somebody's would go with them."""
    left = [(name, "it was upgraded, and stays so") for name in entry["upgraded"]]
    names = [name for name in entry["names"] if status_of(name)]
    if names:
        apt(["dpkg", "--force-confdef", "--force-confold", "--configure", "-a"])
        if used := [path for path in entry["absent"] if is_used(path)]:
            raise Failed(
                "IN_USE", f"containers or volumes lie in {' '.join(used)}: a purge would delete them"
            )
        _, _, gone = simulated(["purge", *names])
        if others := sorted(set(gone) - set(names)):
            raise Failed("IN_USE", f"needed by {' '.join(others)}")
        apt(["apt-get", "-qq", "-y", "purge", *names])
    return left + [(path, "it came with the engine") for path in entry["absent"] if os.path.lexists(path)]


def is_used(path: str) -> bool:
    """Whether an engine keeps a container or a volume there, whoever made it: Debian's package deletes all with itself."""
    own = ("metadata.db", "backingFsBlockDev")
    return any(
        child.name not in own for kind in ("containers", "volumes") for child in Path(path, kind).glob("*")
    )


def status_of(name: str) -> str:
    """What the manager says of it; empty: not there."""
    asked = run(["dpkg-query", "-W", "-f", "${db:Status-Status}", name])
    told = asked.stdout.strip() if asked.returncode == 0 else ""
    return "" if told == "not-installed" else told


def is_installed(name: str) -> bool:
    """Whole."""
    return shutil.which("dpkg-query", path=PATH) is not None and status_of(name) == "installed"


def has_candidate(name: str) -> bool:
    """Whether the manager knows where to get it."""
    told = run(["apt-cache", "policy", name]).stdout
    return "Candidate:" in told and "Candidate: (none)" not in told


def simulated(words: list[str]) -> tuple[list[str], list[str], list[str]]:
    """What the manager would install anew, upgrade, and remove."""
    lines = [line.split() for line in apt(["apt-get", "-s", "-y", *words]).splitlines()]
    come = [words for words in lines if len(words) > 1 and words[0] == "Inst"]
    upgraded = [words[1] for words in come if len(words) > 2 and words[2].startswith("[")]
    gone = [words[1] for words in lines if len(words) > 1 and words[0] in ("Remv", "Purg")]
    return [words[1] for words in come if words[1] not in upgraded], upgraded, gone


def apt(command: list[str]) -> str:
    """The manager, which asks nothing and waits for whoever else uses it; what it said."""
    if command[0] == "apt-get":
        command = [command[0], *(word for option in APT_OPTIONS for word in ("-o", option)), *command[1:]]
    end = time.monotonic() + LOCK_S
    done = run(command, APT_S)
    while done.returncode != 0 and "lock" in done.stdout and time.monotonic() < end:
        time.sleep(0.5)  # dpkg does not wait: somebody else's, or one of ours whose session has died
        done = run(command, APT_S)
    if done.returncode != 0:
        raise Failed("APT_FAILED", f"{command[0]}: {done.stdout[-WORDS:]}")
    return done.stdout


def configure_runtime(_: Change, work: Work) -> list[str]:
    """Docker's knowledge of NVIDIA's runtime; containers that run go on."""
    path = "/etc/docker/daemon.json"
    before, begun = kept(path), work.journal.find("file", path)
    is_known = bool(before and "data" in before and b'"nvidia"' in base64.b64decode(str(before["data"])))
    if is_known and (begun is None or begun["made"]):
        return []
    if not work.is_dry:
        folder = Path(path).parent
        if not folder.is_dir():
            make_folder({"path": str(folder), "mode": 0o755, "owner": "root", "is_whole": False}, work)
        entry = work.journal.note("file", path, before=before, made=[])
        tool(["nvidia-ctk", "runtime", "configure", "--runtime=docker"])
        if is_systemd():
            run(["systemctl", "reload", "docker"])
        note_made(entry, kept(path), work)  # last: it says that all of it is done
    return [path]
