"""The SSH server: its part in place, valid, read and not overruled, or put back as it was."""

from __future__ import annotations

import base64
import contextlib
import fnmatch
import os
import re
import shutil
import signal
import time
from pathlib import Path
from typing import NamedTuple

from tasks.onboarding.changing.filing import kept, put_back, put_file, refuse_read_only
from tasks.onboarding.changing.journal import WORDS, Change, Entry, Failed, Left, Work
from tasks.onboarding.changing.system import PATH, lines_of, parent_of, run, title_of

SSHD_S = 5.0


def tell_sshd(wanted: Change, work: Work) -> list[str]:
    """Its part in place, valid and read, and the server told; put back as it was when it is not."""
    path, server = wanted["path"], find_sshd()
    begun = work.journal.find("sshd", path)
    if begun and begun["is_told"] and kept(path) == has_text(wanted["text"]):
        check_effective(server, wanted, is_in_place=True)
        return []
    refuse_read_only(path)
    check_syntax(server, wanted)
    check_effective(server, wanted, is_in_place=False)
    if work.is_dry:
        return [path]
    entry = work.journal.note("sshd", path, is_told=False)
    entry["is_told"] = False
    work.journal.save()
    before = kept(path)
    put_file({"path": path, "text": wanted["text"], "mode": 0o644}, work)
    try:
        check_effective(server, wanted, is_in_place=True)
    except Failed:
        put_back(path, before)
        raise
    reload_sshd(server)
    entry["is_told"] = True
    work.journal.save()
    return [path]


def undo_sshd(_: Entry) -> Left:
    """The file was put back before this: its entry is younger."""
    reload_sshd(find_sshd())
    return []


class Server(NamedTuple):
    """The SSH server that let us in."""

    program: str
    options: list[str]
    """Which settings it reads, if others than by default."""
    pid: int
    """0: none waits, it is started for each connection and reads its settings anew."""


def find_sshd() -> Server:
    """From our own session upwards: the one that let us in."""
    pid, titles = os.getpid(), {}
    while pid > 1:
        titles[pid] = title_of(pid)
        pid = parent_of(pid)
    program = shutil.which("sshd", path=PATH)
    if program is None or not any(title.startswith("sshd") for title in titles.values()):
        raise Failed("SSHD_MISSING", "the SSH server of this login is not OpenSSH's sshd")
    found = next((pid for pid, title in titles.items() if "[listener]" in title), 0)
    with contextlib.suppress(OSError):
        program = os.readlink(f"/proc/{found}/exe").replace(" (deleted)", "")  # noqa: PTH115  it is 3.9's
    words = titles.get(found, "").split()
    flags = ("-f", "-o")
    options = [word for word, before in zip(words[1:], words) if word in flags or before in flags]  # noqa: B905  3.8
    return Server(program, options, found)


def main_file(server: Server) -> str:
    """The settings that it reads first."""
    options = server.options
    return options[options.index("-f") + 1] if "-f" in options[:-1] else "/etc/ssh/sshd_config"


def has_text(text: str) -> dict[str, object]:
    """What is known of the file once it is in place."""
    return {"data": base64.b64encode(text.encode()).decode(), "mode": 0o644, "uid": 0, "gid": 0}


def check_syntax(server: Server, wanted: Change) -> None:
    """SSHD_INVALID when the server does not take its settings, or ours beside them."""
    descriptor = os.memfd_create("sshd_config")
    try:
        os.write(descriptor, f"Include {main_file(server)}\n{wanted['text']}".encode())
        done = run([server.program, "-t", "-f", f"/proc/{os.getpid()}/fd/{descriptor}"])
    finally:
        os.close(descriptor)
    if done.returncode != 0:
        raise Failed("SSHD_INVALID", done.stdout[-WORDS:])


def check_effective(server: Server, wanted: Change, *, is_in_place: bool) -> None:
    """What the server makes of all its settings for the two users: ours has to count, and let them in."""
    for user, groups in wanted["users"].items():
        who = f"user={user},host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22"
        words = ["-T", "-C", who, *server.options]
        done = run([server.program, *words])
        if done.returncode != 0:
            raise Failed("SSHD_INVALID", done.stdout[-WORDS:])
        pairs = [line.partition(" ")[::2] for line in done.stdout.splitlines()]
        lists = {
            name: [v for n, v in pairs if n == name]
            for name in ("allowusers", "denyusers", "allowgroups", "denygroups")
        }
        check_lists(user, groups, lists)
        if not reads(server, wanted["path"]):
            raise Failed("SSHD_NOT_READ", f"{main_file(server)} does not include {wanted['path']}")
        for name, value in wanted["effective"].items() if is_in_place else ():
            if (name, value) not in pairs:
                other = next((v for n, v in pairs if n == name), "nothing")
                raise Failed("SSHD_OVERRULED", f"{name} is {other!r} for {user}, not {value!r}")


def check_lists(user: str, groups: list[str], lists: dict[str, list[str]]) -> None:
    """SSHD_SHUTS_OUT when a list of the owner's keeps this user out; sshd itself knows patterns of a host too."""

    def matches(names: list[str], patterns: list[str]) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern.split("@")[0]) for name in names for pattern in patterns)

    for kind, names in (("users", [user]), ("groups", [user, *groups])):
        if matches(names, lists[f"deny{kind}"]):
            raise Failed(f"SSHD_DENY_{kind.upper()}", f"Deny{kind.title()} keeps {user} out")
        if lists[f"allow{kind}"] and not matches(names, lists[f"allow{kind}"]):
            raise Failed(f"SSHD_ALLOW_{kind.upper()}", f"Allow{kind.title()} names no {user}")


def reads(server: Server, path: str) -> bool:
    """Whether the main file includes the folder of this one."""
    for line in lines_of(main_file(server)):
        words = re.split(r"[ \t=]+", line.strip())
        if words[0].lower() == "include" and any(
            fnmatch.fnmatch(path, str(Path("/etc/ssh", word.strip('"')))) for word in words[1:]
        ):
            return True
    return False


def reload_sshd(server: Server) -> None:
    """It reads its settings anew; sessions go on, and it listens again when this returns."""
    if not server.pid:
        return
    before = listening(server.pid)
    os.kill(server.pid, signal.SIGHUP)
    end = time.monotonic() + SSHD_S
    while not (now := listening(server.pid)) or now == before:
        if time.monotonic() > end:
            if now:  # it was handed its sockets, and keeps them
                return
            raise Failed("SSHD_SILENT", "the SSH server does not listen any more")
        time.sleep(0.02)


def listening(pid: int) -> list[str]:
    """The sockets at which a process waits."""
    own = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                own.add(os.readlink(entry.path))  # noqa: PTH115  as above
    lines = [line.split() for name in ("tcp", "tcp6") for line in lines_of(f"/proc/{pid}/net/{name}")]
    return sorted(w[9] for w in lines if len(w) > 9 and w[3] == "0A" and f"socket:[{w[9]}]" in own)
