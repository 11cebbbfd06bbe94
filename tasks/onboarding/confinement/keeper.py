"""The keeper of an executor's sessions: it starts what a validator may run, and ends it when the certificate ends.

    keeper serve          root, a service: waits at a socket that only the two users of sessions can use
    keeper enter          what sshd runs in the place of whatever was asked for, as the user that logged in

    sshd -> enter -> (the session's stdin, stdout, stderr and certificate) -> serve -> a holder, root, of one session
                                                                                    -> the announced Python, confined

What is confined can't end its holder, for it runs as another user: everyone who validates has a user id of its own, made
from the hotkey in the certificate, without a login, a group that matters or a way to become anybody else. The holder adopts
whatever such a session leaves behind, so that nothing of it lives on. It is sent as text and needs the standard library of
Python 3.8 and ssh-keygen, which checks the certificate's signature once more: the file that names it is the user's own.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import fcntl
import grp
import hashlib
import json
import os
import pwd
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple, NoReturn, cast

SETTINGS, SOCKET = "/etc/subnet/keeper.json", "/run/subnet/keeper.sock"
SHOWN = "/run/subnet/shown"
"""What container engines told root of themselves, for everybody to read."""
PLACES = "/run/subnet/places"
"""A file of root's, of which each session holds one byte locked: those of one validator lie beside each other."""
KEYGEN = "/usr/bin/ssh-keygen"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MAX_SESSIONS, MAX_OF_A_USER, MAX_PROCESSES = 64, 48, 4_096
MAX_VALIDATING, MAX_RENTING = 6, 24
"""Sessions of one validator at once."""
MAX_CREDENTIAL_BYTES = 16_384
ROOM_S = 0.1
"""How often those that wait for room are looked at."""
GREETING_S, GRACE_S, KILLING_S, RUNNING_AWAY_S = 5.0, 2.0, 10.0, 1.0
SHOWN_S = 60.0
LEAVING_S = 2.0
"""For which a session may go on when nobody can write to it any more."""
GONE = 129
"""The exit status of a session that was ended."""
FIRST_UID, UIDS = 0x7000_0000, 0x0800_0000
"""Of those who validate: above what distributions, containers and systemd hand out."""
CERTIFICATE = b"ssh-ed25519-cert-v01@openssh.com"
PRIVATE = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108  each session has its own in their place
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38
_CLONE_NEWNS, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x20000, 0x1000, 0x4000, 1 << 18
_MS_RDONLY, _MS_NOSUID, _MS_NODEV = 1, 2, 4
_RDHUP = getattr(select, "POLLRDHUP", 0)


class Refused(Exception):
    """No session: why, in a sentence for whoever wanted it."""


class Certificate(NamedTuple):
    """What counts of a certificate here."""

    key_id: str
    until_s: int
    signer: bytes
    """The public key that signed it, in wire form."""


class Settings(NamedTuple):
    """The file of the machine's owner (`tasks/onboarding/confinement/files.py` writes it)."""

    ca: str
    """The base64 of the one key whose certificates count."""
    command: list[str]
    validate_user: str
    rent_user: str
    groups: list[str]
    """Whose devices a validator's session may use."""
    home: str
    homes: str
    hidden: list[str]
    """Folders that are empty in a validator's session."""
    tools: str
    """A folder of programs that come first for validators: what they can't ask themselves is shown to them there."""
    engines: dict[str, str]
    """How each container engine is asked what it is, a line for the shell."""
    environment: dict[str, str]
    max_session_s: int


def main(words: list[str]) -> int:
    """Serve, or enter; the exit status."""
    if words == ["enter"]:
        return enter()
    if words == ["serve"]:
        serve(Settings(**json.loads(Path(SETTINGS).read_text())))
    sys.stderr.write("keeper serve | keeper enter\n")
    return 2


# --- the user's side -------------------------------------------------------------------------------


