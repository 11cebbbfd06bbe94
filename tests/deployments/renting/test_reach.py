"""The system's ssh, scp and rsync, as argument vectors."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.renting.reach import door_of, known_lease, lease_of, pin, rsync, scp, ssh
from tasks.errors import BadAnswer, SettingError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
DOOR = door_of("3f9a-01", "203.0.113.7", 20_022, f"{KEY} made by dropbear")
HOSTS = Path("/home/ada/.config/subnet/known_hosts/3f9a-01")
HOSTILE = [
    "-oProxyCommand=reboot",
    "--rsh=reboot",
    "$(reboot)",
    "a b",
    "a;b",
    "`id`",
    "..",
    "A",
    "\x1b[2J",
    "",
    "ä",
]


def options(argv):
    """The values of `-o` in an argument vector, by name."""
    given_ = [argv[i + 1] for i, word in enumerate(argv) if word == "-o"]
    return dict(value.split("=", 1) for value in given_)


def test_the_host_key_of_the_lease_is_the_only_one_believed(tmp_path):
    """The known_hosts file has one line under the lease's own name, and ssh is told to ask nobody else."""

    path = pin(DOOR, tmp_path)
    told = options(ssh(DOOR, path))

    assert path.read_text() == f"subnet-3f9a-01 {KEY}\n"
    assert path.stat().st_mode & 0o077 == 0
    assert told["UserKnownHostsFile"] == f'"{path}"'
    assert (told["StrictHostKeyChecking"], told["GlobalKnownHostsFile"]) == ("yes", "/dev/null")
    assert (told["HostKeyAlias"], told["HostKeyAlgorithms"]) == ("subnet-3f9a-01", "ssh-ed25519")


def test_nothing_of_the_users_is_forwarded_to_a_stranger():
    """No agent and no display, whatever the user's configuration has for all hosts."""

    for argv in (ssh(DOOR, HOSTS), scp(DOOR, HOSTS, ["a"], "3f9a-01:/", recursive=False)):
        assert (options(argv)["ForwardAgent"], options(argv)["ForwardX11"]) == ("no", "no")


def test_a_terminal_and_a_command():
    """The address stands behind `--`, the command's words behind the address."""

    argv = ssh(
        DOOR, HOSTS, identity="/k", forwards=["8888", "6006:localhost:6007"], command=["nvidia-smi", "-L"]
    )

    assert argv[0] == "ssh"
    assert argv[argv.index("--") :] == ("--", "203.0.113.7", "nvidia-smi", "-L")
    assert argv[argv.index("-p") : argv.index("-p") + 4] == ("-p", "20022", "-l", "root")
    before = argv[: argv.index("--")]
    assert [before[i + 1] for i, word in enumerate(before) if word == "-L"] == [
        "127.0.0.1:8888:localhost:8888",
        "127.0.0.1:6006:localhost:6007",
    ]


def test_copies_go_both_ways():
    """The side with the lease's name becomes the machine's address; a path here is never taken for a host or an option."""

    there = scp(DOOR, HOSTS, ["-x.txt", "data", "a/b:c", "/t:1"], "3f9a-01:/root/in put", recursive=True)
    back = scp(DOOR, HOSTS, ["3f9a-01:out.txt", "3f9a-01:"], ".", recursive=False)

    assert there[there.index("--") + 1 :] == (
        "./-x.txt",
        "./data",
        "./a/b:c",
        "/t:1",
        "root@203.0.113.7:/root/in put",
    )
    assert "-r" in there
    assert back[back.index("--") + 1 :] == ("root@203.0.113.7:out.txt", "root@203.0.113.7:", "./.")
    assert back[back.index("-P") : back.index("-P") + 2] == ("-P", "20022")


def test_an_address_of_ipv6_stands_in_brackets_in_a_copy():
    """Else its colons would end it."""

    door = door_of("a", "2001:db8::7", 22, KEY)

    assert scp(door, HOSTS, ["f"], "a:/f", recursive=False)[-1] == "root@[2001:db8::7]:/f"
    assert ssh(door, HOSTS)[-1] == "2001:db8::7"


