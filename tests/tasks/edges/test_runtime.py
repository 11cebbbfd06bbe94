"""The container engine of a machine, driven over a real SSH session: real containers, real logins, real images."""

import io
import os
import platform
import random
import shutil
import subprocess
import tarfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployments.localnet.engine import plain_root
from tasks.edges.bounded import Bounds
from tasks.edges.engine import RegistryLogin
from tasks.edges.runtime import Runtime, find_engine
from tasks.edges.shell import Shell, ShellSettings
from tasks.edges.toolbox import HostKey, install_toolbox, keys_file, keys_seed
from tasks.errors import BadAnswer, ContainerRefused, EngineAway, ImageRefused, VolumeRefused
from tasks.renting.containers import Mount, Port, name_of
from tests import registries
from tests.deployments.localnet.visiting import wait_for
from tests.engines import PLAIN, executor, soon
from tests.tasks.edges.rented import Renter, fill, members, rented, spec

pytestmark = pytest.mark.xdist_group("engine")

ROOMY = Shell(ShellSettings(bounds=Bounds.for_bytes(256 << 20, 900.0)))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("machine")


@pytest.fixture
def runtime(docker, home):
    with docker.runtime(home, shell=ROOMY) as runtime:
        yield runtime


@pytest.fixture(scope="module")
def renter(tmp_path_factory):
    return Renter(tmp_path_factory.mktemp("renter"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Renter(tmp_path_factory.mktemp("stranger"))


def inside(runtime, name, script, stdin=b""):
    """What a script prints in the container."""
    output = runtime.execute(name, ["sh", "-c", script], stdin=stdin, deadline=soon())
    assert output.exit_code == 0, output
    return output.stdout.decode()


class TestEngine:
    def test_the_first_engine_that_answers(self, runtime):
        """Its name, version and OCI runtimes."""
        assert runtime.engine.name == "docker"
        assert runtime.engine.version[0].isdigit()
        assert "runc" in runtime.engine.runtimes
        assert not runtime.engine.has_sysbox
        assert runtime.engine.architecture == platform.machine()

    def test_an_engine_that_is_down_is_away(self, docker, tmp_path):
        """Docker's client answers without its daemon: that is no engine, and what it said is told."""
        down = replace(docker, environment={"DOCKER_HOST": "unix:///nowhere/docker.sock"})

        with down.session(tmp_path) as session, pytest.raises(EngineAway, match="connect"):
            find_engine(session, names=("docker",), deadline=soon())

    def test_a_machine_without_an_engine_says_so(self, docker, tmp_path):
        """Neither program is there."""
        bare = replace(docker, environment={"PATH": "/nowhere"})

        with bare.session(tmp_path) as session, pytest.raises(EngineAway, match="No such file"):
            find_engine(session, deadline=soon())

    @pytest.mark.parametrize(
        "script",
        [
            "echo no JSON",
            'echo \'{"version": 3, "runtimes": null}\'',
            'echo \'{"version": "1", "runtimes": {"\\u001b[2J": [[[[]]]], "x": "\'$(yes | head -c 200)\'"}}\' | tr -d "\\n" | sed s/x/$(yes x | head -200 | tr -d "\\n")/',
            "yes",
            "head -c 100000 /dev/zero | tr '\\0' '['",
        ],
    )
    def test_a_lying_engine_is_refused(self, docker, tmp_path, script):
        """What does not fit its schema, is endless or nested without end: BadAnswer, at once."""
        machine = docker.machine(tmp_path)
        lying = machine.home / "bin" / "docker"
        lying.write_text(f"#!/bin/sh\n{script}\n")
        lying.chmod(0o755)

        with docker.session(tmp_path) as session, pytest.raises((BadAnswer, EngineAway)):
            find_engine(session, names=("docker",), deadline=soon(2))


class TestLife:
    def test_a_container_from_making_to_removing(self, docker, runtime, renter):
        """Created, running, stopped, running again, gone: and the engine tells each state as a record."""
        made_of = spec(words=("sh", "-c", "echo hello; exec sleep 1000000"))
        before = datetime.now(UTC) - timedelta(seconds=2)
        with rented(docker, runtime, made_of, renter, is_started=False) as box:
            created = runtime.inspect(box.name, deadline=soon())
            runtime.start(box.name, deadline=soon())
            runtime.start(box.name, deadline=soon())
            running = runtime.inspect(box.name, deadline=soon())
            assert box.ssh(renter, "echo in").stdout == "in\n"
            logged = runtime.logs(box.name, deadline=soon()).stdout
            used = runtime.stats(box.name, deadline=soon())
            runtime.stop(box.name, 5, deadline=soon())
            runtime.stop(box.name, 5, deadline=soon())
            stopped = runtime.inspect(box.name, deadline=soon())
            with pytest.raises(ContainerRefused, match="NOT_RUNNING"):
                runtime.stats(box.name, deadline=soon())
            with pytest.raises(ContainerRefused, match="NOT_RUNNING"):
                runtime.execute(box.name, ["true"], deadline=soon())
            runtime.start(box.name, deadline=soon())
            assert box.ssh(renter, "echo again").stdout == "again\n"
            runtime.restart(box.name, 5, deadline=soon())
            assert box.ssh(renter, "echo and again").stdout == "and again\n"
            runtime.remove(box.name, deadline=soon())
            runtime.remove(box.name, deadline=soon())
            assert runtime.inspect(box.name, deadline=soon()) is None

        assert (created.status, created.started_at, created.ports) == ("created", None, ())
        assert (running.status, running.ports) == ("running", made_of.ports)
        assert before < running.started_at < datetime.now(UTC) + timedelta(seconds=2)
        assert (running.lease_id, running.attempt, running.renter_id) == (made_of.lease_id, 1, "r-1")
        assert (running.validator_hotkey, running.executor_key) == ("5Validator", "5Miner/one")
        assert (stopped.status, stopped.exit_code, stopped.is_oom_killed) == ("exited", 143, False)
        assert stopped.finished_at >= running.started_at
        assert logged == b"hello\n"
        assert used.memory_bytes > 100_000
        assert used.pids >= 4

    def test_making_it_twice_makes_one(self, docker, runtime):
        """A retry finds what the first try has made; another container by its name is refused, and stays as it is."""
        wanted = spec()
        with rented(docker, runtime, wanted, is_started=False) as box:
            image = runtime.image(PLAIN, deadline=soon())
            toolbox = install_toolbox(runtime.session, deadline=soon())

            runtime.create(wanted, image, toolbox, deadline=soon())
            with pytest.raises(ContainerRefused) as refused:
                runtime.create(replace(wanted, words=("true",)), image, toolbox, deadline=soon())
            assert refused.value.code == "NAME_TAKEN"
            assert runtime.inspect(box.name, deadline=soon()) == box.container

    def test_a_machine_of_another_kind_is_told_before_anything_is_made(self, runtime):
        """Our programs would not run there; that is the platform's, and no container stands."""
        wanted = spec()
        other = Runtime(runtime.session, replace(runtime.engine, architecture="riscv64"))
        image = runtime.image(PLAIN, deadline=soon())

        with pytest.raises(ContainerRefused, match="NO_TOOLBOX"):
            other.create(wanted, image, "/somewhere", deadline=soon())
        assert runtime.inspect(name_of(wanted.lease_id), deadline=soon()) is None

    def test_only_ours_are_listed(self, docker, runtime):
        """With lease, attempt and validator; a stranger's container on the machine is none of them, nor inspected."""
        docker.run("create", "--name=stranger", PLAIN)
        try:
            with (
                rented(docker, runtime, is_started=False) as one,
                rented(docker, runtime, spec(attempt=7)) as two,
            ):
                found = {c.name: c for c in runtime.containers(deadline=soon())}

                assert set(found) == {one.name, two.name}
                assert (found[two.name].attempt, found[two.name].status) == (7, "running")
                assert found[one.name].validator_hotkey == "5Validator"
            assert runtime.inspect("stranger", deadline=soon()) is None
            assert docker.run("inspect", "--format={{.State.Status}}", "stranger") == "created"
        finally:
            docker.run("rm", "stranger")

    def test_what_is_not_there_is_told(self, runtime):
        """Asking is None, doing is refused with NOT_THERE, removing is as wanted."""
        name = name_of("l-none", 1)

        assert runtime.inspect(name, deadline=soon()) is None
        for call in (runtime.start, runtime.stop, runtime.restart, runtime.logs):
            with pytest.raises(ContainerRefused, match="NOT_THERE"):
                call(name, deadline=soon())
        with pytest.raises(ContainerRefused, match="NOT_THERE"):
            runtime.execute(name, ["true"], deadline=soon())
        runtime.remove(name, deadline=soon())

    def test_a_port_that_is_taken_is_the_reason(self, docker, runtime):
        """The second container does not start, and says PORT_TAKEN."""
        with (
            rented(docker, runtime) as one,
            rented(docker, runtime, spec(ports=(Port(22, one.port),)), is_started=False) as two,
            pytest.raises(ContainerRefused, match="PORT_TAKEN"),
        ):
            runtime.start(two.name, deadline=soon())

    def test_a_step_has_a_deadline(self, docker, runtime):
        """A container deaf to TERM for longer than we wait: TIMED_OUT, and the session goes on."""
        deaf = spec(words=("sh", "-c", "trap '' TERM; while :; do sleep 1; done"))
        with rented(docker, runtime, deaf) as box:
            assert wait_for(lambda: "trap" in inside(runtime, box.name, "ps -o args"))
            with pytest.raises(ContainerRefused, match="TIMED_OUT"):
                runtime.stop(box.name, 60, deadline=soon(1.5))
            assert runtime.inspect(box.name, deadline=soon()).is_running

    def test_logs(self, docker, runtime):
        """The last lines of stdout and stderr, with times if asked, since a moment, cut at a limit; and as they come."""
        script = (
            "for i in 1 2 3; do echo out$i; echo err$i >&2; done; sleep 1.2; echo late; exec sleep 1000000"
        )
        with rented(docker, runtime, spec(words=("sh", "-c", script))) as box:
            name = box.name
            assert wait_for(lambda: b"err3" in runtime.logs(name, deadline=soon()).stdout)
            lines = runtime.logs(name, deadline=soon()).stdout.decode().split()
            assert sorted(lines) == ["err1", "err2", "err3", "out1", "out2", "out3"]
            assert len(runtime.logs(name, tail=2, deadline=soon()).stdout.splitlines()) == 2
            cut = runtime.logs(name, limit_bytes=7, deadline=soon())
            assert (len(cut.stdout), cut.truncated) == (7, True)
            stamped = runtime.logs(name, tail=1, has_timestamps=True, deadline=soon()).stdout.decode()
            moment = datetime.fromisoformat(stamped.split()[0][:19]).replace(tzinfo=UTC)
            assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)

            followed = bytearray()
            runtime.follow_logs(name, followed.extend, deadline=soon(3.5))
            assert followed.splitlines()[-1] == b"late"
            assert (
                runtime.logs(name, since=datetime.now(UTC) + timedelta(hours=1), deadline=soon()).stdout
                == b""
            )

    def test_a_command_inside(self, docker, runtime):
        """Its exit code, both outputs and its input as they are; the deadline ends the wait."""
        with rented(docker, runtime) as box:
            told = runtime.execute(
                box.name, ["sh", "-c", "cat; echo no >&2; exit 7"], stdin=b"\0in", deadline=soon()
            )
            assert (told.exit_code, told.stdout, told.stderr) == (7, b"\0in", b"no\n")
            assert runtime.execute(box.name, ["sleep", "60"], deadline=soon(1.5)).exit_code == 124
            flood = runtime.execute(box.name, ["yes"], limit_bytes=10, deadline=soon(2))
            assert (flood.stdout, flood.truncated) == (b"y\n" * 5, True)


class TestInside:
    def test_limits_hold(self, docker, runtime):
        """Memory, processors, shared memory and the number of processes, as the kernel enforces them in there."""
        limited = spec(memory_bytes=64 << 20, cpus=0.5, shm_bytes=3 << 20)
        with rented(docker, runtime, limited) as box:
            told = inside(
                runtime,
                box.name,
                "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; df -k /dev/shm;"
                " cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null;"
                " cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; grep NoNewPrivs /proc/1/status",
            )
            words = told.split()
            assert str(64 << 20) in words
            assert "50000" in words
            assert "3072" in words
            assert "8192" in words
            assert told.rstrip().endswith("1")
            over = runtime.execute(
                box.name, ["sh", "-c", "head -c 200000000 /dev/zero | tail"], deadline=soon(20)
            )
            assert over.exit_code != 0
            assert runtime.inspect(box.name, deadline=soon()).is_running

    def test_a_container_has_its_cards_and_no_others(self, docker, runtime):
        """By UUID, from the tool that renters know; a card that the machine has not does not start."""
        cards = executor().card_uuids[1:3]
        with rented(docker, runtime, spec(card_uuids=cards)) as box:
            listed = inside(runtime, box.name, "nvidia-smi -L")
            assert listed == "".join(
                f"GPU {i}: {executor().model} (UUID: {c})\n" for i, c in enumerate(cards)
            )
        with (
            rented(docker, runtime, spec(card_uuids=("GPU-none",)), is_started=False) as box,
            pytest.raises(ContainerRefused, match="CARD_MISSING"),
        ):
            runtime.start(box.name, deadline=soon())

    def test_the_main_program_ends_and_ssh_stays(self, docker, runtime, renter):
        """Its exit code is told in the log, and the renter can still look around."""
        with rented(docker, runtime, spec(words=("sh", "-c", "exit 5")), renter) as box:
            assert box.ssh(renter, "echo in").stdout == "in\n"
            told = runtime.logs(box.name, deadline=soon()).stdout
            assert told == b"subnet: the main program ended with exit code 5; SSH stays up\n"

    def test_signals_reach_the_main_program(self, docker, runtime):
        """A notice before a spot lease ends (USR1), and TERM: its own exit code is the container's."""
        script = (
            "trap 'echo noticed' USR1; trap 'echo ending; exit 9' TERM; echo up; while :; do sleep 0.1; done"
        )
        with rented(docker, runtime, spec(words=("sh", "-c", script))) as box:
            assert wait_for(lambda: b"up" in runtime.logs(box.name, deadline=soon()).stdout)
            docker.run("kill", "--signal=USR1", box.name)
            assert wait_for(lambda: b"noticed" in runtime.logs(box.name, deadline=soon()).stdout)
            runtime.stop(box.name, 10, deadline=soon())
            assert runtime.logs(box.name, deadline=soon()).stdout == b"up\nnoticed\nending\n"
            assert runtime.inspect(box.name, deadline=soon()).exit_code == 9

    def test_orphans_are_reaped(self, docker, runtime):
        """No zombies gather under the first process."""
        with rented(docker, runtime) as box:
            inside(runtime, box.name, "for i in 1 2 3 4 5; do (sleep 0.1 &) ; done; sleep 0.5")
            assert "Z" not in inside(runtime, box.name, "ps -o stat").split()

    def test_the_ssh_servers_own_words_are_not_in_the_renters_log(self, docker, runtime, renter, stranger):
        """They stand in a file of their own."""
        with rented(docker, runtime, None, renter) as box:
            box.ssh(renter, "true")
            box.ssh(stranger, "true")

            assert runtime.logs(box.name, deadline=soon()).stdout == b""
            assert "Pubkey auth succeeded" in inside(runtime, box.name, "cat /etc/subnet/ssh.log")


class TestLogin:
    def test_the_key_and_only_the_key_lets_in(self, docker, runtime, renter, stranger):
        """The renter's key, at a host whose key is pinned; a stranger's key is refused, and so is another host's key."""
        with rented(docker, runtime, None, renter) as box:
            assert box.ssh(renter, "id -u").stdout == "0\n"
            assert "Permission denied" in box.ssh(stranger, "id").stderr
            other = box.ssh(renter, "id", host_key=HostKey.generate())
            assert other.returncode == 255
            assert "verification failed" in other.stderr.lower()

    def test_the_environment_reaches_every_session(self, docker, runtime, renter):
        """Commands and login shells alike, whatever stands in a value; PATH is the image's and not the server's."""
        odd = "a  'b' \"c\" $(id) `id` \\ ; | é\u202e *"
        with rented(docker, runtime, spec(environment={"ODD": odd, "PATH": "/mine:/bin"}), renter) as box:
            cards = ",".join(executor().card_uuids[:1])
            told = box.ssh(renter, 'printf "%s\\n" "$ODD" "$PATH" "$NVIDIA_VISIBLE_DEVICES"').stdout
            assert told.splitlines() == [odd, "/mine:/bin", cards]
            script = 'printf "<%s>\\n" "$ODD" "$PATH"; exit\n'
            shown = box.ssh(renter, stdin=script, tty=True).stdout
            assert f"<{odd}>" in shown
            assert "</mine:/bin>" in shown

    def test_files_go_both_ways(self, docker, runtime, renter, tmp_path):
        """By scp, as today's OpenSSH speaks it (SFTP) and as it was; the image has no server for either."""
        content = os.urandom(1 << 20)
        (tmp_path / "out").write_bytes(content)
        with rented(docker, runtime, None, renter) as box:
            box.ssh(renter, "true")
            for old in ([], ["-O"]):
                there = f"root@{box.address}:/root/a file"
                scp = [*box.client("scp", renter), *old]
                run = [[*scp, str(tmp_path / "out"), there], [*scp, there, str(tmp_path / "back")]]
                if old and runtime.execute(box.name, ["scp"], deadline=soon()).exit_code in (126, 127):
                    continue  # the old protocol needs a scp in the image
                for command in run:
                    done = subprocess.run(command, capture_output=True, text=True, check=False)
                    assert done.returncode == 0, done.stderr
                assert (tmp_path / "back").read_bytes() == content

    def test_keys_are_added_and_removed_while_it_runs(self, docker, runtime, renter, stranger):
        """At once and without a restart, the same while it stands still."""
        with rented(docker, runtime, None, renter) as box:
            assert box.ssh(stranger, "true").returncode == 255
            both, one = [renter.key, stranger.key], [stranger.key]
            runtime.put_keys(box.name, keys_seed(both), keys_file(both), deadline=soon())
            assert box.ssh(stranger, "true").returncode == box.ssh(renter, "true").returncode == 0
            assert inside(runtime, box.name, "stat -c %a /root/.ssh/authorized_keys").strip() == "600"
            runtime.stop(box.name, 5, deadline=soon())
            runtime.put_keys(box.name, keys_seed(one), keys_file(one), deadline=soon())
            runtime.start(box.name, deadline=soon())
            assert box.ssh(stranger, "true").returncode == 0
            assert "Permission denied" in box.ssh(renter, "true").stderr
            runtime.put_keys(box.name, keys_seed([]), b"", deadline=soon())
            assert "Permission denied" in box.ssh(stranger, "true").stderr

    def test_an_image_with_nothing_in_it(self, docker, runtime, renter, tmp_path):
        """No shell, no passwd, no folders: the container still lets its renter in, and runs the image's one program."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            content = Path("/bin/busybox").read_bytes()
            member = tarfile.TarInfo("busyboxed")
            member.mode, member.size = 0o755, len(content)
            archive.addfile(member, io.BytesIO(content))
        (tmp_path / "bare.tar").write_bytes(packed.getvalue())
        docker.run("import", str(tmp_path / "bare.tar"), "subnet/bare:1")
        with rented(
            docker, runtime, spec(image="subnet/bare:1", words=("/busyboxed", "sleep", "1000000")), renter
        ) as box:
            assert box.ssh(renter, "echo in; /busyboxed id -u").stdout == "in\n0\n"


class TestSecrets:
    def test_no_argument_of_any_program_shows_one(self, docker, runtime, home, tmp_path):
        """Neither a variable's value nor a registry's password: every program that runs meanwhile is looked at."""
        machine = docker.machine(home)
        spy, seen = machine.home / "bin" / "docker", tmp_path / "seen"
        real = shutil.which("docker")
        spy.write_text(f'#!/bin/sh\ncat /proc/[0-9]*/cmdline >> {seen} 2>/dev/null\nexec {real} "$@"\n')
        spy.chmod(0o755)
        try:
            with rented(docker, runtime, spec(environment={"TOKEN": "hunter2secret"})) as box:
                assert inside(runtime, box.name, "echo $TOKEN") == "hunter2secret\n"
            with registries.serving(plain_root(), password="hunter2secret") as registry:
                login = RegistryLogin(registry.address, "renter", "hunter2secret")
                runtime.pull(registry.reference(), login, deadline=soon())
                docker.run("rmi", registry.reference())
        finally:
            spy.unlink()

        told = seen.read_bytes()
        assert b"docker\0create\0" in told
        assert b"docker\0--config\0" in told
        assert b"hunter2" not in told
        assert "hunter2secret" not in repr(login)


class TestImages:
    def test_an_image_by_tag_and_by_digest(self, docker, runtime):
        """What was pulled says its digest and program; the digest pulls exactly it."""
        with registries.serving(
            plain_root(), entrypoint=["/bin/echo"], command=["from", "the image"]
        ) as registry:
            by_tag = runtime.pull(registry.reference(), deadline=soon())
            exact = f"{registry.address}/team/image@{registry.digest}"
            by_digest = runtime.pull(exact, deadline=soon())

            assert exact in by_tag.digests
            assert by_tag.image_id == by_digest.image_id
            assert by_tag.program.entrypoint == ("/bin/echo",)
            with rented(docker, runtime, spec(image=exact, words=()), image=by_digest) as box:
                assert wait_for(lambda: b"from the image\n" in runtime.logs(box.name, deadline=soon()).stdout)
            docker.run("rmi", "--force", by_tag.image_id)
            assert runtime.image(registry.reference(), deadline=soon()) is None

    def test_a_private_registry(self, docker, runtime, home):
        """Let in with the login, kept out without it and with a wrong one; no file is left that could know it."""
        with registries.serving(plain_root(), password="right") as registry:
            reference = registry.reference()
            for login in (None, RegistryLogin(registry.address, "renter", "wrong")):
                with pytest.raises(ImageRefused) as refused:
                    runtime.pull(reference, login, deadline=soon())
                assert refused.value.code == "IMAGE_DENIED"
            assert runtime.pull(
                reference, RegistryLogin(registry.address, "renter", "right"), deadline=soon()
            )
            docker.run("rmi", reference)

        scratch = docker.machine(home).home / "scratch"
        assert [p.name for p in scratch.iterdir() if p.name.startswith("tmp.")] == []

    def test_images_that_can_not_be_had(self, runtime):
        """An unknown tag is the renter's, a registry that is away is nobody's of the two."""
        with registries.serving(plain_root()) as registry:
            with pytest.raises(ImageRefused) as refused:
                runtime.pull(registry.reference(tag="none"), deadline=soon())
            assert refused.value.code == "IMAGE_NOT_FOUND"
        with pytest.raises(ImageRefused) as refused:
            runtime.pull(registry.reference(), deadline=soon())
        assert refused.value.code == "REGISTRY_AWAY"


class TestVolumes:
    def test_a_volume_outlives_its_container(self, docker, runtime):
        """It is listed with its renter, is not removed while it is used, and is the same in the next container."""
        mounted = (Mount("data", "/data"),)
        with rented(docker, runtime, spec(mounts=mounted)) as box:
            inside(runtime, box.name, "echo kept > /data/file")
            (volume,) = runtime.volumes(deadline=soon())
            with pytest.raises(VolumeRefused, match="IN_USE"):
                runtime.remove_volume(volume.name, deadline=soon())
        with rented(docker, runtime, spec(mounts=mounted)) as box:
            assert inside(runtime, box.name, "cat /data/file") == "kept\n"
        with rented(docker, runtime, spec(mounts=mounted, renter_id="r-2")) as box:
            assert inside(runtime, box.name, "ls /data") == ""

        assert (volume.volume, volume.renter_id, volume.executor_key) == ("data", "r-1", "5Miner/one")
        for found in runtime.volumes(deadline=soon()):
            runtime.remove_volume(found.name, deadline=soon())
            runtime.remove_volume(found.name, deadline=soon())
        assert runtime.volumes(deadline=soon()) == ()

    def test_no_other_volume_is_removed(self, docker, runtime):
        """What has no name of ours is refused before the engine is asked."""
        docker.run("volume", "create", "precious")

        with pytest.raises(VolumeRefused, match="no volume of ours"):
            runtime.remove_volume("precious", deadline=soon())
        docker.run("volume", "rm", "precious")

    @pytest.mark.parametrize("big_bytes", [5 << 20, pytest.param(50 << 20, marks=pytest.mark.long)])
    def test_a_volume_is_saved_and_restored_byte_for_byte(self, docker, runtime, big_bytes):
        """Files, links and folders with odd names, modes and owners: the same in another volume, elsewhere."""
        tree, before, again = io.BytesIO(), [], []
        fill(tree, random.Random(7), big_bytes)
        old = runtime.create_volume("r-1", "old", "5Miner/one", deadline=soon())
        new = runtime.create_volume("r-1", "new", "5Miner/one", deadline=soon())

        runtime.restore_volume(old, [tree.getvalue()], deadline=soon())
        size = runtime.backup_volume(old, before.append, limit_bytes=64 << 20, deadline=soon())
        runtime.restore_volume(new, iter(before), deadline=soon())
        runtime.backup_volume(new, again.append, limit_bytes=64 << 20, deadline=soon())

        assert size == sum(len(piece) for piece in before) > big_bytes
        assert members(b"".join(again)) == members(b"".join(before))
        wanted, got = members(tree.getvalue()), members(b"".join(again))
        assert {name: got[name] for name in wanted} == wanted
        with rented(docker, runtime, spec(mounts=(Mount("new", "/data"),))) as box:
            assert "setuid" in inside(
                runtime, box.name, "find /data -perm -4000 | head -1 | sed s/.*/setuid/"
            )
        for volume in (old, new):
            runtime.remove_volume(volume, deadline=soon())
        assert runtime.volumes(deadline=soon()) == ()
        assert docker.run("ps", "--all", "--quiet") == ""

    def test_a_backup_that_was_killed_blocks_nothing(self, docker, runtime, home):
        """What it has left on the machine is taken away by the next one, and by the volume's removal."""
        name = runtime.create_volume("r-1", "data", deadline=soon())

        def fail(piece):
            raise OSError("the store is gone")

        with docker.runtime(home) as other, pytest.raises(OSError, match="store is gone"):
            other.backup_volume(name, fail, limit_bytes=1 << 20, deadline=soon())
        assert docker.run("ps", "--all", "--quiet") != ""

        got: list[bytes] = []
        runtime.backup_volume(name, got.append, limit_bytes=1 << 20, deadline=soon())
        with docker.runtime(home) as other, pytest.raises(OSError, match="store is gone"):
            other.backup_volume(name, fail, limit_bytes=1 << 20, deadline=soon())
        runtime.remove_volume(name, deadline=soon())
        assert docker.run("ps", "--all", "--quiet") == ""
        assert members(b"".join(got)).keys() == {"volume"}

    def test_a_folder_of_a_container_is_saved_and_restored(self, docker, runtime):
        """Running or not; what was saved from /data is put back at /."""
        got: list[bytes] = []
        with rented(docker, runtime) as box:
            inside(runtime, box.name, "mkdir /data; echo one > '/data/a b'; ln -s ../etc/passwd /data/link")
            runtime.backup(box.name, "/data", got.append, limit_bytes=1 << 20, deadline=soon())
        with rented(docker, runtime, is_started=False) as box:
            runtime.restore(box.name, "/", got, deadline=soon())
            runtime.start(box.name, deadline=soon())
            assert inside(runtime, box.name, "cat '/data/a b'; readlink /data/link") == "one\n../etc/passwd\n"

    def test_a_backup_has_a_limit_and_a_path(self, docker, runtime):
        """Over the limit it is TOO_LARGE; what is not there is NOT_THERE; the session goes on."""
        with rented(docker, runtime) as box:
            inside(runtime, box.name, "head -c 3000000 /dev/zero > /root/big")
            got: list[bytes] = []
            with pytest.raises(VolumeRefused, match="TOO_LARGE"):
                runtime.backup(box.name, "/root/big", got.append, limit_bytes=1 << 20, deadline=soon())
            assert sum(len(piece) for piece in got) <= 1 << 20
            with pytest.raises(ContainerRefused, match="NOT_THERE"):
                runtime.backup(box.name, "/none", got.append, limit_bytes=1 << 20, deadline=soon())
            with pytest.raises(VolumeRefused, match="no absolute path"):
                runtime.backup(box.name, "-x", got.append, limit_bytes=1 << 20, deadline=soon())
            assert inside(runtime, box.name, "echo on") == "on\n"
