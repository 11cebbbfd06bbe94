import contextlib
import dataclasses
import os
import pickle
import resource
import shlex
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.edges.bounded import ALLOWED, Bounds
from tasks.edges.shell import (
    HOST_KEY_PREFIX,
    LOADER,
    EpochKey,
    Pacer,
    Shell,
    ShellSession,
    ShellSettings,
    Target,
)
from tasks.errors import BadAnswer, HostAway, HostKeyMismatch, LimitExceeded
from tests.tasks.edges.certified import certificate_of
from tests.tasks.edges.honest import USER, Host, serving
from tests.tasks.edges.openssh import let_in, needs_sshd, openssh

ECHO = b"""
import sys
def frames():
    while len(header := sys.stdin.buffer.read(4)) == 4:
        yield sys.stdin.buffer.read(int.from_bytes(header, "big"))
for frame in frames():
    if frame == b"die":
        sys.exit("out of order")
    if frame == b"chatter":
        sys.stderr.write("x" * 3_000_000)
    sys.stdout.buffer.write(len(frame).to_bytes(4, "big") + frame)
    sys.stdout.flush()
"""
"""A program that sends every frame back; it is read with two more frames' worth of habits."""


@pytest.fixture(scope="module")
def key() -> EpochKey:
    return EpochKey.generate()


@pytest.fixture(scope="module")
def host(key: EpochKey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with serving(key, tmp_path_factory.mktemp("home")) as host:
        yield host


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


@contextlib.contextmanager
def echoing(host: Host, key: EpochKey, settings: ShellSettings | None = None) -> Iterator[ShellSession]:
    with Shell(settings).open(host.executor(), key, deadline=soon()) as session:
        session.send(ECHO, deadline=soon())
        yield session


def ask(session: ShellSession, frame: bytes, limit_bytes: int = 1 << 20) -> bytes:
    session.send(frame, deadline=soon())
    return session.receive(deadline=soon(), limit_bytes=limit_bytes)


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]


class TestHonestServer:
    def test_frames_come_back_whole(self, host: Host, key: EpochKey) -> None:
        """Frames of every size, empty and a whole MiB included, go and come unchanged and in order."""

        frames = [b"", b"a", os.urandom(32_764), os.urandom(32_765), os.urandom(1 << 20)]
        with echoing(host, key) as session:
            answers = [ask(session, frame) for frame in frames]

        assert answers == frames

    def test_one_connection_one_exec(self, host: Host, key: EpochKey) -> None:
        """A whole session is one connection and one exec, whose command is a constant but for the interpreter."""

        connections, commands = host.connections, len(host.commands)
        with echoing(host, key) as session:
            ask(session, b"first phase")
            ask(session, b"second phase")

        assert host.connections == connections + 1
        assert host.commands[commands:] == [f"exec {sys.executable} -I -c '{LOADER}'"]

    def test_program_ends_with_the_session(self, host: Host, key: EpochKey) -> None:
        """Closing a session ends the program at the far end; there was never a thread for it."""

        with echoing(host, key) as session:
            ask(session, b"hello")
            assert is_running(host.pids[-1])
            assert session._transport not in threading.enumerate()
            session.close()
        until = soon()
        while is_running(host.pids[-1]) and time.monotonic() < until:
            time.sleep(0.01)

        assert not is_running(host.pids[-1])
        assert not session.is_alive

    def test_stderr_never_blocks_or_mixes(self, host: Host, key: EpochKey) -> None:
        """Megabytes on stderr neither get into the frames nor stop the program for want of window."""

        with echoing(host, key) as session:
            assert ask(session, b"chatter") == b"chatter"
            assert ask(session, b"more") == b"more"

    def test_idle_session_survives_its_last_deadline(self, host: Host, key: EpochKey) -> None:
        """A deadline belongs to one call: a session that rests beyond it goes on with the next."""

        with echoing(host, key) as session:
            session.send(b"one", deadline=soon(0.6))
            assert session.receive(deadline=soon(0.6), limit_bytes=10) == b"one"
            time.sleep(1.2)
            assert ask(session, b"two") == b"two"

    def test_who_asks_whether_it_is_alive_takes_nothing_from_who_waits(
        self, host: Host, key: EpochKey
    ) -> None:
        """One thread waits for answers, another asks all the while whether the session is alive: each answer comes at once."""
        frames = [b"%d" % number for number in range(100)]
        with ThreadPoolExecutor(1) as pool, echoing(host, key) as session:
            answers = pool.submit(lambda: [ask(session, frame) for frame in frames])
            told, until = set(), soon(20.0)
            while not answers.done() and time.monotonic() < until:
                told.add(session.is_alive)
            session.close()  # whose answer was taken would wait for it for minutes

            assert answers.result() == frames
            assert told == {True}

    def test_many_at_once(self, host: Host, key: EpochKey) -> None:
        """Forty sessions opened at the same time all succeed, and none leaves a thread behind."""

        shell, before = Shell(), threading.active_count()

        def visit(number: int) -> bytes:
            with shell.open(host.executor(), key, deadline=soon(20)) as session:
                session.send(ECHO, deadline=soon(20))
                session.send(b"%d" % number, deadline=soon(20))
                return session.receive(deadline=soon(20), limit_bytes=100)

        with ThreadPoolExecutor(40) as pool:
            answers = list(pool.map(visit, range(40)))

        assert answers == [b"%d" % number for number in range(40)]
        assert not [t for t in threading.enumerate() if "BoundedTransport" in type(t).__name__]
        assert threading.active_count() <= before + 45  # the server's own, which waits for processes

    def test_counts_what_came(self, host: Host, key: EpochKey) -> None:
        """`bytes_received` counts what came from the network, a little more than the frames."""

        with echoing(host, key) as session:
            before = session.bytes_received
            ask(session, bytes(100_000))

            assert 100_000 < session.bytes_received - before < 110_000