def test_rsync_gets_its_remote_shell_as_words_in_quotes():
    """Rsync splits `--rsh` itself; a path with a space stays one word, and paths there are expanded by nobody."""

    argv = rsync(DOOR, Path("/home/a b/k"), ["src/"], "3f9a-01:/dst", delete=True)
    remote_shell = next(word for word in argv if word.startswith("--rsh="))

    assert argv[argv.index("--") + 1 :] == ("./src/", "root@203.0.113.7:/dst")
    assert "-o 'UserKnownHostsFile=\"/home/a b/k\"'" in remote_shell
    assert {"--protect-args", "--delete"} < set(argv)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_like_an_option_is_no_lease(name):
    """Options, spaces, shell words, control characters: refused before anything starts."""

    with pytest.raises(SettingError):
        known_lease(name)


@given(st.text(max_size=30))
def test_a_lease_name_that_is_taken_is_plain(name):
    """Whatever passes has lower case letters, digits and dashes only, and begins with none of these last."""

    with contextlib.suppress(SettingError):
        assert set(known_lease(name)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
        assert not name.startswith("-")


@given(st.lists(st.text(max_size=12) | st.text("ab:/-.~", max_size=8), min_size=2, max_size=4))
def test_no_path_becomes_an_option(paths):
    """Behind `--` no word begins with a dash, and every word with a host is the lease's."""

    try:
        lease_of(paths)
        argv = scp(DOOR, HOSTS, paths[:-1], paths[-1], recursive=False)
    except SettingError:
        return

    for word in argv[argv.index("--") + 1 :]:
        assert word.startswith(("./", "../", "/", "root@203.0.113.7:"))


@pytest.mark.parametrize(
    "paths",
    [
        ["a", "b"],
        ["l:a", "l:b"],
        ["l:a", "m:b"],
        ["l:a", "b", "c"],
        ["l:a", "m:b", "c"],
        ["-l:a", "b"],
        ["L:a", "b"],
    ],
)
def test_a_copy_has_one_lease_on_one_side(paths):
    """None, several, or both sides: refused."""

    with pytest.raises(SettingError):
        lease_of(paths)


def test_a_path_there_is_no_option_either():
    """A file there that begins with a dash needs `./` in front."""

    with pytest.raises(SettingError, match=r"put \./ in front"):
        scp(DOOR, HOSTS, ["l:-rf"], ".", recursive=False)


@pytest.mark.parametrize(
    ("address", "port", "key"),
    [
        ("-oProxyCommand=x", 22, KEY),
        ("a b", 22, KEY),
        ("fe80::1%eth0;x", 22, KEY),
        ("", 22, KEY),
        ("203.0.113.7", 0, KEY),
        ("203.0.113.7", 65_536, KEY),
        ("203.0.113.7", 22, ""),
        ("203.0.113.7", 22, "ssh-ed25519 !!!!"),
        ("203.0.113.7", 22, KEY.replace("ed25519", "rsa", 1)),
        ("203.0.113.7", 22, f"*,{KEY}"),
        ("203.0.113.7", 22, f"@cert-authority {KEY}"),
    ],
)
def test_a_door_that_may_not_be_is_refused(address, port, key):
    """What the market tells of a machine is looked at before ssh sees it."""

    with pytest.raises(BadAnswer):
        door_of("l", address, port, key)


@pytest.mark.parametrize("name", ["a b", "jos\u00e9", "a,b=c@d+e~f", "#x", "(a)"])
def test_a_folder_may_have_any_plain_name(tmp_path, name):
    """Spaces and letters of all alphabets are in homes, too."""

    assert pin(DOOR, tmp_path / name).is_file()


@pytest.mark.parametrize("name", ['a"b', "a'b", "a%h", "${HOME}", "a\\b", "a\nb"])
def test_a_folder_that_ssh_would_read_otherwise_is_refused(tmp_path, name):
    """Quotes, and what it replaces by something else."""

    with pytest.raises(SettingError):
        pin(DOOR, tmp_path / name)


def test_a_key_of_two_lines_pins_one():
    """Whatever stands behind the key is left out."""

    assert door_of("l", "h", 22, f"{KEY} x\nevil {KEY}").host_key == KEY


@pytest.mark.parametrize("forward", ["", "x", "8888:;:1", "-L1", "0.0.0.0:1:localhost:2", "1:2"])
def test_a_tunnel_is_ports_and_a_host(forward):
    """And it listens on this computer alone."""

    with pytest.raises(SettingError, match="--forward"):
        ssh(DOOR, HOSTS, forwards=[forward])


@pytest.fixture
def server(tmp_path):
    """A real SSH server in a thread: its port and its public host key."""
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    client_key = asyncssh.generate_private_key("ssh-ed25519")
    client_key.write_private_key(str(tmp_path / "id"))
    (tmp_path / "id").chmod(0o600)
    ready, loop = threading.Event(), asyncio.new_event_loop()
    found = {}

    async def serve():
        (tmp_path / "there").mkdir()
        found["server"] = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[host_key],
            authorized_client_keys=asyncssh.import_authorized_keys(client_key.export_public_key().decode()),
            process_factory=lambda process: (
                process.stdout.write(f"ran {process.command}\n"),
                process.exit(3),
            ),
            sftp_factory=lambda chan: asyncssh.SFTPServer(chan, chroot=str(tmp_path / "there").encode()),
        )
        ready.set()

    thread = threading.Thread(
        target=lambda: (loop.run_until_complete(serve()), loop.run_forever()), daemon=True
    )
    thread.start()
    ready.wait(20)
    yield found["server"].get_port(), host_key.export_public_key().decode(), tmp_path / "id"

    async def close():
        found["server"].close()
        await found["server"].wait_closed()

    asyncio.run_coroutine_threadsafe(close(), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(20)
    loop.close()


def run(argv):
    """A vector run as it is, without a terminal."""
    return subprocess.run(
        argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=60
    )


@pytest.mark.skipif(shutil.which("ssh") is None, reason="no ssh here")
def test_the_real_ssh_believes_the_pinned_key_and_no_other(server, tmp_path):
    """With the lease's key the command runs and its exit code comes back; with another nothing is sent."""

    port, host_key, identity = server
    right = door_of("l1", "127.0.0.1", port, host_key)
    wrong = door_of("l2", "127.0.0.1", port, KEY)
    ran = run(
        ssh(
            right,
            pin(right, tmp_path / "with späce #1"),
            identity=str(identity),
            command=["echo", "-n", "a b"],
        )
    )
    refused = run(ssh(wrong, pin(wrong, tmp_path), identity=str(identity), command=["true"]))

    assert (ran.returncode, ran.stdout) == (3, "ran echo -n a b\n")
    assert refused.returncode == 255
    assert "Host key verification failed" in refused.stderr


@pytest.mark.skipif(shutil.which("scp") is None, reason="no scp here")
def test_the_real_scp_copies_there_and_back(server, tmp_path, monkeypatch):
    """A file with an option's name and one with a colon arrive byte for byte, both ways."""

    port, host_key, identity = server
    door = door_of("l1", "127.0.0.1", port, host_key)
    hosts = pin(door, tmp_path)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for name in ("-rf", "a:b", "$(id)"):
        Path(name).write_bytes(os.urandom(1000))
    # The exit code is not looked at: this server's SFTP ends without one.
    run(scp(door, hosts, ["-rf", "./a:b", "$(id)"], "l1:/", identity=str(identity), recursive=False))
    Path("back").mkdir()
    run(scp(door, hosts, ["l1:./-rf", "l1:/a:b"], "back", identity=str(identity), recursive=False))

    assert Path("back/-rf").read_bytes() == Path("-rf").read_bytes()
    assert Path("back/a:b").read_bytes() == Path("a:b").read_bytes()
    assert sorted(p.name for p in (tmp_path / "there").iterdir()) == ["$(id)", "-rf", "a:b"]


@pytest.mark.skipif(shutil.which("rsync") is None, reason="no rsync here")
def test_the_real_rsync_starts_ssh_with_the_same_words(tmp_path):
    """What rsync makes of `--rsh` is the vector that ssh would get."""

    seen = tmp_path / "ssh"
    seen.write_text(
        f"#!{sys.executable}\nimport sys, json\njson.dump(sys.argv, open({str(tmp_path / 'seen')!r}, 'w'))\n"
    )
    seen.chmod(0o755)
    argv = rsync(DOOR, tmp_path / "a b", ["l"], "3f9a-01:/x")
    subprocess.run(
        argv, env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}, capture_output=True, check=False
    )

    assert f'UserKnownHostsFile="{tmp_path / "a b"}"' in (tmp_path / "seen").read_text().replace("\\", "")
