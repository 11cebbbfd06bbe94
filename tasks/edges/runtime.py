"""The container engine of a machine, Docker or Podman, driven over a session (`tasks/edges/shell.py`).

    runtime = find_engine(session, deadline=...)                 which one is there; EngineAway
    image = runtime.pull(reference, login, deadline=...)         ImageRefused
    runtime.create(spec, image, toolbox, deadline=...)           made, not started; twice gives the same one
    runtime.copy_in(name, seed, ...); runtime.start(name, ...)   then inspect, logs, execute, stats, stop, remove
    runtime.backup_volume(volume, write, ...), runtime.restore_volume(volume, pieces, ...)   tar streams, byte for byte

The engine's command line is the seam: every call is an argument vector, and no shell reads any of it. Deadlines are
instants of `time.monotonic()`; the program over there is killed a moment before. Whatever an engine prints is a
machine's own word: it is parsed strictly into records, bounded, and chooses among our codes (`tasks/renting/blame.py`).
The session's program has to be running (`start_runner`), and a session is used by one thread at a time.

Errors: `EngineAway`, `ImageRefused`, `ContainerRefused`, `VolumeRefused`, and what the session raises.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from tasks.edges.engine import (
    ALL_STATS_TEMPLATE,
    ENGINE_TEMPLATES,
    STATS_TEMPLATE,
    VOLUME_TEMPLATE,
    Container,
    Engine,
    Image,
    Output,
    RegistryLogin,
    Stats,
    Volume,
    architecture,
    container_template,
    image_template,
    read_all_stats,
    read_containers,
    read_engine,
    read_image,
    read_stats,
    read_volumes,
)
from tasks.edges.shell import Session
from tasks.edges.volume_tar import PODMAN_MARK, ROOT, rooted
from tasks.errors import BadAnswer, ContainerRefused, EngineAway, EngineRefused, ImageRefused, VolumeRefused
from tasks.inspection.output import FactOutput
from tasks.inspection.talk import run_program, stream_from, stream_to
from tasks.renting.blame import NO_TOOLBOX, REFUSED, TIMED_OUT, TOO_LARGE, About, code_of
from tasks.renting.containers import (
    LABEL,
    MACHINE_LABEL,
    RENTER_LABEL,
    TOOLBOX_AT,
    VOLUME_LABEL,
    ContainerSpec,
    EngineName,
    Form,
    create,
    digest_of,
    name_of,
    volume_name,
)

WORDS_BYTES = 600
"""Of an engine's own words in an error."""
ANSWER_BYTES = 256 << 10
LOG_BYTES = 256 << 10
OUTPUT_BYTES = 256 << 10
MARGIN_S = 1.0
"""The program over there is killed so long before our own deadline: then its end can still be told."""
POLL_S = 0.2
BATCH = 32
_EMPTY_IMAGE, _VOLUME_AT = "subnet/empty:1", f"/{ROOT}"
MAX_CONTAINERS = 4_096
_EXIT_TIMED_OUT, _EXIT_NOT_STARTED = 124, 126

# A folder whose config.json is the standard input: a login is on no disk and in no argument, and is gone with the program.
_PULL_WITH_LOGIN = (
    'd=$(mktemp -d) || exit 1; ln -s /dev/stdin "$d/config.json" || exit 1; '
    'docker --config "$d" pull --quiet -- "$1"; r=$?; rm -rf -- "$d"; exit $r'
)
_KEYS_PROGRAM = (
    "umask 077; b=/opt/subnet/busybox; $b mkdir -p /root/.ssh && $b cat > /root/.ssh/.keys.new"
    " && $b chmod 600 /root/.ssh/.keys.new && $b mv -f /root/.ssh/.keys.new /root/.ssh/authorized_keys"
)


def find_engine(
    session: Session, *, deadline: float, names: Sequence[EngineName] = ("docker", "podman")
) -> Runtime:
    """The first of these engines that answers; EngineAway with what the last one said."""
    said = "none is installed"
    for name in names:
        template = ENGINE_TEMPLATES[name]
        output = _run(session, (name, "info", "--format", template), deadline, limit_bytes=16 << 10)
        if output.exit_code == 0:
            engine = read_engine(name, output.stdout)
            if engine is not None:
                return Runtime(session, engine)
        if output.exit_code != _EXIT_NOT_STARTED or name == names[0]:
            said = _words(output)
    raise EngineAway("engine", said)