class TestRefusals:
    def test_another_host_key(self, host: Host, key: EpochKey) -> None:
        """A server with another key than the announced one is refused before we log in."""

        commands = len(host.commands)
        other = EpochKey.generate().signer.asbytes()
        with pytest.raises(HostKeyMismatch) as caught:
            Shell().open(host.executor(host_key=other), key, deadline=soon())

        assert (caught.value.got, caught.value.wanted) == (host.host_key, other)
        assert len(host.commands) == commands

    def test_unknown_key_of_ours(self, host: Host) -> None:
        """A server that does not know our key is away in the phase `auth`."""

        with pytest.raises(HostAway) as caught:
            Shell().open(host.executor(), EpochKey.generate(), deadline=soon())

        assert caught.value.phase == "auth"

    def test_nobody_listens(self, host: Host, key: EpochKey) -> None:
        """A port at which nobody listens is away in the phase `connect`."""

        with socket.socket() as unheard:
            unheard.bind(("127.0.0.1", 0))
            with pytest.raises(HostAway) as caught:
                Shell().open(host.executor(port=unheard.getsockname()[1]), key, deadline=soon())

        assert caught.value.phase == "connect"

    def test_queue_of_connections_is_full(self, host: Host, key: EpochKey) -> None:
        """A machine that drops our connection request is given up at the deadline."""

        with socket.socket() as listener, contextlib.ExitStack() as stack:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            for _ in range(4):
                filler = stack.enter_context(socket.socket())
                filler.settimeout(0)
                filler.connect_ex(listener.getsockname())
            begin = time.monotonic()
            with pytest.raises(HostAway) as caught:
                Shell().open(host.executor(port=listener.getsockname()[1]), key, deadline=soon(0.4))

        assert caught.value.phase == "connect"
        assert time.monotonic() - begin < 1.4

    def test_interpreter_that_is_not_there(self, host: Host, key: EpochKey) -> None:
        """A missing interpreter ends the session with the shell's status and its words."""

        session = Shell().open(host.executor(python="/nowhere/python"), key, deadline=soon())
        with session, pytest.raises(HostAway, match=r"status 127, it said '.*/nowhere/python.*not found"):
            session.receive(deadline=soon(), limit_bytes=10)

    def test_program_that_dies(self, host: Host, key: EpochKey) -> None:
        """A program that ends in the middle of a talk is away, with its status and last words."""

        with echoing(host, key) as session:
            session.send(b"die", deadline=soon())
            with pytest.raises(
                HostAway, match=r"talk: the program ended with status 1, it said 'out of order"
            ):
                session.receive(deadline=soon(), limit_bytes=10)
            with pytest.raises(HostAway):
                session.send(b"still there?", deadline=soon())

    def test_program_that_falls_silent(self, host: Host, key: EpochKey) -> None:
        """A frame that does not come is given up at the call's own deadline, and the session with it."""

        with echoing(host, key) as session:
            ask(session, b"hello")
            begin = time.monotonic()
            with pytest.raises(HostAway, match="talk: no answer by its deadline"):
                session.receive(deadline=soon(0.3), limit_bytes=10)

            assert 0.2 < time.monotonic() - begin < 1.0
            assert not session.is_alive

    def test_frame_over_the_callers_limit(self, host: Host, key: EpochKey) -> None:
        """A frame longer than the caller takes is refused at its header."""

        with echoing(host, key) as session, pytest.raises(LimitExceeded, match="a frame of 11 bytes"):
            ask(session, b"hello world", limit_bytes=10)

    def test_frame_of_ours_that_is_too_long(self, host: Host, key: EpochKey) -> None:
        """A frame of our own above the limit is our mistake, and harms nobody."""

        with echoing(host, key) as session:
            with pytest.raises(ValueError, match="at most 1048576 fit"):
                session.send(bytes((1 << 20) + 1), deadline=soon())
            assert ask(session, b"fine") == b"fine"

    def test_receive_budget(self, host: Host, key: EpochKey) -> None:
        """What comes over the session's budget of bytes ends it, however many frames it took."""

        bounds = Bounds(receive_budget_bytes=100_000)
        with echoing(host, key, ShellSettings(bounds=bounds)) as session:
            for _ in range(4):
                ask(session, bytes(20_000))
            with pytest.raises(LimitExceeded, match="bytes received over its limit of 100000"):
                ask(session, bytes(20_000))

    def test_lifetime(self, host: Host, key: EpochKey) -> None:
        """After its lifetime a session is of no use any more, however well its server answers."""

        with echoing(host, key, ShellSettings(bounds=Bounds(lifetime_s=0.5))) as session:
            until = soon()
            while session.is_alive and time.monotonic() < until:
                time.sleep(0.01)

            assert not session.is_alive
            with pytest.raises(HostAway):
                session.receive(deadline=soon(), limit_bytes=10)