def enter() -> int:
    """Hand the session over and wait for its end; 1 when it does not come about."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        try:
            door.connect(SOCKET)
            credential = read_credential(os.environ.get("SSH_USER_AUTH", ""))
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("3i", 0, 1, 2))]
            door.sendmsg([struct.pack(">I", len(credential)) + credential], rights)
            status = door.recv(1)
        except OSError as error:
            sys.stderr.write(f"subnet: the keeper of this machine does not answer: {error}\n")
            return 1
    return status[0] if status else GONE


def read_credential(path: str) -> bytes:
    """With what sshd let us in, as it tells it (ExposeAuthInfo)."""
    if not path:
        return b""
    with Path(path).open("rb") as file:
        return file.read(MAX_CREDENTIAL_BYTES)


# --- the service -----------------------------------------------------------------------------------


def serve(settings: Settings) -> NoReturn:
    """Hold sessions, each in a process of its own that outlives this one.

    Connections of anybody but the two users end at once; those that there is no room for wait for it.
    """
    Path(SOCKET).parent.mkdir(mode=0o755, exist_ok=True)
    users = [pwd.getpwnam(name).pw_uid for name in (settings.validate_user, settings.rent_user)]
    with contextlib.suppress(FileNotFoundError):
        Path(SOCKET).unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(SOCKET)
        Path(SOCKET).chmod(0o666)  # who it is, the kernel tells of each connection
        listener.listen(MAX_SESSIONS)
        running: dict[int, int] = {}
        waiting: list[socket.socket] = []
        while True:
            if not waiting or select.select([listener], [], [], ROOM_S)[0]:
                door, _ = listener.accept()
                if uid_at(door) in users and len(waiting) < MAX_SESSIONS:
                    waiting.append(door)
                else:
                    door.close()
            for pid in reaped():
                running.pop(pid, None)
            for door in list(waiting):
                uid = uid_at(door)
                if has_room(list(running.values()), uid):
                    running[held(door, [listener, *waiting], settings)] = uid
                    waiting.remove(door)


def has_room(running: list[int], uid: int) -> bool:
    """Whether one more of this user's sessions may begin beside those of these users: none of the two can have it all."""
    return len(running) < MAX_SESSIONS and running.count(uid) < MAX_OF_A_USER


def held(door: socket.socket, others: list[socket.socket], settings: Settings) -> int:
    """A session's holder, which has this door and none of the others."""
    pid = os.fork()
    if pid == 0:
        for other in others:
            if other is not door:
                other.close()
        os._exit(hold_and_tell(door, settings))
    door.close()
    return pid


def uid_at(door: socket.socket) -> int:
    """Who connected, as the kernel has it."""
    return int(struct.unpack("3i", door.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1])


def reaped() -> list[int]:
    """Children that have ended, and are forgotten now."""
    ended: list[int] = []
    with contextlib.suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            ended.append(pid)
    return ended


def hold_and_tell(door: socket.socket, settings: Settings) -> int:
    """A whole session; its exit status goes to who entered."""
    try:
        door.settimeout(GREETING_S)
        streams, credential = greeted(door)
        with contextlib.suppress(OSError):
            door.sendall(bytes([hold(door, uid_at(door), streams, credential, settings)]))
    except Exception as error:  # noqa: BLE001  the last line of a process: whatever it was is told, and nobody gets in
        sys.stderr.write(f"keeper: {error!r}\n")
        return 1
    return 0