class Runtime:
    """One machine's engine, over one session."""

    def __init__(self, session: Session, engine: Engine) -> None:
        self.session, self.engine = session, engine

    # --- images ---

    def image(self, reference: str, *, deadline: float) -> Image | None:
        """The image as it is on the machine; None when it is not."""
        argv = (self._name, "image", "inspect", "--format", image_template(self._name), "--", reference)
        output = self._run(argv, deadline)
        if output.exit_code:
            _check_missing(output, "image", "image", "IMAGE_NOT_FOUND")
            return None
        return read_image(reference, output.stdout)

    def pull(self, reference: str, login: RegistryLogin | None = None, *, deadline: float) -> Image:
        """Have the image from its registry, and say what it is."""
        argv, stdin = self._pull(reference, login)
        output = self._run(argv, deadline, stdin=stdin)
        if output.exit_code:
            raise _refused("pull", "image", output)
        image = self.image(reference, deadline=deadline)
        if image is None:
            raise ImageRefused("pull", REFUSED, "pulled, and yet not there")
        return image

    def _pull(self, reference: str, login: RegistryLogin | None) -> tuple[tuple[str, ...], bytes]:
        if login is None:
            return (self._name, "pull", "--quiet", "--", reference), b""
        pair = base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
        stdin = json.dumps({"auths": {login.server: {"auth": pair}}}).encode()
        if self._name == "podman":
            return ("podman", "pull", "--quiet", "--authfile=/dev/stdin", "--", reference), stdin
        return ("sh", "-c", _PULL_WITH_LOGIN, "pull", reference), stdin

    # --- a container's life ---

    def create(self, spec: ContainerSpec, image: Image, toolbox: str = "", *, deadline: float) -> None:
        """Make the container and its volumes, not started; where the same one stands already, that is it.

        ContainerRefused with NAME_TAKEN when another one has its name: lease and attempt are somebody's else.
        """
        if toolbox and self.engine.architecture not in ("", architecture()):
            told = f"the toolbox is for {architecture()}, the machine is {self.engine.architecture}"
            raise ContainerRefused("create", NO_TOOLBOX, told)
        invocation = create(spec, Form(self._name, toolbox, image.program))
        for mount in spec.mounts:
            self.create_volume(spec.renter_id, mount.volume, spec.executor_key, deadline=deadline)
        output = self._run(invocation.argv, deadline, stdin=invocation.stdin)
        if output.exit_code == 0:
            return
        refusal = _refused("create", "container", output)
        if refusal.code != "NAME_TAKEN":
            raise refusal
        standing = self.inspect(name_of(spec.lease_id, spec.attempt), deadline=deadline)
        if standing is None or standing.spec_digest != digest_of(spec):
            raise refusal

    def start(self, name: str, *, deadline: float) -> None:
        """Start it; one that runs goes on."""
        self._do("start", (self._name, "start", "--", name), deadline)

    def stop(self, name: str, grace_s: int = 10, *, deadline: float) -> None:
        """TERM, and KILL after the grace; one that stands still stays so."""
        self._do("stop", (self._name, "stop", "-t", str(grace_s), "--", name), deadline)

    def restart(self, name: str, grace_s: int = 10, *, deadline: float) -> None:
        """Stop and start."""
        self._do("restart", (self._name, "restart", "-t", str(grace_s), "--", name), deadline)

    def remove(self, name: str, *, deadline: float) -> None:
        """Kill and remove it; what is gone already is as wanted. Named volumes stay."""
        at_once = ["--time=0"] if self._name == "podman" else []  # Docker never waits here
        argv = (self._name, "rm", "--force", "--volumes", *at_once, "--", name)
        while True:
            output = self._run(argv, deadline)
            if (
                output.exit_code == 0
                or (refusal := _refused("remove", "container", output)).code == "NOT_THERE"
            ):
                return
            if refusal.code != "BUSY" or time.monotonic() + POLL_S > deadline:
                raise refusal
            time.sleep(POLL_S)  # another removal is under way

    def inspect(self, name: str, *, deadline: float) -> Container | None:
        """The container as it is; None when there is none of ours by this name."""
        argv = (
            self._name,
            "inspect",
            "--type=container",
            "--format",
            container_template(self._name),
            "--",
            name,
        )
        output = self._run(argv, deadline)
        if output.exit_code:
            _check_missing(output, "inspect", "container", "NOT_THERE")
            return None
        return next(iter(read_containers(output.stdout)), None)

    def containers(self, *, deadline: float) -> tuple[Container, ...]:
        """All containers that carry our label, in the order of their names, running or not."""
        argv = (self._name, "ps", "--all", "--quiet", "--no-trunc", f"--filter=label={LABEL}")
        output = self._run(argv, deadline)
        if output.exit_code:
            raise _refused("list", "container", output)
        ids = output.stdout.decode("ascii", "replace").split()
        if len(ids) > MAX_CONTAINERS or not all(re.fullmatch(r"[0-9a-f]{12,64}", i) for i in ids):
            raise BadAnswer("list: ids that are none")
        found: list[Container] = []
        for start in range(0, len(ids), BATCH):
            found += self._inspect_all(ids[start : start + BATCH], deadline)
        return tuple(sorted(found, key=lambda c: c.name))

    def _inspect_all(self, ids: list[str], deadline: float) -> list[Container]:
        """Those of them that are still there: one that was removed meanwhile makes the engine fail after the others."""
        argv = (
            self._name,
            "inspect",
            "--type=container",
            "--format",
            container_template(self._name),
            "--",
            *ids,
        )
        output = self._run(argv, deadline, limit_bytes=BATCH * (16 << 10))
        if output.exit_code and code_of(_words(output), "container") != "NOT_THERE":
            raise _refused("list", "container", output)
        return read_containers(output.stdout)

    # --- what goes in and out ---

    def copy_in(self, name: str, archive: bytes, *, deadline: float) -> None:
        """Unpack a tar archive at the container's root, running or not; what stands there by its names is replaced."""
        argv = self._copy_into(name, "/")
        output = stream_to(
            self.session,
            argv,
            [archive],
            timeout_s=_timeout_s(deadline),
            limit_bytes=4_096,
            deadline=deadline,
        )
        if output.exit_code:
            raise _refused("copy", "container", output)

    def put_keys(self, name: str, archive: bytes, keys: bytes, *, deadline: float) -> None:
        """Replace the keys that let in, at once: by a rename where it runs, from `archive` (keys alone) where not."""
        words = (f"{TOOLBOX_AT}/busybox", "sh", "-c", _KEYS_PROGRAM)
        try:
            output = self.execute(name, words, stdin=keys, deadline=deadline)
        except ContainerRefused as refused:
            if refused.code != "NOT_RUNNING":
                raise
            self.copy_in(name, archive, deadline=deadline)
            return
        if output.exit_code:
            words_said = (output.stderr or output.stdout).decode("utf-8", "replace")
            raise ContainerRefused("keys", REFUSED, _bounded(words_said))

    def execute(
        self,
        name: str,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        limit_bytes: int = OUTPUT_BYTES,
        deadline: float,
    ) -> Output:
        """Run a command inside; its exit code as it is, 124 when the deadline came first (it may run on in there)."""
        command = (self._name, "exec", "--interactive", name, *argv)
        output = self._run(command, deadline, stdin=stdin, limit_bytes=limit_bytes, may_time_out=True)
        self._check_engine("exec", output)
        return Output(output.exit_code, output.stdout, output.stderr, output.truncated)

    def logs(
        self,
        name: str,
        *,
        tail: int = 1_000,
        since: datetime | None = None,
        has_timestamps: bool = False,
        limit_bytes: int = LOG_BYTES,
        deadline: float,
    ) -> Output:
        """What its program printed, stdout and stderr in one, the last lines of it."""
        argv = self._logs(name, tail, since, has_timestamps=has_timestamps)
        output = self._run(argv, deadline, limit_bytes=limit_bytes, is_merged=True)
        if output.exit_code:
            raise _refused("logs", "container", output)
        return Output(0, output.stdout, b"", output.truncated)

    def follow_logs(
        self,
        name: str,
        write: Callable[[bytes], object],
        *,
        tail: int = 100,
        since: datetime | None = None,
        has_timestamps: bool = False,
        limit_bytes: int = 64 << 20,
        deadline: float,
    ) -> None:
        """The same as it comes, until the container stops, the limit or the deadline; a log that goes on is no error."""
        argv = self._logs(name, tail, since, has_timestamps=has_timestamps)
        output = stream_from(
            self.session,
            (*argv[:2], "--follow", *argv[2:]),
            write,
            timeout_s=_timeout_s(deadline),
            limit_bytes=limit_bytes,
            deadline=deadline,
            is_merged=True,
        )
        if output.exit_code not in (0, _EXIT_TIMED_OUT):
            raise ContainerRefused("logs", REFUSED, "the engine's own words stand in what was written")

    def _logs(self, name: str, tail: int, since: datetime | None, *, has_timestamps: bool) -> tuple[str, ...]:
        moment = [f"--since={since.astimezone(UTC).isoformat()}"] if since else []
        stamps = ["--timestamps"] if has_timestamps else []
        return (self._name, "logs", f"--tail={tail}", *moment, *stamps, "--", name)

    def stats(self, name: str, *, deadline: float) -> Stats:
        """What it uses; ContainerRefused with NOT_RUNNING where it stands still. Docker measures for two seconds."""
        argv = (self._name, "stats", "--no-stream", "--format", STATS_TEMPLATE, "--", name)
        output = self._run(argv, deadline)
        if output.exit_code:
            raise _refused("stats", "container", output)
        stats = read_stats(output.stdout)
        if stats is None:
            raise ContainerRefused("stats", "NOT_RUNNING", "it uses nothing")
        return stats

    def all_stats(self, names: Sequence[str], *, deadline: float) -> dict[str, Stats]:
        """The same of several at once, by name; those that stand still are missing. Docker measures all in the same two seconds."""
        if not names:
            return {}
        argv = (self._name, "stats", "--no-stream", "--format", ALL_STATS_TEMPLATE, "--", *names)
        output = self._run(argv, deadline)
        if output.exit_code:
            raise _refused("stats", "container", output)
        return read_all_stats(output.stdout)

    # --- volumes ---

    def create_volume(self, renter_id: str, volume: str, executor_key: str = "", *, deadline: float) -> str:
        """Make the renter's volume; one that is there stays as it is. Its name on the machine."""
        name = volume_name(renter_id, volume, executor_key)
        labels = {VOLUME_LABEL: volume, RENTER_LABEL: renter_id, MACHINE_LABEL: executor_key}
        options = (f"--label={key}={value}" for key, value in labels.items())
        output = self._run((self._name, "volume", "create", *options, "--", name), deadline)
        if output.exit_code and "already exists" not in _words(output).lower():
            raise _refused("volume create", "volume", output)
        return name

    def volumes(self, *, deadline: float) -> tuple[Volume, ...]:
        """All volumes of ours, in the order of their names."""
        argv = (self._name, "volume", "ls", "--quiet", f"--filter=label={VOLUME_LABEL}")
        output = self._run(argv, deadline)
        if output.exit_code:
            raise _refused("volume list", "volume", output)
        names = output.stdout.decode("ascii", "replace").split()
        if len(names) > MAX_CONTAINERS or not all(re.fullmatch(r"[A-Za-z0-9_.-]{1,200}", n) for n in names):
            raise BadAnswer("volume list: names that are none")
        found: list[Volume] = []
        for start in range(0, len(names), BATCH):
            found += self._inspect_volumes(names[start : start + BATCH], deadline)
        return tuple(sorted(found, key=lambda v: v.name))

    def _inspect_volumes(self, names: list[str], deadline: float) -> list[Volume]:
        argv = (self._name, "volume", "inspect", "--format", VOLUME_TEMPLATE, "--", *names)
        output = self._run(argv, deadline)
        if output.exit_code and code_of(_words(output), "volume") != "NOT_THERE":
            raise _refused("volume list", "volume", output)
        return read_volumes(output.stdout)

    def remove_volume(self, name: str, *, deadline: float) -> None:
        """Remove it with all that is in it, by its name on the machine; one that is gone is as wanted.

        VolumeRefused with IN_USE while a container has it: never forced, since Podman would remove that, too.
        """
        self.remove(_helper_of(name), deadline=deadline)
        output = self._run((self._name, "volume", "rm", "--", name), deadline)
        if output.exit_code and (refusal := _refused("volume remove", "volume", output)).code != "NOT_THERE":
            raise refusal

    def backup_volume(
        self, name: str, write: Callable[[bytes], object], *, limit_bytes: int, deadline: float
    ) -> int:
        """A tar stream of all that is in a volume, used or not; gives its bytes. TOO_LARGE over the limit.

        The session has to be wide enough (`Bounds.for_bytes`). A volume in use is read as it is at each moment.
        """
        if self._name == "podman":  # what it copies out of a container has lost its owners
            write(PODMAN_MARK)
            argv = (self._name, "volume", "export", "--", name)
            return len(PODMAN_MARK) + self._save(argv, "volume", write, limit_bytes, deadline)
        with self._helper(name, deadline) as helper:
            return self.backup(helper, _VOLUME_AT, write, limit_bytes=limit_bytes, deadline=deadline)

    def restore_volume(self, name: str, pieces: Iterable[bytes], *, deadline: float) -> None:
        """Unpack such a stream, of this engine or the other, into a volume: what has the same name is replaced."""
        with self._helper(name, deadline) as helper:
            is_podman = self._name == "podman"  # it puts a stopped container's files beside its volumes
            at, place = ("", _VOLUME_AT) if is_podman else (ROOT, "/")
            self.restore(helper, place, rooted(pieces, at), deadline=deadline)

    @contextmanager
    def _helper(self, volume: str, deadline: float) -> Iterator[str]:
        """A container that never runs and has the volume: engines copy in and out of containers only.

        It is removed at the end; where that fails, by the next helper of the volume or the volume's removal.
        """
        name = _helper_of(volume)
        self.remove(name, deadline=deadline)
        if self.image(_EMPTY_IMAGE, deadline=deadline) is None:
            output = self._run((self._name, "import", "-", _EMPTY_IMAGE), deadline, stdin=bytes(10_240))
            if output.exit_code:
                raise _refused("import", "image", output)
        mount = f"--mount=type=volume,source={volume},target={_VOLUME_AT}"
        argv = (self._name, "create", f"--name={name}", "--network=none", mount, "--", _EMPTY_IMAGE, "none")
        self._do("helper", argv, deadline)
        try:
            yield name
        finally:
            if self.session.is_alive:
                self.remove(name, deadline=deadline)

    # --- backup ---

    def backup(
        self,
        name: str,
        path: str,
        write: Callable[[bytes], object],
        *,
        limit_bytes: int,
        deadline: float,
    ) -> int:
        """A tar stream of what lies at an absolute path in the container, running or not; gives its bytes."""
        argv = (self._name, "cp", f"{name}:{_path(path)}", "-")
        return self._save(argv, "container", write, limit_bytes, deadline)

    def _save(
        self,
        argv: Sequence[str],
        about: About,
        write: Callable[[bytes], object],
        limit_bytes: int,
        deadline: float,
    ) -> int:
        total = 0

        def count(piece: bytes) -> None:
            nonlocal total
            total += len(piece)
            write(piece)

        output = stream_from(
            self.session,
            argv,
            count,
            timeout_s=_timeout_s(deadline),
            limit_bytes=limit_bytes,
            deadline=deadline,
        )
        if output.truncated:
            raise VolumeRefused("backup", TOO_LARGE, f"more than {limit_bytes} bytes")
        if output.exit_code:
            raise _refused("backup", about, output)
        return total

    def restore(self, name: str, path: str, pieces: Iterable[bytes], *, deadline: float) -> None:
        """Unpack a tar stream of `backup` in a folder of the container: of what came from /data, that is /.

        Docker refuses a link that leads out of the folder, so that only / takes everything.
        """
        argv = self._copy_into(name, _path(path))
        output = stream_to(
            self.session, argv, pieces, timeout_s=_timeout_s(deadline), limit_bytes=4_096, deadline=deadline
        )
        if output.exit_code:
            raise _refused("restore", "container", output)

    def _copy_into(self, name: str, path: str) -> tuple[str, ...]:
        """With the owners that the archive names, which Podman changes when it isn't told not to."""
        owners = ["--archive=false"] if self._name == "podman" else []
        return (self._name, "cp", *owners, "-", f"{name}:{path}")

    # --- the seam ---

    @property
    def _name(self) -> EngineName:
        return self.engine.name

    def _do(self, step: str, argv: Sequence[str], deadline: float) -> None:
        output = self._run(argv, deadline)
        if output.exit_code:
            raise _refused(step, "container", output)

    def _run(
        self,
        argv: Sequence[str],
        deadline: float,
        *,
        stdin: bytes = b"",
        limit_bytes: int = ANSWER_BYTES,
        is_merged: bool = False,
        may_time_out: bool = False,
    ) -> FactOutput:
        output = _run(self.session, argv, deadline, stdin=stdin, limit_bytes=limit_bytes, is_merged=is_merged)
        if output.exit_code == _EXIT_TIMED_OUT and not may_time_out:
            step = " ".join(word for word in argv[1:3] if not word.startswith("-"))
            raise ContainerRefused(_bounded(step), TIMED_OUT, "no end by its deadline")
        return output

    def _check_engine(self, step: str, output: FactOutput) -> None:
        """Of a command inside, tell what is the engine's own failure: it says so on stderr and has no other code for it."""
        said = _words(output)
        if (
            output.exit_code
            and re.match(r"(Error|error)[: ]", said)
            and (code := code_of(said, "container")) in ("NOT_THERE", "NOT_RUNNING", "ENGINE_DOWN")
        ):
            raise ContainerRefused(step, code, said)