class TestTarget:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("address", "example.org"),
            ("address", "127.0.0.1; id"),
            ("address", "0.0.0.0"),
            ("address", "224.0.0.1"),
            ("address", "fe80::1%eth0"),
            ("address", "2130706433"),
            ("port", 0),
            ("port", 65_536),
            ("user", "root;id"),
            ("user", "-oProxyCommand=id"),
            ("user", "a" * 33),
            ("user", "subnet\n"),
            ("python", "python3"),
            ("python", "/usr/bin/python3 -c 1"),
            ("python", "/usr/bin/$(id)"),
            ("python", "/usr/bin/python3\n"),
            ("python", "/" + "a" * 201),
            ("host_key", b""),
            ("host_key", b"\0" * 51),
            ("host_key", struct.pack(">I7sI", 7, b"ssh-rsa", 32) + bytes(36)),
        ],
    )
    def test_refuses(self, field: str, value: object) -> None:
        """What could be no address, user, path or key, or could mean something to a shell, is refused unused."""

        good = Host(22, EpochKey.generate().signer.asbytes(), Path())
        with pytest.raises(BadAnswer, match=field.replace("_", " ")):
            Target.of(good.executor(**{field: value}))

    def test_takes(self) -> None:
        """An ordinary executor is taken as it is, with an IPv6 address too."""

        host_key = EpochKey.generate().signer.asbytes()
        executor = Host(2222, host_key, Path()).executor(
            address="2001:db8::7", python="/opt/venv-3.11/bin/python"
        )

        assert Target.of(executor) == Target("2001:db8::7", 2222, USER, "/opt/venv-3.11/bin/python", host_key)

    @pytest.mark.parametrize("address", ["127.0.0.2", "10.0.0.1", "169.254.169.254", "::1", "192.168.1.1"])
    def test_public_only(self, address: str) -> None:
        """On a public subnet no miner can point us at our own machine or network."""

        executor = Host(22, EpochKey.generate().signer.asbytes(), Path()).executor(address=address)
        with pytest.raises(BadAnswer, match="public"):
            Target.of(executor, is_public_only=True)

    @given(path=st.text(min_size=1, max_size=40))
    def test_command_is_one_word_and_a_constant(self, path: str) -> None:
        """Whatever path is accepted, a shell reads exactly five words: exec, path, -I, -c and the loader."""

        executor = Host(22, EpochKey.generate().signer.asbytes(), Path()).executor(python="/" + path)
        with contextlib.suppress(BadAnswer):
            command = Target.of(executor).command

            assert shlex.split(command) == ["exec", "/" + path, "-I", "-c", LOADER]
            assert len(LOADER) < 250


class TestEpochKey:
    def test_fresh_and_secret(self) -> None:
        """Every key is new, its line is OpenSSH's, and its private half shows nowhere."""

        one, two = EpochKey.generate(), EpochKey.generate()

        assert one.public_line != two.public_line
        assert one.public_line.split()[0] == "ssh-ed25519"
        assert len(one.public_line.split()) == 2
        assert repr(one) == f"EpochKey(public_line={one.public_line!r})"
        assert one.public_line.split()[1] == one.signer.get_base64()

    def test_certified(self) -> None:
        """A certificate changes what a login offers, on a key of its own: the bare key stays as it was."""

        bare = EpochKey.generate()
        certified = bare.certified(certificate_of(bare.public_line))

        assert certified.public_line == bare.public_line
        assert certified.signer.public_blob.key_type == "ssh-ed25519-cert-v01@openssh.com"
        assert bare.signer.public_blob is None

    @pytest.mark.parametrize(
        "line",
        ["", "/etc/passwd", certificate_of(EpochKey.generate().public_line)],
        ids=["empty", "a path", "another key's"],
    )
    def test_certificate_of_somebody_else(self, line: str) -> None:
        """A text that is no certificate of this key, a path of ours included, is refused before anything is offered."""

        with pytest.raises(BadAnswer):
            EpochKey.generate().certified(line)

    def test_not_pickled(self) -> None:
        """A key can't leave the process by being pickled, as a task's argument or result would be."""

        with pytest.raises(TypeError):
            pickle.dumps(EpochKey.generate())


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now, self.sleeps = 100.0, list[float]()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(round(seconds, 6))
        self.now += seconds


