import ast
import contextlib
import dataclasses
import hashlib
import io
import json
import os
import sys
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from tasks.edges.bounded import Bounds
from tasks.edges.shell import EpochKey, Shell, ShellSession, ShellSettings
from tasks.errors import BadAnswer, HostAway, LimitExceeded, RunnerRefused
from tasks.inspection import remote
from tasks.inspection.output import Command, FactOutput
from tasks.inspection.talk import (
    ask_facts,
    install_tools,
    measure_bandwidth,
    run_program,
    start_prover,
    start_runner,
    stream_from,
    stream_to,
)
from tests.deployments.localnet.visiting import is_gone, wait_for
from tests.tasks.edges.honest import Host, serving

PROVER = b"""
from kernels import doubling
print("this must not become a frame")

def serve(read_frame, write_frame, cards, locks):
    assert cards is None
    while (frame := read_frame()) is not None:
        doubled = doubling.double(int(frame))
        write_frame(f"{doubled} {sum(doubling.double.stats.cache_hits.values())}".encode())
"""
PREPARED = b"""
told = "not prepared"

def prepare(form, limit_s):
    global told
    told = f"{form} for {limit_s} s"

def serve(read_frame, write_frame, cards, locks):
    while read_frame() is not None:
        write_frame(told.encode())
"""
DOUBLING = b"""
from numba import njit

@njit("int64(int64)", cache=True)
def double(number):
    return 2 * number
"""
LOCK = b"""
def locks_of(environment):
    return None
"""


@pytest.fixture(scope="module")
def key() -> EpochKey:
    return EpochKey.generate()


