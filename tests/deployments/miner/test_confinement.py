"""What a validator's key may do on an executor, tried on a real OpenSSH whose owner set nothing up against it."""

import ast
import asyncio
import base64
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import paramiko
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import SSHCertificateBuilder, SSHCertificateType
from paramiko import Ed25519Key
from paramiko.common import cMSG_CHANNEL_REQUEST
from paramiko.message import Message

from deployments.localnet import nvidia_smi
from deployments.localnet.cast import CAST
from deployments.localnet.homes import _shown_cards, proved_bytes
from deployments.localnet.warming import warm_cache
from deployments.miner.agent import build_app
from deployments.miner.listening import serve
from deployments.miner.visits import FILE, GRANTED, Sought, read_visits
from storage.records import Executor
from tasks.edges.nonces import NonceStore
from tasks.edges.peers import Peers, PeerSettings
from tasks.edges.runtime import find_engine
from tasks.edges.shell import EpochKey, Shell, ShellSession
from tasks.edges.wire import Offer
from tasks.errors import HostAway, SettingError
from tasks.inspection.facts import COMMANDS, read_facts
from tasks.inspection.talk import ask_facts, measure_bandwidth, start_prover, start_runner
from tasks.offering.config import MinerConfig, MinerExecutor
from tasks.onboarding.confinement import files, keeper
from tasks.onboarding.confinement.certificates import Authority, Purpose
from tasks.onboarding.confinement.grants import Grant
from tasks.policy import LOCALNET
from tasks.proof.archive import prover_archive
from tasks.proof.conversation import converse
from tasks.proof.verdict import verify_shard
from tasks.proof.wave import MonotonicClock, Wave, gate_limits_s
from tasks.renting.reaching import Doors
from tests.deployments.localnet.visiting import challenge_of, wait_for
from tests.deployments.miner import confined
from tests.deployments.miner.bare_machine import line, pem
from tests.deployments.miner.test_certificates import MINER, VALIDATOR, miner_at

OURS, OTHER = (
    "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY",
    "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty",
)
SHELL_USER = confined.OWNER
PROVED = next(e for e in CAST.executors if e.executor_id == "aurora-1")

SECRET = "/mnt/open/secret"
"""Of the miner's, for everybody to read."""
ENGINE = f"""\
#!/bin/sh
[ -w {confined.ENGINE} ] || exit 1
echo '{{"version": "28.2.2", "runtimes": {{"runc": {{}}, "sysbox-runc": {{}}}}}}'
"""
"""An engine's client: it answers whoever may use the socket."""

pytestmark = [
    pytest.mark.xdist_group("confinement"),
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, ("sshd", "ssh-keygen", "unshare", "useradd"))),
        reason="users, namespaces and sshd need root, OpenSSH and util-linux",
    ),
]


@dataclass(frozen=True)
class Ground:
    """The machine: its port, its host key, and the miner's authority, which this test has and no agent uses."""

    port: int
    host_key: bytes
    authority: Ed25519PrivateKey
    namespace: str = ""
    """Of its processes."""

    def executor(self, user: str) -> Executor:
        """As its miner announces it."""
        return Executor(
            "rack1-a", OURS, 4, 10, "127.0.0.1", self.port, user, confined.PYTHON, self.host_key, 1.0
        )


def certificate(
    authority: Ed25519PrivateKey,
    key: Ed25519PrivateKey,
    *,
    lives_s: float = 300.0,
    principal: str = "subnet-validate:rack1-a",
    hotkey: str = OURS,
) -> str:
    """As a miner's agent signs it, with all the extensions that OpenSSH knows besides."""
    now = time.time()
    until = int(now + lives_s)
    builder = SSHCertificateBuilder().public_key(key.public_key()).type(SSHCertificateType.USER)
    builder = builder.key_id(f"subnet:{hotkey}:7".encode()).valid_principals([principal.encode()])
    builder = builder.valid_after(min(int(now) - 60, until - 60)).valid_before(until)
    for allowed in (b"permit-X11-forwarding", b"permit-agent-forwarding", b"permit-port-forwarding"):
        builder = builder.add_extension(allowed, b"")
    builder = builder.add_extension(b"permit-pty", b"").add_extension(b"permit-user-rc", b"")
    return builder.sign(authority).public_bytes().decode()


@pytest.fixture(scope="module")
def owner() -> Ed25519PrivateKey:
    """The key of the machine's owner, who may do everything."""
    return Ed25519PrivateKey.generate()


@pytest.fixture(scope="module")
def ground(tmp_path_factory, request, owner) -> Iterator[Ground]:
    kernels = request.config.cache.mkdir("kernels")
    warm_cache(kernels)
    with brought_up(tmp_path_factory.mktemp("machine"), kernels, owner) as ground:
        yield ground