class TestPacer:
    def test_one_start_each_gap(self) -> None:
        """At 4 starts a second each waits for its quarter of a second; the first waits for nothing."""

        clock = Clock()
        pacer, starts = Pacer(4.0, clock=clock, sleep=clock.sleep), []
        for _ in range(4):
            with pacer.turn(deadline=200.0):
                starts.append(clock.now)

        assert starts == [100.0, 100.25, 100.5, 100.75]

    def test_nothing_is_saved_up(self) -> None:
        """After a pause of ten seconds the starts are as far apart as before."""

        clock = Clock()
        pacer = Pacer(4.0, clock=clock, sleep=clock.sleep)
        with pacer.turn(deadline=200.0):
            clock.now += 10.0
        starts = []
        for _ in range(3):
            with pacer.turn(deadline=200.0):
                starts.append(clock.now)

        assert starts == [110.0, 110.25, 110.5]

    def test_too_late_takes_no_turn(self) -> None:
        """Who can't start by its deadline is told so at once, and the turn is the next one's."""

        clock = Clock()
        pacer = Pacer(1.0, clock=clock, sleep=clock.sleep)
        with pacer.turn(deadline=200.0):
            pass
        with pytest.raises(HostAway, match="connect: our own pacing"), pacer.turn(deadline=100.5):
            pass
        with pacer.turn(deadline=101.0):
            pass

        assert clock.sleeps == [0.0, 1.0]

    def test_open_handshakes_are_bounded(self) -> None:
        """With as many handshakes open as allowed, the next waits until one of them is over."""

        clock = Clock()
        pacer = Pacer(1_000.0, max_handshakes=2, clock=clock, sleep=clock.sleep)
        with pacer.turn(deadline=200.0):
            with pacer.turn(deadline=200.0), pytest.raises(HostAway, match="too many open handshakes"):
                pacer.turn(deadline=clock.now).__enter__()
            with pacer.turn(deadline=clock.now + 1):
                pass

    def test_a_failed_start_gives_its_place_back(self) -> None:
        """An error within a turn, or in place of it, leaves the number of places as it was."""

        clock = Clock()
        pacer = Pacer(1.0, max_handshakes=1, clock=clock, sleep=clock.sleep)
        for _ in range(3):
            with contextlib.suppress(HostAway), pacer.turn(deadline=clock.now + 1.0):
                raise HostAway("auth", "refused")
            with contextlib.suppress(HostAway), pacer.turn(deadline=clock.now):
                pass
        with pacer.turn(deadline=clock.now + 2.0):
            pass


def test_allowed_messages() -> None:
    """A server may exchange keys and open its channel once: rekeying and channels of its own are not in the table."""

    assert [ALLOWED[number] for number in (20, 21, 31, 6, 52, 91, 99)] == [1] * 7
    assert not {60, 81, 82, 90} & set(ALLOWED)


def test_settings_are_values() -> None:
    """Settings can't be changed in flight, only replaced."""

    with pytest.raises(dataclasses.FrozenInstanceError):
        ShellSettings().max_frame_bytes = 1  # type: ignore[misc]


@needs_sshd
def test_openssh_server(key: EpochKey, tmp_path: Path) -> None:
    """A session with OpenSSH's own server: key exchange, login, exec, frames both ways, end."""

    with openssh(tmp_path, key.public_line + "\n") as executor, let_in(executor, key) as session:
        session.send(ECHO, deadline=soon())
        assert ask(session, bytes(500_000)) == bytes(500_000)
        assert ask(session, b"chatter") == b"chatter"


def test_no_file_descriptor_left_is_a_machine_away(key: EpochKey) -> None:
    """When this process can open no socket more, that machine is away; nothing else breaks."""

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = Host(9, HOST_KEY_PREFIX + bytes(32), Path()).executor()
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(HostAway, match="no socket") as caught:
            Shell().open(target, key, deadline=soon())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert caught.value.phase == "connect"