@pytest.fixture(scope="module")
def host(key: EpochKey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with serving(key, tmp_path_factory.mktemp("home")) as host:
        yield host


@pytest.fixture
def session(host: Host, key: EpochKey) -> Iterator[ShellSession]:
    with started(host, key) as session:
        yield session


def soon(seconds: float = 10.0) -> float:
    return time.monotonic() + seconds


@contextlib.contextmanager
def started(host: Host, key: EpochKey) -> Iterator[ShellSession]:
    with Shell().open(host.executor(), key, deadline=soon()) as session:
        start_runner(session, deadline=soon())
        yield session


def command(line: str, timeout_s: float = 5.0, limit_bytes: int = 1_000) -> Command:
    return Command("it", line, timeout_s, limit_bytes)


def ask(session: ShellSession, *commands: Command) -> list[FactOutput]:
    outputs = ask_facts(session, commands, deadline=soon())
    assert all(0 <= output.duration_s < 10 for output in outputs)
    return [dataclasses.replace(output, duration_s=0.0) for output in outputs]


def archive(**modules: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as writing:
        for name, source in modules.items():
            writing.writestr(f"kernels/{name}.py", source)
    return packed.getvalue()


def test_runs_on_python_38() -> None:
    """The program's text is Python 3.8 and imports nothing but the standard library."""

    tree = ast.parse(Path(remote.__file__).read_text(), feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }

    assert imported <= set(sys.stdlib_module_names)


class TestFacts:
    def test_outputs_and_statuses(self, session: ShellSession) -> None:
        """Each command's stdout, stderr and status come back under its name, in the order asked for."""

        outputs = ask_facts(
            session,
            [
                Command("slow", "sleep 0.2; echo late", 5.0, 100),
                Command("quick", "printf '\\0\\377'", 5.0, 100),
                Command("failing", "echo no >&2; exit 3", 5.0, 100),
                Command("missing", "no-such-command", 5.0, 100),
            ],
            deadline=soon(),
        )

        assert [(o.name, o.exit_code, o.stdout) for o in outputs] == [
            ("slow", 0, b"late\n"),
            ("quick", 0, b"\0\xff"),
            ("failing", 3, b""),
            ("missing", 127, b""),
        ]
        assert outputs[2].stderr == b"no\n"
        assert b"not found" in outputs[3].stderr
        assert outputs[0].duration_s >= 0.2

    def test_timeout(self, session: ShellSession) -> None:
        """A command that runs on is stopped with all that it started; what it had printed is kept."""

        line = "echo begun; sleep 4711.5 & sleep 4711.5"

        assert ask(session, command(line, timeout_s=0.3)) == [
            FactOutput("it", 124, b"begun\n", b"", 0.0, truncated=False)
        ]
        assert ask(session, command("pgrep -fc '[s]leep 4711.5'"))[0].stdout == b"0\n"

    def test_limit(self, session: ShellSession) -> None:
        """Output over the limit is cut, said to be cut, and does not stop the command."""

        assert ask(session, command("yes | head -c 300000; exit 7", limit_bytes=4)) == [
            FactOutput("it", 7, b"y\ny\n", b"", 0.0, truncated=True)
        ]
        assert ask(session, command("printf 1234", limit_bytes=4)) == [
            FactOutput("it", 0, b"1234", b"", 0.0, truncated=False)
        ]

    def test_signal(self, session: ShellSession) -> None:
        """A command killed by a signal has the status that a shell would show."""

        assert ask(session, command("kill -9 $$"))[0].exit_code == 128 + 9

    def test_stderr_is_bounded(self, session: ShellSession) -> None:
        """Of stderr the first 2 KiB are kept."""

        assert ask(session, command("yes | head -c 300000 >&2"))[0].stderr == b"y\n" * 1_024

    def test_environment(self, session: ShellSession) -> None:
        """Commands speak plain C, read nothing of our stdin and have the machine's own PATH."""

        output = ask(session, command("echo $LC_ALL; cat; echo $PATH"))[0].stdout

        assert output.decode().splitlines() == ["C", os.environ["PATH"]]

    def test_parallel(self, session: ShellSession) -> None:
        """Four commands run at the same time: each ends only once it has seen all others begin."""

        meet = "touch $$.here; until [ $(ls *.here | wc -l) = 4 ]; do sleep 0.02; done; echo met"
        told = ask_facts(session, [command(meet)] * 4, deadline=soon(30))

        assert [output.stdout for output in told] == [b"met\n"] * 4

    @pytest.mark.parametrize(
        "word",
        ["$(touch pwned)", "`touch pwned`", "; touch pwned", "a  b", "'\"\\", "--help", "-n", "é\u202e", ""],
    )
    def test_words_reach_a_program_as_they_are(self, session: ShellSession, host: Host, word: str) -> None:
        """No shell reads a program's arguments: what would be a command for one is a word."""

        told = run_program(
            session, ["printf", "%s", "-" + word], timeout_s=5.0, limit_bytes=1_000, deadline=soon()
        )

        assert (told.exit_code, told.stdout) == (0, ("-" + word).encode())
        assert not (host.home / "pwned").exists()

    def test_what_a_program_reads_is_on_no_disk_and_in_no_argument(self, session: ShellSession) -> None:
        """Its standard input is a file in memory, which it may open again by its name."""

        script = "cat /dev/stdin; readlink /proc/self/fd/0"
        told = run_program(
            session,
            ["sh", "-c", script],
            stdin=b"secret\n",
            timeout_s=5.0,
            limit_bytes=1_000,
            deadline=soon(),
        )

        secret, _, place = told.stdout.partition(b"\n")
        assert secret == b"secret"
        assert place.startswith(b"/memfd:")

    def test_a_program_is_bounded_as_a_fact_is(self, session: ShellSession) -> None:
        """What is not there is 126, what runs on is 124, and output over the limit is cut."""

        def run(*argv: str, timeout_s: float = 5.0) -> FactOutput:
            return run_program(session, argv, timeout_s=timeout_s, limit_bytes=4, deadline=soon())

        assert run("no-such-program").exit_code == 126
        assert run("sleep", "60", timeout_s=0.3).exit_code == 124
        assert run("printf", "12345").stdout == b"1234"

    @pytest.mark.parametrize("argv", [[], ["a\0b"], "printf x", [1]])
    def test_what_is_no_program_is_refused(self, session: ShellSession, argv: object) -> None:
        """An empty vector, NUL, one string, a number."""

        request = {"do": "run", "argv": argv, "stdin": "", "timeout_s": 1, "limit_bytes": 1}
        session.send(json.dumps(request).encode(), deadline=soon())

        assert b"BAD_REQUEST" in session.receive(deadline=soon(), limit_bytes=1_000)

    def test_children_die_with_the_session(self, host: Host, key: EpochKey) -> None:
        """When the session goes away in the middle of a command, the command is killed at once."""

        pid_file, line = host.home / "pid", "echo $$ > pid.partial; mv pid.partial pid; sleep 60"
        asked = {"do": "facts", "commands": [dataclasses.asdict(command(line, 60.0))]}
        with started(host, key) as session:
            session.send(json.dumps(asked).encode(), deadline=soon())
            assert becomes(pid_file.exists)
        pid = int(pid_file.read_text())

        assert becomes(lambda: not Path(f"/proc/{pid}").exists())


def becomes(is_so: Callable[[], bool]) -> bool:
    """Whether it is so within ten seconds."""
    until = soon()
    while not is_so() and time.monotonic() < until:
        time.sleep(0.01)
    return is_so()


class TestBandwidth:
    def test_measures_both_ways(self, session: ShellSession) -> None:
        """Bytes over our clock's seconds less the round trip: 1 MB in 1.05 s with 0.05 s of credit is 8 Mbit/s."""

        looks = iter([0.0, 0.25, 1.0, 2.05, 3.0, 4.05])
        bandwidth = measure_bandwidth(session, 1_000_000, deadline=soon(), clock=lambda: next(looks))

        assert bandwidth.rtt_ms == pytest.approx(250.0)
        assert bandwidth.up_mbit_s == pytest.approx(8.0)
        assert bandwidth.down_mbit_s == pytest.approx(8.0)

    def test_loopback_is_fast(self, session: ShellSession) -> None:
        """On the loopback a MiB takes less than a second each way."""

        bandwidth = measure_bandwidth(session, 1 << 20, deadline=soon())

        assert min(bandwidth.up_mbit_s, bandwidth.down_mbit_s) > 8.0


class TestProver:
    def test_talks_on_the_same_channel(self, host: Host, key: EpochKey) -> None:
        """The archive's prover gets the channel, prints nothing into it, and ends with it."""

        packed = archive(__init__=b"", prover=PROVER, doubling=DOUBLING, lock=LOCK)
        with started(host, key) as session:
            ask(session, command("true"))
            seconds = start_prover(session, packed, "~/cache", deadline=soon(60))
            session.send(b"21", deadline=soon())

            assert session.receive(deadline=soon(), limit_bytes=100) == b"42 0"
            assert 0 < seconds < 60

    @pytest.mark.parametrize(
        ("proof", "told"),
        [((), b"not prepared"), (("cpu", 9.5), b"not prepared"), (("cuda", 9.5), b"cuda for 9.5 s")],
    )
    def test_prepares_cards(self, session: ShellSession, proof: tuple[str, float], told: bytes) -> None:
        """Kernels of cards are compiled before the prover is said to run; simulated cards have none to wait for."""

        start_prover(session, archive(__init__=b"", prover=PREPARED), "~/cache", *proof, deadline=soon(60))
        session.send(b"?", deadline=soon())

        assert session.receive(deadline=soon(), limit_bytes=100) == told

    def test_compiles_once(self, host: Host, key: EpochKey) -> None:
        """What Numba compiled is found again by the next session, even through another path to the folder."""

        packed = archive(__init__=b"", prover=PROVER, doubling=DOUBLING + b"# twice\n", lock=LOCK)
        (host.home / "shared").mkdir()
        (host.home / "link").symlink_to(host.home / "shared")
        answers = []
        for folder in ("~/shared", str(host.home / "link")):
            with started(host, key) as session:
                start_prover(session, packed, folder, deadline=soon(60))
                session.send(b"4", deadline=soon())
                answers.append(session.receive(deadline=soon(), limit_bytes=100))

        assert answers == [b"8 0", b"8 1"]
        assert sorted(path.name for path in (host.home / "shared").iterdir()) == sorted(
            [hashlib.blake2s(packed).hexdigest(), "compiled"]
        )

    @pytest.mark.parametrize(
        ("packed", "code"),
        [
            (b"no zip", "BAD_ARCHIVE"),
            (archive(__init__=b""), "NO_PROVER"),
            (archive(prover=b"", __init__=b"raise ImportError('no')"), "NO_PROVER"),
            (archive(__init__=b"", prover=b"import no_such_module_at_all"), "NO_PROVER"),
            (archive(**{"../../evil": b""}), "BAD_ARCHIVE"),
            (archive(prover=b"#" * (5 << 20))[:100], "BAD_ARCHIVE"),
        ],
        ids=[
            "no zip",
            "no prover",
            "broken package",
            "missing import",
            "path that climbs",
            "half an archive",
        ],
    )
    def test_refuses(self, session: ShellSession, packed: bytes, code: str) -> None:
        """What can't be proved with is refused with a code, and leaves nothing in the cache folder."""

        with pytest.raises(RunnerRefused) as caught:
            start_prover(session, packed, "~/refused", deadline=soon())

        assert caught.value.code == code

    def test_unpacked_size_is_bounded(self, session: ShellSession) -> None:
        """A small archive of a large file is refused before it is unpacked."""

        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as writing:
            writing.writestr("kernels/prover.py", b"#" * (5 << 20))
        with pytest.raises(RunnerRefused, match="BAD_ARCHIVE: more than"):
            start_prover(session, packed.getvalue(), "~/refused", deadline=soon())

    def test_digest_is_checked(self, session: ShellSession) -> None:
        """An archive that is not the one announced is not unpacked."""

        session.send(
            b'{"do":"prove","cache":"~/refused","digest":"00","form":"cpu","warm_s":0}', deadline=soon()
        )
        session.send(archive(prover=PROVER), deadline=soon())

        assert session.receive(deadline=soon(), limit_bytes=1_000).startswith(b'{"error": "BAD_DIGEST"')

    def test_folder_that_can_not_be_made(self, session: ShellSession, tmp_path: Path) -> None:
        """A cache folder that can't be made is the machine's trouble, with its code."""

        (tmp_path / "file").write_text("")
        with pytest.raises(RunnerRefused) as caught:
            start_prover(session, archive(prover=PROVER), str(tmp_path / "file" / "below"), deadline=soon())

        assert caught.value.code == "NO_CACHE"


class TestBadRequests:
    @pytest.mark.parametrize(
        "request_frame",
        [
            b"no json",
            b"\xff\xfe",
            b"[]",
            b"{}",
            b'{"do":"dance"}',
            b'{"do":"source","bytes":-1}',
            b'{"do":"source","bytes":99999999999}',
            b'{"do":"facts","commands":"id"}',
            b'{"do":"facts","commands":["id"]}',
            b'{"do":"facts","commands":[{"name":"a","command":"id","timeout_s":"x","limit_bytes":1}]}',
            b'{"do":"prove","cache":7,"digest":"00"}',
        ],
    )
    def test_ends_with_a_reason(self, session: ShellSession, request_frame: bytes) -> None:
        """A request that can't be answered is refused with a reason, and ends the program."""

        session.send(request_frame, deadline=soon())

        assert session.receive(deadline=soon(), limit_bytes=1_000).startswith(b'{"error": "BAD_REQUEST"')
        with pytest.raises(HostAway, match="the program ended with status 1"):
            session.receive(deadline=soon(), limit_bytes=1_000)


def lying(host: Host, key: EpochKey, *replies: bytes) -> ShellSession:
    """A session whose program is not ours: it answers with these frames, whatever it is asked."""
    session = Shell().open(host.executor(), key, deadline=soon())
    out = b"".join(len(reply).to_bytes(4, "big") + reply for reply in replies)
    source = f"import sys; sys.stdout.buffer.write({out!r}); sys.stdout.flush(); sys.stdin.buffer.read()"
    session.send(source.encode(), deadline=soon())
    return session


FACT = b'{"name":"it","exit":0,"stdout":"aGk=","stderr":"","seconds":0.1,"truncated":false}'


class TestForeignReplies:
    def test_good_one(self, host: Host, key: EpochKey) -> None:
        """The form of reply that the cases below spoil in one place each is itself accepted."""

        with lying(host, key, b'{"facts":[' + FACT + b"]}") as session:
            assert ask_facts(session, [command("id")], deadline=soon()) == [
                FactOutput("it", 0, b"hi", b"", 0.1, truncated=False)
            ]

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b'"it"', b'"that"'),
            (b'"it"', b"7"),
            (b'"exit":0', b'"exit":null'),
            (b'"exit":0', b'"exit":256'),
            (b'"exit":0', b'"exit":0.5'),
            (b'"exit":0', b'"exit":"0"'),
            (b"aGk=", b"aGk"),
            (b"aGk=", b"a Gk="),
            (b"aGk=", b"aGhoaGhoaGho" * 120),
            (b'"seconds":0.1', b'"seconds":-1'),
            (b'"seconds":0.1', b'"seconds":NaN'),
            (b'"seconds":0.1', b'"seconds":1e999'),
            (b'"seconds":0.1,', b""),
            (b'"truncated":false', b'"truncated":0'),
            (b'"truncated":false', b'"truncated":false,"more":1'),
            (FACT, b""),
            (FACT, FACT + b"," + FACT),
            (FACT, b"[" * 3_000),
            (b'{"facts"', b'{"error":"x","facts"'),
        ],
    )
    def test_spoiled(self, host: Host, key: EpochKey, old: bytes, new: bytes) -> None:
        """A reply that differs from the schema in any one place is no answer at all."""

        reply = (b'{"facts":[' + FACT + b"]}").replace(old, new)
        with lying(host, key, reply) as session, pytest.raises(BadAnswer) as caught:
            ask_facts(session, [command("id")], deadline=soon())

        assert len(str(caught.value)) < 300

    @pytest.mark.parametrize(
        "reply",
        [
            b'{"facts":[' + b",".join([b"{}"] * 5_000) + b"]}",
            b'{"facts":[' + b",".join([b"0"] * 7_000) + b"]}",
            b"{" + b",".join(b'"%d":0' % n for n in range(2_000)) + b"}",
        ],
        ids=["empty facts", "numbers", "unknown keys"],
    )
    def test_thousands_of_misfits_cost_no_more_than_one(
        self, host: Host, key: EpochKey, reply: bytes
    ) -> None:
        """A reply full of things that don't fit is refused in a short sentence, without a list of them all.

        Each misfit that is told costs kilobytes, and a reply may hold a hundred thousand.
        """

        tracemalloc.start()
        with lying(host, key, reply) as session, pytest.raises(BadAnswer, match="does not fit") as caught:
            ask_facts(session, [command("id", limit_bytes=20_000)], deadline=soon())
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert peak_bytes < 3_000_000
        assert len(str(caught.value)) < 120

    def test_too_long(self, host: Host, key: EpochKey) -> None:
        """A reply longer than all the outputs asked for is refused by its header."""

        with lying(host, key, b" " * 20_000) as session, pytest.raises(LimitExceeded):
            ask_facts(session, [command("id")], deadline=soon())

    def test_probe_of_another_size(self, host: Host, key: EpochKey) -> None:
        """A bandwidth probe that comes back shorter is no measurement."""

        receipt = b'{"digest":"%s"}' % hashlib.blake2s(b"\0").hexdigest().encode()
        with (
            lying(host, key, receipt, bytes(999)) as session,
            pytest.raises(BadAnswer, match="999 bytes of a probe"),
        ):
            measure_bandwidth(session, 1_000, deadline=soon())

    def test_receipt_before_the_bytes(self, host: Host, key: EpochKey) -> None:
        """A receipt that is not the probe's digest is refused: nobody can claim bytes that have not come."""

        receipt = b'{"digest":"%s"}' % (b"0" * 64)
        with lying(host, key, receipt) as session, pytest.raises(BadAnswer, match="receipt"):
            measure_bandwidth(session, 1_000, deadline=soon())

    def test_refusal(self, host: Host, key: EpochKey) -> None:
        """A refusal carries its code; a code that is none is a reply that does not fit."""

        with lying(host, key, b'{"error":"NO_SHELL","detail":"x"}') as session:
            with pytest.raises(RunnerRefused) as caught:
                ask_facts(session, [command("id")], deadline=soon())
            assert (caught.value.code, caught.value.detail) == ("NO_SHELL", "x")
        with (
            lying(host, key, b'{"error":"<b>","detail":"x"}') as session,
            pytest.raises(BadAnswer, match="fit"),
        ):
            ask_facts(session, [command("id")], deadline=soon())

    def test_another_archive(self, host: Host, key: EpochKey) -> None:
        """A prover that says it runs another archive is not talked to."""

        session = lying(host, key, b'{"proving":"00","seconds":0.1}')
        with session, pytest.raises(BadAnswer, match="another archive"):
            start_prover(session, archive(prover=PROVER), "~/cache", deadline=soon())