def greeted(door: socket.socket) -> tuple[list[int], bytes]:
    """The streams and the credential that come with a connection."""
    begin, ancillary, _, _ = door.recvmsg(
        MAX_CREDENTIAL_BYTES + 4, socket.CMSG_SPACE(12), socket.MSG_CMSG_CLOEXEC
    )
    streams = [
        fd
        for level, kind, data in ancillary
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        for fd in struct.unpack(f"{len(data) // 4}i", data[: len(data) // 4 * 4])
    ]
    if len(streams) != 3 or len(begin) < 4:
        raise Refused("no three streams came")
    (size,) = struct.unpack(">I", begin[:4])
    credential = begin[4:]
    while len(credential) < min(size, MAX_CREDENTIAL_BYTES):
        piece = door.recv(MAX_CREDENTIAL_BYTES)
        if not piece:
            raise Refused("it hung up")
        credential += piece
    return streams, credential


def hold(door: socket.socket, uid: int, streams: list[int], credential: bytes, settings: Settings) -> int:
    """Start the session, end it at the certificate's end or when it is left, and everything it started with it."""
    try:
        certificate = verified(credential, settings.ca)
        until_s = end_of(certificate, settings)
        take_place(uid, certificate, settings)
        run = runner_for(uid, certificate, settings)
    except (Refused, KeyError, ValueError, OSError) as error:
        with contextlib.suppress(OSError):
            os.write(streams[2], f"subnet: no session: {error}\n".encode())
        return 1
    waker = woken_by_children()
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    pid = os.fork()
    if pid == 0:
        become(run, streams, settings.command)
    for stream in streams[1:]:
        os.close(stream)
    status = watched(pid, streams[0], door.fileno(), waker, until_s)
    end_descendants(run.uid)
    return status


# --- who may ---------------------------------------------------------------------------------------


def verified(credential: bytes, ca: str) -> Certificate:
    """The certificate with which sshd let somebody in, its signature checked; Refused when there is no such."""
    for line in credential.splitlines():
        words = line.split()
        if len(words) >= 3 and words[:2] == [b"publickey", CERTIFICATE]:
            certificate = parse(base64.b64decode(words[2]))
            if certificate.signer != base64.b64decode(ca):
                raise Refused("the certificate is another authority's")
            # It reads a certificate only when the signature is right.
            checked = subprocess.run(  # noqa: S603  a constant command; the text goes to its stdin
                [KEYGEN, "-L", "-f", "-"],
                input=b" ".join(words[1:3]) + b"\n",
                timeout=GREETING_S,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
            if checked.returncode != 0:
                raise Refused("the certificate's signature is wrong")
            return certificate
    raise Refused("only a certificate lets in here")


def parse(blob: bytes) -> Certificate:
    """A user certificate in wire form (PROTOCOL.certkeys of OpenSSH); Refused when it is none."""
    try:
        (name, _, _), rest = strings(blob, 3)
        (kind,) = struct.unpack(">I", rest[8:12])
        (key_id, _), rest = strings(rest[12:], 2)
        (until_s,) = struct.unpack(">Q", rest[8:16])
        (_, _, _, signer), _ = strings(rest[16:], 4)
    except struct.error:
        raise Refused("a certificate that can't be read") from None
    if name != CERTIFICATE or kind != 1:
        raise Refused("no user certificate")
    return Certificate(key_id.decode("ascii", "replace"), until_s, signer)


def strings(data: bytes, number: int) -> tuple[list[bytes], bytes]:
    """So many strings from the front, and what is left."""
    found = []
    for _ in range(number):
        (size,) = struct.unpack(">I", data[:4])
        if len(data) < 4 + size:
            raise struct.error("cut")
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found, data


def end_of(certificate: Certificate, settings: Settings) -> float:
    """Until when a session may last that begins now; Refused when it can't begin."""
    now = time.time()
    if certificate.until_s <= now:
        raise Refused("the certificate has ended")
    return min(certificate.until_s, now + settings.max_session_s)


def take_place(uid: int, certificate: Certificate, settings: Settings) -> None:
    """One of this validator's, for as long as this process lives; Refused when it has them all."""
    is_renter = uid == pwd.getpwnam(settings.rent_user).pw_uid
    number = MAX_RENTING if is_renter else MAX_VALIDATING
    first = (2 * uid_of(certificate.key_id) + is_renter) * MAX_SESSIONS
    places = os.open(
        PLACES, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
    )  # and left open: closing it unlocks
    for place in range(first, first + number):
        with contextlib.suppress(BlockingIOError, PermissionError):
            fcntl.lockf(places, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
            return
    raise Refused(f"{number} sessions of this validator are open here")


class Runner(NamedTuple):
    """As whom a session runs."""

    uid: int
    gid: int
    groups: list[int]
    home: str
    environment: dict[str, str]


def runner_for(uid: int, certificate: Certificate, settings: Settings) -> Runner:
    """Who logged in to validate runs confined, as the certificate's hotkey; who did to rent, as the user for that."""
    validator, renter = pwd.getpwnam(settings.validate_user), pwd.getpwnam(settings.rent_user)
    if uid == renter.pw_uid:
        groups = [*os.getgrouplist(renter.pw_name, renter.pw_gid), *existing(settings.groups)]
        return Runner(uid, renter.pw_gid, groups, renter.pw_dir, {**settings.environment, "PATH": PATH})
    if uid != validator.pw_uid:
        raise Refused("this user has no sessions")
    own = uid_of(certificate.key_id)
    ask_engines(settings.engines)
    confine(own, settings)
    environment = {**settings.environment, "PATH": f"{settings.tools}:{PATH}"}
    return Runner(own, own, existing(settings.groups), settings.home, environment)


def uid_of(key_id: str) -> int:
    """The user id of the validator that a key id names: `subnet:<hotkey>:<epoch>`."""
    words = key_id.split(":")
    if len(words) < 2 or words[0] != "subnet" or not words[1]:
        raise Refused("the certificate names no validator")
    return FIRST_UID + int.from_bytes(hashlib.blake2s(words[1].encode()).digest()[:4], "big") % UIDS


def existing(names: list[str]) -> list[int]:
    """The ids of those of the groups that this system has."""
    found = []
    for name in names:
        with contextlib.suppress(KeyError):
            found.append(grp.getgrnam(name).gr_gid)
    return found


def ask_engines(engines: dict[str, str]) -> None:
    """Write down what each engine says that it is, unless that was done a moment ago; nothing where none answers."""
    Path(SHOWN).mkdir(mode=0o755, exist_ok=True)
    for name, line in engines.items():
        path = Path(SHOWN, name)
        with contextlib.suppress(FileNotFoundError):
            if abs(time.time() - path.stat().st_mtime) < SHOWN_S:
                continue
        try:
            asked = subprocess.run(  # noqa: S603  a constant line of the machine's owner
                ["/bin/sh", "-c", line],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=GREETING_S,
                env={"PATH": PATH, "LC_ALL": "C"},
                check=True,
            )
            told = asked.stdout[:MAX_CREDENTIAL_BYTES]
        except subprocess.SubprocessError:
            told = b""
        partial = path.with_name(f".{name}.{os.getpid()}")
        partial.write_bytes(told)
        partial.chmod(0o644)
        partial.replace(path)


# --- confinement -----------------------------------------------------------------------------------


def confine(uid: int, settings: Settings) -> None:
    """A view of the file system of this session's own: its home, temporary folders, and emptiness where owners live."""
    home = Path(settings.homes, str(uid))
    home.mkdir(mode=0o700, exist_ok=True)
    os.chown(home, uid, uid)
    libc("unshare", _CLONE_NEWNS)
    libc("mount", b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None)
    libc("mount", os.fsencode(home), os.fsencode(settings.home), None, ctypes.c_ulong(_MS_BIND), None)
    for path in PRIVATE:
        lay_over(path, _MS_NOSUID | _MS_NODEV, b"mode=1777")
    for path in settings.hidden:
        lay_over(path, _MS_RDONLY | _MS_NOSUID | _MS_NODEV, b"mode=0555,size=4k")


def lay_over(path: str, flags: int, options: bytes) -> None:
    """An empty file system over a folder, where there is one."""
    if os.path.isdir(path):  # noqa: PTH112  a link counts as what it leads to
        libc("mount", b"tmpfs", os.fsencode(path), b"tmpfs", ctypes.c_ulong(flags), options)


def become(run: Runner, streams: list[int], command: list[str]) -> NoReturn:
    """The announced interpreter, as that user, with these streams and nothing else."""
    try:
        os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)  # the received ones are above 2
        os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_NPROC, (MAX_PROCESSES, MAX_PROCESSES))
        os.setgroups(run.groups)
        os.setresgid(run.gid, run.gid, run.gid)
        os.setresuid(run.uid, run.uid, run.uid)
        prctl(_PR_SET_NO_NEW_PRIVS, 1)
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.chdir(run.home)
        os.umask(0o022)
        environment = {**run.environment, "HOME": run.home, "LANG": "C.UTF-8"}
        os.execve(command[0], command, environment)  # noqa: S606  the words are the machine's owner's
    except BaseException as error:  # noqa: BLE001  a child that could not become another must not go on as root
        os.write(2, f"subnet: no session: {error}\n".encode())
    os._exit(126)


# --- the end ---------------------------------------------------------------------------------------


def woken_by_children() -> int:
    """A descriptor that can be read when a child has ended."""
    waker, bell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
    return waker


def watched(pid: int, stdin: int, door: int, waker: int, until_s: float) -> int:
    """Wait until the program has ended, the time is over or nobody is there any more; its exit status, else GONE."""
    poll = select.poll()
    poll.register(waker, select.POLLIN)
    poll.register(stdin, _RDHUP)
    poll.register(door, _RDHUP)
    while (left_s := until_s - time.time()) > 0:
        for fd, _ in poll.poll(min(left_s, 60.0) * 1e3 + 1):
            if fd == waker:
                with contextlib.suppress(BlockingIOError):
                    os.read(waker, 4_096)
            else:  # once told it is told for ever
                poll.unregister(fd)
                until_s = min(until_s, time.time() + LEAVING_S)
        status = status_of(pid)
        if status is not None:
            return status
    return GONE


def status_of(pid: int) -> int | None:
    """The exit status of this child as a shell has it, None while it runs; others that ended are forgotten."""
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return GONE
        if ended == 0:
            return None
        if ended == pid:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def end_descendants(uid: int) -> None:
    """Ask all that this process ever started to end, and then make them: what a session leaves behind is ours by now."""
    end = time.monotonic() + GRACE_S
    signal_all(signal.SIGTERM)
    while (is_any := living()) and time.monotonic() < end:
        time.sleep(0.02)
    begin = time.monotonic()
    while is_any and time.monotonic() < begin + KILLING_S:
        signal_all(signal.SIGSTOP)  # none starts another while the others are killed
        signal_all(signal.SIGKILL)
        if uid >= FIRST_UID and time.monotonic() > begin + RUNNING_AWAY_S:
            kill_everything_of(uid)
        time.sleep(0.02)
        is_any = living()


def kill_everything_of(uid: int) -> None:
    """Kill all that this user runs, another session of the same validator too: the kernel does it in one go.

    For processes that follow each other faster than they can be listed.
    """
    pid = os.fork()
    if pid == 0:
        try:
            os.setresuid(uid, uid, uid)
            os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def living() -> list[int]:
    """What has not ended of what this process and its children started."""
    reaped()
    return descendants(os.getpid())


def signal_all(number: int) -> None:
    """Send it to every descendant."""
    for pid in descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def descendants(root: int) -> list[int]:
    """The processes below this one."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry.name}/stat", "rb") as file:  # noqa: PTH123
                parent = int(file.read().rpartition(b")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, left = [], [root]
    while left:
        below = children.get(left.pop(), [])
        found += below
        left += below
    return found


# --- the kernel ------------------------------------------------------------------------------------


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process."""
    libc("prctl", option, ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3)


def libc(name: str, *arguments: object) -> None:
    """A call of the C library that the standard library lacks; OSError when it fails."""
    library = ctypes.CDLL(None, use_errno=True)
    if cast("int", getattr(library, name)(*arguments)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