@contextlib.contextmanager
def brought_up(
    folder: Path, kernels: Path, owner: Ed25519PrivateKey, engine: str = "", rent_home: str = ""
) -> Iterator[Ground]:
    """A machine set up as its miner does it; `engine`: the socket of a real one, which sees the home of who rents."""
    authority, host = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = machine_told(folder, str(kernels.resolve()), port, (authority, host, owner), (engine, rent_home))
    command = [
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--propagation",
        "private",
    ]
    with subprocess.Popen(
        [*command, sys.executable, confined.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as machine:
        try:
            print(json.dumps(told), file=machine.stdin, flush=True)
            if machine.stdout.readline() != "ready\n":
                pytest.fail("the machine did not come up")
            namespace = str(Path(f"/proc/{machine.pid}/ns/pid_for_children").readlink())
            yield Ground(port, base64.b64decode(line(host).split()[1]), authority, namespace)
        finally:
            machine.stdin.close()
            machine.kill()


def machine_told(folder, kernels, port, keys, renting) -> dict[str, object]:
    (authority, host, owner), (engine, rent_home) = keys, renting
    spec = files.Machine(
        "rack1-a",
        line(authority),
        confined.PYTHON,
        hidden=tuple(folder for folder in files.HIDDEN if not kernels.startswith(f"{folder}/")),
        environment=(("SUBNET_SIMULATED_CARDS", confined.CARDS), ("SUBNET_FAKE_GPUS", confined.SHOWN)),
    )
    sshd = (
        f"Include /etc/ssh/sshd_config.d/*.conf\nListenAddress 127.0.0.1:{port}\nHostKey /etc/ssh/host\n"
        "PidFile none\nLogLevel VERBOSE\nSubsystem sftp internal-sftp\nAllowTcpForwarding yes\nPermitTunnel yes\n"
        "AllowStreamLocalForwarding yes\nGatewayPorts yes\nX11Forwarding yes\nPermitUserEnvironment yes\n"
        "AcceptEnv *\n"
    )
    homes, prover = (
        {files.RENT_USER: {"home": rent_home}} if engine else {},
        keeper.uid_of(f"subnet:{OURS}:7"),
    )
    smi = "/usr/local/lib/nvidia_smi.py"
    keys = f"/var/lib/{confined.OWNER}/.ssh/authorized_keys"
    things = [
        ("/etc/ssh/sshd_config", sshd, 0o644),
        ("/etc/ssh/host", pem(host), 0o600),
        (keys, line(owner) + "\n", 0o600),
        (SECRET, "the miner's", 0o644),
        (smi, Path(nvidia_smi.__file__).read_text(), 0o644),
        ("/usr/local/bin/nvidia-smi", f'#!/bin/sh\nexec {confined.PYTHON} -I -S {smi} "$@"\n', 0o755),
        *([] if engine else [("/usr/local/bin/docker", ENGINE, 0o755)]),
        ("/usr/local/bin/podman", "#!/bin/sh\nexit 127\n", 0o755),
        (confined.SHOWN, _shown_cards(PROVED), 0o644),
        *((f"{confined.CARDS}/{u}/total", str(proved_bytes(PROVED.model)), 0o644) for u in PROVED.card_uuids),
    ]
    return {
        "folder": str(folder),
        "engine": engine,
        "kernels": kernels,
        "port": port,
        "accounts": [asdict(a) | homes.get(a.name, {}) for a in files.accounts(spec)]
        + [asdict(files.Account(confined.OWNER, f"/var/lib/{confined.OWNER}"))],
        "folders": [asdict(f) for f in files.folders()],
        "files": [asdict(f) for f in files.files(spec)],
        "keeper": files.KEEPER,
        "socket": keeper.SOCKET,
        "things": things,
        "owned": [f"/var/lib/{confined.OWNER}", keys, str(Path(keys).parent)],
        "prover": files.RENT_USER if engine else prover,
        "prover_home": rent_home if engine else f"{files.STATE}/homes/{prover}",
    }


def soon(seconds: float = 10.0) -> float:
    return time.monotonic() + seconds


def epoch_key(ground: Ground, **changes: object) -> EpochKey:
    """A fresh key with a certificate of the miner's authority."""
    key = Ed25519PrivateKey.generate()
    signer = Ed25519Key(file_obj=StringIO(pem(key)))
    signer.load_certificate(certificate(ground.authority, key, **changes))
    return EpochKey(line(key), signer)


def enter(ground: Ground, user: str = files.VALIDATE_USER, **changes: object) -> ShellSession:
    return Shell().open(ground.executor(user), epoch_key(ground, **changes), deadline=soon())


def told(session: ShellSession, program: str) -> object:
    """What this program's `answer` is, run as a validator runs its own: it is the first frame."""
    send = "import json, sys; told = json.dumps(answer).encode()\n"
    send += "sys.stdout.buffer.write(len(told).to_bytes(4, 'big') + told); sys.stdout.flush()\n"
    session.send((program + "\n" + send + "import time; time.sleep(60)").encode(), deadline=soon())
    return json.loads(session.receive(deadline=soon(), limit_bytes=100_000))


@contextlib.contextmanager
def logged_in(ground: Ground, user: str, key: Ed25519Key) -> Iterator[paramiko.Transport]:
    """A connection that has no bounds of ours."""
    transport = paramiko.Transport(("127.0.0.1", ground.port))
    try:
        transport.start_client(timeout=10)
        transport.auth_publickey(user, key)
        yield transport
    finally:
        transport.close()


# --- the end ---------------------------------------------------------------------------------------

STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
try:
    os.kill(os.getppid(), 9)
except PermissionError as error:
    saved = str(error)
left = [sys.executable, "-I", "-c", "import signal,time; signal.signal(15, 1); print(1, flush=True); time.sleep(99)"]
if os.fork() == 0:
    os.setsid()
    child = subprocess.Popen(left + [MARK], stdout=subprocess.PIPE, start_new_session=True)
    child.stdout.readline()
    os._exit(0)
os.wait()
answer = saved
"""
"""It does not want to end: it tries to kill who holds it, leaves a process to nobody, and hears no request."""


def is_running(mark: str) -> bool:
    return any(
        mark.encode() in cmdline
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if (cmdline := contents(path))
    )


def contents(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_session_ends_with_its_certificate(ground):
    """At its certificate's end a session is over and all that it ever started is dead, though it defends itself.

    No agent runs, and nobody hangs up: the program ignores SIGTERM, has a child that left it, and tries to kill its holder.
    """

    mark = secrets.token_hex(8)
    begin = time.time()
    with enter(ground, lives_s=2.0) as session:
        assert "not permitted" in told(session, f"MARK = {mark!r}" + STUBBORN)
        assert is_running(mark)
        with pytest.raises(HostAway, match="status 129"):
            session.receive(deadline=soon(15), limit_bytes=10)

    assert wait_for(lambda: not is_running(mark))
    assert time.time() - begin < 2.0 + keeper.GRACE_S + 4.0


def test_a_certificate_that_has_ended_lets_nobody_in(ground):
    """A key whose certificate was good is refused after its end, though nothing but sshd saw it."""

    key = epoch_key(ground, lives_s=2.0)
    with Shell().open(ground.executor(files.VALIDATE_USER), key, deadline=soon()) as session:
        assert told(session, "answer = 1") == 1
    time.sleep(2.1)
    with pytest.raises(HostAway) as caught:
        Shell().open(ground.executor(files.VALIDATE_USER), key, deadline=soon())

    assert caught.value.phase == "auth"


def test_a_connection_that_stays_open_starts_nothing_after_the_end(ground):
    """A connection outlives its certificate, but a program asked for on it then does not come about."""

    key = epoch_key(ground, lives_s=2.0)
    with logged_in(ground, files.VALIDATE_USER, key.signer) as transport:
        time.sleep(2.1)
        channel = transport.open_session(timeout=5)
        channel.exec_command("anything")

        assert channel.recv_exit_status() == 1
        assert b"certificate has ended" in channel.recv_stderr(1_000)


def test_a_session_that_is_left_ends(ground):
    """What a session started is dead soon after its connection broke, whether it listens or not."""

    mark = secrets.token_hex(8)
    with enter(ground) as session:
        told(session, f"MARK = {mark!r}" + STUBBORN)

    assert wait_for(lambda: not is_running(mark), keeper.LEAVING_S + keeper.GRACE_S + 4.0)


RUNNER = """
import os, signal
if os.fork() == 0:
    os.fork(), os.fork(), os.fork(), os.fork()
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    while True:
        if os.fork():
            os._exit(0)
answer = 1
"""
"""Every process of it has ended before somebody who saw it can do anything to it."""


@pytest.mark.long
def test_nobody_runs_away_from_the_end(ground):
    """A session whose processes follow each other faster than they can be listed is dead all the same."""

    uid = keeper.uid_of(f"subnet:{OTHER}:7")
    with enter(ground, hotkey=OTHER) as session:
        told(session, RUNNER)
        assert has_processes(uid)

    assert wait_for(lambda: not has_processes(uid), keeper.LEAVING_S + keeper.GRACE_S + 4.0)


def test_a_users_processes_are_killed_in_one_go():
    """Where listing is too slow, everything that a validator's user runs is killed, and nothing of anybody else's."""

    program = (
        f"from tasks.onboarding.confinement import keeper; keeper.kill_everything_of({keeper.FIRST_UID})"
    )
    sleep = ["/bin/sleep", "60"]
    with (
        subprocess.Popen(sleep, user=keeper.FIRST_UID) as theirs,
        subprocess.Popen(sleep, user=keeper.FIRST_UID + 1) as others,
    ):
        subprocess.run([sys.executable, "-c", program], check=True)
        assert theirs.wait(5) == -signal.SIGKILL
        assert others.poll() is None
        others.kill()


def has_processes(uid: int) -> bool:
    """Whether this user has any, looked at often enough that one who runs is seen."""
    return any(owner_of(path) == uid for _ in range(20) for path in Path("/proc").glob("[0-9]*"))


def owner_of(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except OSError:
        return None


def test_sessions_outlive_their_keeper(ground):
    """A keeper that is killed takes no session with it, which ends when it should; the next keeper lets in again."""

    with enter(ground, lives_s=2.0) as session:
        assert told(session, "answer = 1") == 1
        (pid,) = [
            int(path.parent.name)
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if is_keeper(path) and not is_holder(path) and namespace_of(path) == ground.namespace
        ]
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(HostAway, match="status 129"):
            session.receive(deadline=soon(15), limit_bytes=10)
    with enter(ground) as session:
        assert told(session, "answer = 2") == 2


def is_keeper(path: Path) -> bool:
    return contents(path).endswith(f"{files.KEEPER}\0serve\0".encode())


def namespace_of(path: Path) -> str:
    try:
        return str((path.with_name("ns") / "pid").readlink())
    except OSError:
        return ""


def is_holder(path: Path) -> bool:
    """A holder is a keeper's child, and has its words."""
    try:
        parent = path.with_name("stat").read_text().rpartition(")")[2].split()[1]
    except OSError:
        return True
    return is_keeper(Path("/proc", parent, "cmdline"))


# --- who comes in ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "changes"),
    [
        (files.VALIDATE_USER, {"principal": "subnet-validate:rack1-b"}),
        (files.VALIDATE_USER, {"principal": "subnet-rent:rack1-a"}),
        (files.RENT_USER, {"principal": "subnet-validate:rack1-a"}),
        (files.VALIDATE_USER, {"principal": files.VALIDATE_USER}),
        (SHELL_USER, {}),
        ("root", {}),
    ],
)
def test_a_certificate_is_for_one_machine_and_one_user(ground, user, changes):
    """A certificate for another machine, for another purpose or without one lets nobody in, and none is the owner's."""

    with pytest.raises(HostAway) as caught:
        enter(ground, user, **changes)

    assert caught.value.phase == "auth"


def test_only_the_miners_authority_counts(ground, owner):
    """Another authority's certificate, a bare key and the owner's own key don't open the validators' door."""

    others = Ground(ground.port, ground.host_key, Ed25519PrivateKey.generate())
    bare = EpochKey.generate()
    owners = EpochKey(line(owner), Ed25519Key(file_obj=StringIO(pem(owner))))
    for key in (epoch_key(others), bare, owners):
        with pytest.raises(HostAway, match="auth"):
            Shell().open(ground.executor(files.VALIDATE_USER), key, deadline=soon())


def test_what_the_agent_signs_lets_in(ground):
    """The agent's certificates fit the machine's files, and the program that the machine's owner set wins over theirs."""

    authority = Authority(ground.authority, session="/bin/sh -c id")
    key, until = EpochKey.generate(), datetime.now(UTC) + timedelta(minutes=5)
    grant = Grant(key.public_line, OURS, 7, until)
    signed = key.certified(authority.issue(grant, "rack1-a", now=datetime.now(UTC)))
    with Shell().open(ground.executor(files.VALIDATE_USER), signed, deadline=soon()) as session:
        assert told(session, "answer = 1") == 1

    machine = files.Machine("rack1-a", line(ground.authority), confined.PYTHON)
    for purpose in Purpose:
        assert files.keys_text(machine, purpose.value) == authority.line("rack1-a", purpose) + "\n"


def test_the_keeper_checks_signatures_itself():
    """The keeper believes no text that names a certificate: a later end, or another authority, is refused there."""

    authority, key = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    ca = line(authority).split()[1]
    kind, text = certificate(authority, key).split()
    blob = base64.b64decode(text)
    until = struct.pack(">Q", keeper.parse(blob).until_s)
    later = blob.replace(until, struct.pack(">Q", keeper.parse(blob).until_s + 3_600))

    assert keeper.verified(f"publickey {kind} {text}\n".encode(), ca).key_id == f"subnet:{OURS}:7"
    for told_blob, by in ((later, ca), (blob, line(key).split()[1]), (blob[:90], ca)):
        credential = b"publickey %s %s\n" % (kind.encode(), base64.b64encode(told_blob))
        with pytest.raises(keeper.Refused):
            keeper.verified(credential, by)
    with pytest.raises(keeper.Refused, match="only a certificate"):
        keeper.verified(f"publickey {line(key)}\n".encode(), ca)


# --- what can be asked for -------------------------------------------------------------------------


def send(channel: paramiko.Channel, kind: str, *parts: object) -> bool:
    """A request on a channel that wants an answer; whether it was granted."""
    message = Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string(kind)
    message.add_boolean(True)  # noqa: FBT003  it wants an answer
    for part in parts:
        message.add(part)
    channel._event_pending()
    channel.transport._send_user_message(message)
    try:
        channel._wait_for_event()
    except paramiko.SSHException:
        return False
    return True


def asks_to_forward(kind: str, *parts: str | int):
    """To be connected to something through the machine."""

    def ask(transport: paramiko.Transport) -> bool:
        try:
            if kind == "direct-tcpip":
                transport.open_channel(kind, (parts[0], parts[1]), ("127.0.0.1", 1), timeout=5)
            else:
                raw_channel(transport, kind, *parts)
        except paramiko.ChannelException:
            return False
        return True

    return ask


def raw_channel(transport: paramiko.Transport, kind: str, *parts: str | int) -> None:
    """Open a channel of a kind that paramiko does not know; ChannelException when it is refused."""
    channel = paramiko.Channel(77)
    message = Message()
    message.add_byte(b"\x5a")
    message.add_string(kind)
    for number in (77, 1 << 20, 1 << 15):
        message.add_int(number)
    for part in parts:
        message.add(part)
    event = threading.Event()
    transport._channels.put(77, channel)
    transport.channel_events[77] = event
    transport.channels_seen[77] = True
    channel._set_transport(transport)
    channel._set_window(1 << 20, 1 << 15)
    transport._send_user_message(message)
    assert event.wait(5)
    if transport._channels.get(77) is None:
        raise paramiko.ChannelException(1, "refused")


def asks_to_listen(transport: paramiko.Transport) -> bool:
    """For a port of the machine."""
    try:
        transport.request_port_forward("127.0.0.1", 0)
    except paramiko.SSHException:
        return False
    return True


def asks_to_listen_at_a_path(transport: paramiko.Transport) -> bool:
    """For a socket of a fresh name in a folder of the machine's that is open to everybody."""
    path = f"{confined.CARDS}/{secrets.token_hex(4)}.sock"
    return transport.global_request("streamlocal-forward@openssh.com", (path,), wait=True) is not None


def asks_in_a_session(kind: str, *parts: object):
    """For something of a session's."""

    def ask(transport: paramiko.Transport) -> bool:
        return send(transport.open_session(timeout=5), kind, *parts)

    return ask


OWNERS_ONLY = {
    "a connection to a socket": asks_to_forward("direct-streamlocal@openssh.com", keeper.SOCKET, "", 0),
    "a port": asks_to_listen,
    "a socket": asks_to_listen_at_a_path,
    "a terminal": asks_in_a_session("pty-req", "xterm", 80, 24, 0, 0, ""),
    "an agent": asks_in_a_session("auth-agent-req@openssh.com"),
}


@pytest.mark.parametrize("what", ["a connection to a port", *OWNERS_ONLY])
def test_no_terminal_and_no_way_through(ground, owner, what):
    """What the machine's owner gets from the same server, a validator or a renter does not, whatever its certificate allows."""

    to_itself = asks_to_forward("direct-tcpip", "127.0.0.1", ground.port)
    ask = OWNERS_ONLY.get(what, to_itself)
    own = Ed25519Key(file_obj=StringIO(pem(owner)))
    validator, renter = epoch_key(ground), epoch_key(ground, principal="subnet-rent:rack1-a")
    with logged_in(ground, SHELL_USER, own) as transport:
        assert ask(transport)
    for user, key in ((files.VALIDATE_USER, validator), (files.RENT_USER, renter)):
        with logged_in(ground, user, key.signer) as transport:
            assert not ask(transport)


def test_no_tunnel(ground):
    """A tunnel is refused before a device is looked for, by sshd's words in its own configuration's name."""

    with (
        logged_in(ground, files.VALIDATE_USER, epoch_key(ground).signer) as transport,
        pytest.raises(paramiko.ChannelException),
    ):
        raw_channel(transport, "tun@openssh.com", 1, 0x7FFFFFFF)


@pytest.mark.parametrize("asked", ["exec", "subsystem", "shell"])
def test_one_program_whatever_is_asked(ground, asked):
    """A command, sftp and a login shell are all the same: the announced interpreter reading its program, told nothing of it."""

    with logged_in(ground, files.VALIDATE_USER, epoch_key(ground).signer) as transport:
        channel = transport.open_session(timeout=5)
        parts = {"exec": ["touch /tmp/was-here; id"], "subsystem": ["sftp"], "shell": []}[asked]
        send(channel, "env", "LD_PRELOAD", "/tmp/evil.so")
        assert send(channel, asked, *parts)
        program = (
            b"import os, sys; print(sorted(os.environ), sys.orig_argv[:3], os.path.exists('/tmp/was-here'))"
        )
        channel.sendall(len(program).to_bytes(4, "big") + program)
        said = channel.makefile().readline()

    names = "'HOME', 'LANG', 'PATH', 'SUBNET_FAKE_GPUS', 'SUBNET_PROOF_LOCKS', 'SUBNET_SIMULATED_CARDS'"
    assert said == f"[{names}] ['{confined.PYTHON}', '-I', '-c'] False\n"


# --- what can be reached from inside ---------------------------------------------------------------

LOOKS = """
import os, socket
def tried(what):
    try:
        return repr(what())
    except OSError as error:
        return type(error).__name__
def connected(path):
    with socket.socket(socket.AF_UNIX) as door:
        return door.connect(path)
read = lambda path: tried(lambda: open(path).read())
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
answer = {
    "files": [read(path) for path in PATHS],
    "homes": tried(lambda: os.listdir("/var/lib/subnet/homes")),
    "engine": tried(lambda: connected("/run/docker.sock")),
    "uid": [os.getuid(), os.geteuid(), os.getgid()],
    "groups": os.getgroups(),
    "caps": [status[name].strip() for name in ("CapEff", "CapPrm", "NoNewPrivs")],
    "written": tried(lambda: open("/tmp/mine", "x").write("x")),
    "kept": tried(lambda: open("mine", "w").write("x")),
}
"""
PATHS = ("/etc/shadow", "/etc/subnet/keeper.json", SECRET, "/etc/ssh/host")


def looked(session: ShellSession) -> dict[str, object]:
    answer = told(session, f"PATHS = {PATHS!r}" + LOOKS)
    assert isinstance(answer, dict)
    return answer


def test_a_validator_sees_nothing_of_the_miners(ground):
    """Files of root's and the miner's can't be read, not even those open to everybody, nor the engine be reached."""

    with enter(ground) as session:
        seen = looked(session)

    assert set(seen["files"]) <= {"PermissionError", "FileNotFoundError"}
    assert (seen["homes"], seen["engine"]) == ("PermissionError", "PermissionError")
    assert seen["caps"] == ["0000000000000000", "0000000000000000", "1"]
    assert seen["uid"] == [keeper.uid_of(f"subnet:{OURS}:7")] * 3
    assert (seen["written"], seen["kept"]) == ("1", "1")


def test_validators_are_strangers_to_each_other(ground):
    """Another validator's session finds neither files nor home of the first, and can't end its processes."""

    with enter(ground) as one, enter(ground, hotkey=OTHER) as two:
        told(one, "open('mine', 'w').write('x'); open('/tmp/mine', 'w').write('x'); answer = 1")
        finds = (
            "import os\nanswer = [os.path.exists('mine'), os.path.exists('/tmp/mine'), os.getuid()]\n"
            "for name in filter(str.isdigit, os.listdir('/proc')):\n"
            "    try:\n"
            f"        theirs = os.stat('/proc/' + name).st_uid == {keeper.uid_of(f'subnet:{OURS}:7')}\n"
            "        if theirs: answer.append(os.kill(int(name), 9))\n"
            "    except OSError as error: answer.append(type(error).__name__)\n"
        )
        found = told(two, finds)
        assert one.is_alive

    assert found[:3] == [False, False, keeper.uid_of(f"subnet:{OTHER}:7")]
    assert set(found[3:]) == {"PermissionError"}


def test_no_session_from_inside_a_session(ground):
    """A session can't have the keeper start another one, though it shows a certificate that is good: it is hung up on."""

    key = epoch_key(ground)
    shown = f"publickey {key.signer.public_blob.key_type} {base64.b64encode(key.signer.public_blob.key_blob).decode()}"
    program = (
        "import socket, struct\nr, w = __import__('os').pipe()\n"
        f"door = socket.socket(socket.AF_UNIX); door.connect({keeper.SOCKET!r}); text = {shown!r}.encode()\n"
        "rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack('3i', r, w, w))]\n"
        "try:\n"
        "    door.sendmsg([struct.pack('>I', len(text)) + text], rights)\n"
        "    answer = list(door.recv(1))\n"
        "except (BrokenPipeError, ConnectionResetError):\n"
        "    answer = []\n"
    )
    with Shell().open(ground.executor(files.VALIDATE_USER), key, deadline=soon()) as session:
        answer = told(session, program)

    assert answer == []


IDLE = f"""
import socket
doors = [socket.socket(socket.AF_UNIX) for _ in range(300)]
for door in doors:
    door.connect({keeper.SOCKET!r})
answer = 1
"""
"""Connections to the keeper that say nothing."""


def test_one_validator_keeps_no_other_out(ground):
    """With all the sessions that it may have, and hundreds of connections beside them, others come in as fast as ever."""

    third = "5FLSigC9HGRKVhB9FiEo4Y3koPsNmBmLJbpXg2mp1hXcS59Y"
    with contextlib.ExitStack() as open_ones:
        for number in range(keeper.MAX_VALIDATING):
            session = open_ones.enter_context(enter(ground, hotkey=third))
            assert told(session, "answer = 2" if number else IDLE) == (2 if number else 1)
        with pytest.raises(HostAway, match="sessions of this validator"):
            told(open_ones.enter_context(enter(ground, hotkey=third)), "answer = 3")
        begin = time.monotonic()
        with enter(ground) as session:
            assert told(session, "answer = 4") == 4
        took_s = time.monotonic() - begin

    assert took_s < keeper.GREETING_S


def test_neither_user_takes_all_room():
    """Those who validate and those who rent each leave room for the others, whose sessions are begun first then."""

    validator, renter = 1, 2

    assert keeper.has_room([validator] * (keeper.MAX_OF_A_USER - 1), validator)
    assert not keeper.has_room([validator] * keeper.MAX_OF_A_USER, validator)
    assert keeper.has_room([validator] * keeper.MAX_OF_A_USER, renter)
    assert not keeper.has_room(
        [validator] * keeper.MAX_OF_A_USER + [renter] * (keeper.MAX_SESSIONS - keeper.MAX_OF_A_USER), renter
    )


def test_only_a_renters_grant_reaches_the_engine(ground):
    """With a certificate for renting the engine's socket can be reached, by that user and by no validator."""

    with enter(ground, files.RENT_USER, principal="subnet-rent:rack1-a") as session:
        seen = looked(session)

    assert seen["engine"] == "None"
    assert set(seen["files"][:2] + seen["files"][3:]) <= {"PermissionError"}


def test_a_grant_for_renting_ends(ground):
    """What a lease's certificate opened is over at its end, and nobody logs in by it any more."""

    key = epoch_key(ground, principal="subnet-rent:rack1-a", lives_s=2.0)
    with Shell().open(ground.executor(files.RENT_USER), key, deadline=soon()) as session:
        assert looked(session)["engine"] == "None"
        with pytest.raises(HostAway, match="status 129"):
            session.receive(deadline=soon(15), limit_bytes=10)
    with pytest.raises(HostAway, match="auth"):
        Shell().open(ground.executor(files.RENT_USER), key, deadline=soon())


def test_only_a_lease_gets_the_grant(ground, tmp_path):
    """From a validator's request to the engine, by the agent: for a lease as the announced user for rentals, else not.

    A lease that the agent does not let in is told why, and nothing is opened for it.
    """

    async def live() -> list[object]:
        config = announcing(ground, tmp_path, max_leases=1)
        async with visited(config, tmp_path) as ask:
            lease, validating = await ask("l-1"), await ask("")
            with pytest.raises(HostAway) as refused:
                await ask("l-2")
            return [lease, validating, str(refused.value)]

    lease, validating, refused = asyncio.run(live())
    assert (lease.executor.user, validating.executor.user) == (files.RENT_USER, files.VALIDATE_USER)
    assert lease.is_certified
    with lease.open(soon()) as session:
        assert find_engine(session, deadline=soon()).engine.version == "28.2.2"
    with Shell().open(validating.executor, validating.key, deadline=soon()) as session:
        assert looked(session)["engine"] == "PermissionError"
    with pytest.raises(HostAway, match="auth"):
        Shell().open(ground.executor(files.RENT_USER), validating.key, deadline=soon())
    assert "TOO_MANY_LEASES lease l-2: 1 leases are open on rack1-a" in refused
    assert [v.reason for v in read_visits(tmp_path / FILE, Sought(code=GRANTED))] == [
        "epoch 7",
        "lease l-1",
    ]


def announcing(ground: Ground, folder: Path, **terms: object) -> MinerConfig:
    """The file of this machine's miner."""
    (folder / "ca").touch(mode=0o600)
    (folder / "ca").write_text(pem(ground.authority))
    executor = ground.executor(files.VALIDATE_USER)
    offer = Offer(
        executor_id=executor.executor_id,
        address=executor.address,
        port=executor.port,
        user=executor.user,
        python=executor.python,
        host_key=base64.b64encode(executor.host_key).decode(),
        price_usd_per_hour=executor.price_usd_per_hour,
    )
    one = MinerExecutor(offer, rent_user=files.RENT_USER)
    return MinerConfig((one,), folder=folder, ssh_ca=folder / "ca", **terms)


@contextlib.asynccontextmanager
async def visited(config: MinerConfig, folder: Path):
    """The miner's agent, and how a validator of ours comes to its machine for a lease."""
    doors, store = Doors(), NonceStore(folder / "nonces.sqlite")
    door = build_app(config, MINER, lambda _: True, store)
    async with (
        serve(door, "127.0.0.1", 0) as port,
        Peers(VALIDATOR, PeerSettings(allow_private=True)) as peers,
    ):
        seen = SimpleNamespace(epoch=7, neurons={MINER.ss58_address: miner_at(port)})
        key = f"{MINER.ss58_address}/{config.executors[0].offer.executor_id}"
        yield lambda lease: doors.way(seen, peers, Shell(), key, lease)
    store.close()


# --- what validators come for ----------------------------------------------------------------------


def test_a_whole_inspection_with_a_proof(ground, request):
    """Facts, bandwidth and the proof of a simulated card pass through confinement as they do without it."""

    kernels = request.config.cache.mkdir("kernels").resolve()
    if not all(folder.stat().st_mode & 0o001 for folder in kernels.parents):
        pytest.skip(f"compiled kernels lie where nobody else may look: {kernels}")
    with enter(ground) as session:
        until = soon(60)
        start_runner(session, deadline=until)
        outputs = ask_facts(session, COMMANDS, deadline=until)
        facts, unreadable = read_facts({output.name: output for output in outputs})
        speed = measure_bandwidth(session, 1 << 20, deadline=until)
        start_prover(session, prover_archive().content, "~/.cache/subnet", deadline=until)
        challenge, clock = challenge_of(PROVED), MonotonicClock()
        wave = Wave([challenge.origin.executor_key], gate_limits_s(LOCALNET.proof, 60.0), clock)
        reply = converse(session, challenge, wave, clock, LOCALNET.proof, secrets.token_bytes)

    assert [card.uuid.lower() for card in facts.cards] == [u.lower() for u in PROVED.card_uuids]
    assert unreadable == ()
    assert None not in (facts.ram_bytes, facts.disk_free_bytes, facts.uptime_s)
    assert facts.network_interfaces
    assert (facts.container_runtime, facts.container_runtimes) == ("docker 28.2.2", ("runc", "sysbox-runc"))
    assert speed.up_mbit_s > 100
    assert verify_shard([(challenge, reply)])[0].code == "PROVED"


# --- the files -------------------------------------------------------------------------------------


def spec(**changes: str) -> files.Machine:
    told = {
        "executor_id": "rack1-a",
        "authority": line(Ed25519PrivateKey.generate()),
        "python": "/opt/p/bin/python",
    }
    return files.Machine(**(told | changes))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("executor_id", 'a" ssh-rsa'),
        ("executor_id", ""),
        ("authority", "ssh-ed25519 AAAA\nssh-ed25519 BBBB"),
        ("python", "/opt/p y"),
        ("python", "/home/miner/bin/python"),
        ("python", "/root/bin/python"),
        ("engine_group", "docker,root"),
    ],
)
def test_what_would_mean_something_else_is_refused(field, value):
    """No value of the owner's becomes another line, another option, or an interpreter that validators could not reach."""

    with pytest.raises(SettingError):
        spec(**{field: value})


def test_nobody_but_root_changes_what_confines():
    """Every file is root's and closed to others' writing, and so is every folder above one."""

    written = [file.path for file in files.files(spec())]
    above = {str(parent) for path in written for parent in Path(path).parents}

    assert all(file.mode & 0o022 == 0 for file in files.files(spec()))
    assert all(f.owner == "root" and f.mode & 0o022 == 0 for f in files.folders() if f.path in above)


def test_the_keeper_is_for_old_interpreters():
    """The keeper is one program that Python 3.8 reads, and its settings are those that it takes."""

    ast.parse(files.keeper_text(), feature_version=(3, 8))
    settings = keeper.Settings(**json.loads(files.settings_text(spec())))

    assert settings.command[0] == "/opt/p/bin/python"
    assert files.keeper_text().startswith("#!/usr/bin/python3 -I\n")