def bulk(host: Host, key: EpochKey, total_bytes: int) -> ShellSession:
    """A session that may carry so much."""
    settings = ShellSettings(bounds=Bounds.for_bytes(total_bytes, 60.0))
    session = Shell(settings).open(host.executor(), key, deadline=soon())
    start_runner(session, deadline=soon())
    return session


class TestStreams:
    SIZE = 12 << 20

    def test_what_a_program_prints_comes_whole_and_in_order(self, host: Host, key: EpochKey) -> None:
        """More than a frame or a usual session's budget, in bounded pieces, with its status and stderr at the end."""
        script = f"openssl enc -aes-128-ctr -K 00 -iv 00 < /dev/zero 2>/dev/null | head -c {self.SIZE}; echo no >&2; exit 3"
        digest, sizes = hashlib.blake2s(), []

        def take(piece: bytes) -> None:
            digest.update(piece)
            sizes.append(len(piece))

        with bulk(host, key, self.SIZE) as session:
            told = stream_from(
                session, ["sh", "-c", script], take, timeout_s=30, limit_bytes=self.SIZE, deadline=soon(40)
            )

        assert (told.exit_code, told.stdout, told.stderr, told.truncated) == (3, b"", b"no\n", False)
        assert sum(sizes) == self.SIZE
        assert max(sizes) <= 262_144
        cipher = Cipher(AES(bytes(16)), CTR(bytes(16))).encryptor()
        assert digest.digest() == hashlib.blake2s(cipher.update(bytes(self.SIZE))).digest()

    def test_a_stream_over_its_limit_is_cut_and_its_program_killed(self, session: ShellSession) -> None:
        """Exactly the limit comes, and is said to be cut; the session goes on."""
        got = bytearray()
        told = stream_from(session, ["yes"], got.extend, timeout_s=10, limit_bytes=300_000, deadline=soon())

        assert len(got) == 300_000
        assert told.truncated
        assert ask(session, command("echo on"))[0].stdout == b"on\n"

    def test_a_stream_ends_at_its_timeout(self, session: ShellSession) -> None:
        """With what had come by then, and 124."""
        got = bytearray()
        told = stream_from(
            session,
            ["sh", "-c", "echo begun; sleep 60"],
            got.extend,
            timeout_s=0.3,
            limit_bytes=100,
            deadline=soon(),
        )

        assert (told.exit_code, bytes(got)) == (124, b"begun\n")

    @pytest.mark.parametrize("limit_bytes", [0, 4])
    def test_a_stream_of_a_program_that_is_not_there(self, session: ShellSession, limit_bytes: int) -> None:
        """126, and nothing before it."""
        got = bytearray()
        told = stream_from(
            session, ["no-such-program"], got.extend, timeout_s=1, limit_bytes=limit_bytes, deadline=soon()
        )

        assert (told.exit_code, bytes(got)) == (126, b"")

    def test_merged_output_keeps_its_order(self, session: ShellSession) -> None:
        """What goes to stderr stands between what goes to stdout, as it was written."""
        script = "echo a; echo b >&2; echo c"
        got = bytearray()
        argv = ["sh", "-c", script]
        told = stream_from(
            session, argv, got.extend, timeout_s=5, limit_bytes=100, deadline=soon(), is_merged=True
        )
        ran = run_program(session, argv, timeout_s=5, limit_bytes=100, deadline=soon(), is_merged=True)

        assert bytes(got) == ran.stdout == b"a\nb\nc\n"
        assert (told.stderr, ran.stderr) == (b"", b"")

    def test_a_program_reads_pieces_of_any_length(self, host: Host, key: EpochKey) -> None:
        """As one input, larger than a frame."""
        pieces = [os.urandom(size) for size in (1, 3_000_000, 0, 262_144, 5)]

        with bulk(host, key, 8 << 20) as session:
            told = stream_to(session, ["sha256sum"], pieces, timeout_s=20, limit_bytes=100, deadline=soon(30))

        assert told.stdout.split()[0].decode() == hashlib.sha256(b"".join(pieces)).hexdigest()

    @pytest.mark.parametrize(
        ("argv", "code"),
        [(["false"], 1), (["head", "-c", "1"], 0), (["no-such-program"], 126), (["sleep", "60"], 124)],
    )
    def test_a_program_that_reads_no_more_is_told_of_at_the_end(
        self, session: ShellSession, argv: list[str], code: int
    ) -> None:
        """It may end, never start or hang: the rest is dropped over there, and the session goes on."""
        told = stream_to(session, argv, [bytes(1 << 20)], timeout_s=1.0, limit_bytes=100, deadline=soon(20))

        assert told.exit_code == code
        assert ask(session, command("echo on"))[0].stdout == b"on\n"

    def test_half_an_input_never_passes_for_a_whole_one(self, host: Host, key: EpochKey) -> None:
        """When the pieces fail, the session ends and the program with it, before it could see an end."""

        def failing() -> Iterator[bytes]:
            yield b"half"
            raise OSError("the disk is gone")

        script = "cat > half; echo whole > done"
        with started(host, key) as session:
            with pytest.raises(OSError, match="the disk is gone"):
                stream_to(
                    session, ["sh", "-c", script], failing(), timeout_s=9, limit_bytes=1, deadline=soon()
                )
            assert not session.is_alive

        assert wait_for(lambda: is_gone(host.pids[-1]))
        assert not (host.home / "done").exists()


