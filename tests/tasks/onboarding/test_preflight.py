"""A look at machines over real SSH: local ones with simulated cards, and an OpenSSH server of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.edges.shell import Shell
from tasks.onboarding.login import Pins, fingerprint
from tasks.onboarding.machine import Machine
from tasks.onboarding.preflight import Preflight, greets
from tasks.policy import LOCALNET
from tests.tasks.onboarding.looking import farm, install, make_ssh_key, reached

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin")
BRISK = replace(LOCALNET, inspection=replace(LOCALNET.inspection, session_deadline_s=6.0))
"""For machines that never answer."""


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    return make_ssh_key(tmp_path_factory.mktemp("key") / "id_ed25519")


@pytest.fixture(scope="module")
def machines(tmp_path_factory, key):
    """An honest machine with four cards and one card, one that answers with another key than it shows, one that hangs."""
    with farm(tmp_path_factory.mktemp("farm"), key, "basalt-1", "basalt-2", "cinder-3") as up:
        yield up


@pytest.fixture
def look(tmp_path):
    """A miner who agrees to every new machine, unless it does not; `asked` is what it was shown."""
    asked: list[str] = []

    def looking(*, says=True, policy=LOCALNET) -> Preflight:
        def agreed(_machine, seen):
            asked.append(seen)
            return says

        return Preflight(Shell(), Pins(tmp_path / "known_hosts"), policy, agreed)

    looking.asked = asked
    return looking


def codes(report):
    return {reason.code for reason in report.reasons}


def test_an_honest_machine_fits(machines, key, look):
    """Its cards, its interpreter, its clock and its ports are told; what is warned of has a command."""
    report = look().look(reached(machines["basalt-1"]), key)

    assert report.is_fit, report.reasons
    assert [card.model for card in report.found.facts.cards] == ["NVIDIA GeForce RTX 4090"] * 4
    assert report.found.environment.version == sys.version_info[:3]
    assert report.found.privilege in ("root", "sudo", "none")
    assert abs(report.found.clock_offset_s) < 1.0
    assert report.found.is_port_open
    assert "NVIDIA_TOOLKIT_MISSING" in codes(report)
    assert report.checked > len(report.reasons)


def test_a_host_key_is_shown_and_pinned_once(machines, key, look):
    """The second look asks nobody."""
    machine = reached(machines["basalt-2"])
    first, second = look().look(machine, key), look().look(machine, key)

    assert look.asked == [first.fingerprint]
    assert first.fingerprint.startswith("SHA256:")
    assert (first.is_first_meeting, second.is_first_meeting) == (True, False)


def test_nothing_is_asked_of_a_machine_whose_key_nobody_agrees_to(machines, key, look):
    """And nothing is pinned."""
    machine = reached(machines["basalt-2"])
    report = look(says=False).look(machine, key)

    assert (codes(report), report.checked) == ({"HOST_KEY_UNKNOWN"}, 0)
    assert look().look(machine, key).checked > 0


def test_what_a_machine_lacks_is_found(tmp_path, key, look):
    """A clock that is behind, a toolkit that is there, no interpreter at the announced path."""
    with farm(tmp_path / "farm", key, "dune-1") as up:
        install(up["dune-1"], "date", "echo $(($(/bin/date +%s) - 100)).5")
        install(up["dune-1"], "nvidia-ctk", "echo 'NVIDIA Container Toolkit CLI version 1.17.8'")
        found = look().look(reached(up["dune-1"]), key)
        nowhere = look().look(reached(up["dune-1"], python="/nowhere/python3"), key)

    assert found.found.clock_offset_s == pytest.approx(-100, abs=2)
    assert found.found.toolkit == "1.17.8"
    assert "CLOCK_OFF" in codes(found)
    assert not found.is_fit
    assert codes(nowhere) == {"PYTHON_MISSING"}


def test_machines_are_looked_at_side_by_side(machines, key, look):
    """One that hangs and one that is not there cost only themselves, and the order is as asked."""
    away = Machine("127.0.1.200", 9, "subnet")
    stranger = reached(machines["basalt-1"], user="nobody")
    asked = [reached(machines[i]) for i in ("cinder-3", "basalt-1")] + [away, stranger]
    began = time.monotonic()
    hanging, honest, gone, refused = look(policy=BRISK).look_at_all(asked, key)

    assert time.monotonic() - began < 20
    assert [r.machine.port for r in (hanging, honest, gone)] == [m.port for m in asked[:3]]
    assert codes(hanging) == {"HOST_TIMEOUT"}
    assert honest.is_fit
    assert codes(gone) == {"HOST_UNREACHABLE"}
    assert codes(refused) == {"HOST_AUTH_REFUSED"}


@contextmanager
def listening(answer: bytes):
    """Whoever comes to this port is told that."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)

        def serve():
            with server.accept()[0] as came:
                came.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join(5)


def test_a_port_is_open_only_if_the_machine_itself_answers_there():
    """Somebody else who answers everything, a port that nobody listens on, and a listener that prints nonsense do not count."""
    token = b"0" * 32
    with listening(token) as port:
        assert greets("127.0.0.1", b"%d %s\n" % (port, token))
    with listening(b"1" * 32) as port:
        assert not greets("127.0.0.1", b"%d %s\n" % (port, token))
    assert not greets("127.0.0.1", b"9 " + token)
    assert not any(greets("127.0.0.1", printed) for printed in (b"", b"x y", b"0 a", b"99999 a", b"1 2 3"))


@contextmanager
def openssh(folder: Path, port: int, name: str):
    """OpenSSH's own server with a host key of this name."""
    if not (folder / name).exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    options = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": folder / name,
        "AuthorizedKeysFile": folder / "authorized",
        "PidFile": folder / "pid",
        "StrictModes": "no",
        "PermitRootLogin": "prohibit-password",
        "LogLevel": "QUIET",
    }
    flags = [part for option, value in options.items() for part in ("-o", f"{option}={value}")]
    with subprocess.Popen([str(SSHD), "-D", "-f", "/dev/null", *flags]) as server:
        try:
            until = time.monotonic() + 10
            while time.monotonic() < until:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            yield
        finally:
            server.terminate()


@pytest.mark.skipif(
    SSHD is None and not os.environ.get("CI"),
    reason="no OpenSSH server on this machine: apt-get install openssh-server",
)
def test_openssh_is_looked_at_pinned_and_refused_once_its_key_has_changed(tmp_path, key, look):
    """A stock server without anything of ours: it is inspected; with another host key it is not even logged into."""
    (tmp_path / "authorized").write_text(key.public_line + "\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    machine = Machine("localhost", port, pwd.getpwuid(os.geteuid()).pw_name, sys.executable)
    machine = replace(machine, name="127.0.0.1")
    with openssh(tmp_path, port, "first"):
        plain = look().look(machine, key)
    with openssh(tmp_path, port, "second"):
        changed = look().look(machine, key)

    assert plain.checked > 0
    assert "GPU_COUNT_ZERO" in codes(plain) or plain.found.facts.cards
    assert plain.found.environment.has[:2] == ("numpy", "numba")
    (reason,) = changed.reasons
    assert (reason.code, changed.is_fit) == ("HOST_KEY_CHANGED", False)
    assert plain.fingerprint in reason.wanted
    assert plain.fingerprint == fingerprint(Pins(tmp_path / "known_hosts").of(machine))