def _run(
    session: Session,
    argv: Sequence[str],
    deadline: float,
    *,
    stdin: bytes = b"",
    limit_bytes: int = ANSWER_BYTES,
    is_merged: bool = False,
) -> FactOutput:
    return run_program(
        session,
        argv,
        stdin=stdin,
        timeout_s=_timeout_s(deadline),
        limit_bytes=limit_bytes,
        deadline=deadline,
        is_merged=is_merged,
    )


def _timeout_s(deadline: float) -> float:
    left = deadline - time.monotonic()
    return min(3_600.0, max(0.1, left - min(MARGIN_S, left / 4)))


def _refused(step: str, about: About, output: FactOutput) -> EngineRefused:
    """The engine's refusal in our family; EngineAway is raised at once, since it concerns no image and no container."""
    said = _words(output)
    code = TIMED_OUT if output.exit_code == _EXIT_TIMED_OUT else code_of(said, about)
    if code == "ENGINE_DOWN" or output.exit_code == _EXIT_NOT_STARTED:
        raise EngineAway(step, said)
    return _REFUSALS[about](step, code, said)


_REFUSALS: dict[About, type[EngineRefused]] = {
    "image": ImageRefused,
    "container": ContainerRefused,
    "volume": VolumeRefused,
}


def _check_missing(output: FactOutput, step: str, about: About, missing: str) -> None:
    """The refusal, unless it says that there is no such thing."""
    refusal = _refused(step, about, output)
    if refusal.code != missing:
        raise refusal


def _words(output: FactOutput) -> str:
    return _bounded((output.stderr or output.stdout).decode("utf-8", "replace"))


def _bounded(said: str) -> str:
    """One line of printable characters: what a machine says moves no cursor."""
    line = " ".join(said.split())
    return "".join(c if c.isprintable() else "?" for c in line[-WORDS_BYTES:])


def _helper_of(volume: str) -> str:
    """The name of a volume's helper; VolumeRefused for what is no volume of ours."""
    if not re.fullmatch(r"subnet-[a-z0-9.-]{3,180}", volume):
        raise VolumeRefused("volume", REFUSED, "no volume of ours")
    return f"helper.{volume}"


def _path(path: str) -> str:
    """An absolute path that an engine takes as one."""
    if not path.startswith("/") or "\0" in path or len(path.encode()) > 4_096:
        raise VolumeRefused("path", REFUSED, f"{path[:100]!r} is no absolute path")
    return path