class TestTools:
    def packed(self, **members: bytes) -> bytes:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as writing:
            for name, content in members.items():
                writing.writestr(zipfile.ZipInfo(name), content)
        return packed.getvalue()

    def test_tools_are_sent_once(self, session: ShellSession, tmp_path: Path) -> None:
        """Every file may be executed and read by all; the second time nothing but the digest is sent."""
        tools = self.packed(hello=b"#!/bin/sh\necho hello\n", big=os.urandom(600_000))

        path = Path(install_tools(session, tools, str(tmp_path), deadline=soon()))
        received = session.bytes_received
        again = install_tools(session, tools, str(tmp_path), deadline=soon())

        assert str(path) == again == str(tmp_path / hashlib.blake2s(tools).hexdigest())
        assert session.bytes_received - received < 1_000
        assert {(p.name, oct(p.stat().st_mode & 0o777)) for p in (path, *path.iterdir())} == {
            (path.name, "0o755"),
            ("hello", "0o755"),
            ("big", "0o755"),
        }
        told = run_program(session, [f"{path}/hello"], timeout_s=5, limit_bytes=100, deadline=soon())
        assert told.stdout == b"hello\n"

    @pytest.mark.parametrize("name", ["../out", "/etc/out", "a/b", ".hidden", "-x", ""])
    def test_tools_stay_in_their_folder(self, session: ShellSession, tmp_path: Path, name: str) -> None:
        """A name that leads elsewhere refuses the whole archive."""
        with pytest.raises(RunnerRefused, match="BAD_ARCHIVE"):
            install_tools(session, self.packed(**{name: b"x", "ok": b"x"}), str(tmp_path), deadline=soon())

        assert list(tmp_path.iterdir()) == []
