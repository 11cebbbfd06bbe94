"""A bare machine's own side: a root file system over this computer's, an address of its own, and OpenSSH.

    nsenter --net=... unshare --mount --pid ... python bare.py     a line of JSON in, `ready` out when sshd answers

Then lines of JSON: {"run": words} -> its status and output, {"changed": true} -> what differs from the machine as it was.
All that is written lies in one layer in memory, which is the exact list of what was changed; with stdin it ends.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HIDDEN = (
    "/home",
    "/mnt",
    "/media",
    "/srv",
    "/opt",
    "/tmp",
    "/usr/local",
    "/var/lib/dpkg/updates",
    "/var/log",
    "/run",
    "/var/tmp",
)
"""Empty on the machine, whatever lies there on this computer."""
GONE = (
    "/etc/subnet",
    "/var/lib/subnet",
    "/var/lib/subnet-onboarding.json",
    "/usr/bin/docker",
    "/usr/bin/podman",
    "/usr/bin/dockerd",
    "/usr/sbin/dockerd",
    "/etc/docker",
    "/etc/default/docker",
    "/var/lib/docker",
)
"""Not there: the machine has no container engine, and nothing of ours."""
HIERARCHIES = ("systemd", "unified") if Path("/sys/fs/cgroup/systemd").exists() else ("",)
"""Of control groups: those of version 1 that systemd needs, or version 2."""
BOOT = """\
umount -lR "$0/sys/fs/cgroup"
if [ -d /sys/fs/cgroup/systemd ]; then
  mount -t tmpfs -o mode=755 none "$0/sys/fs/cgroup"
  mkdir "$0/sys/fs/cgroup/systemd" "$0/sys/fs/cgroup/unified"
  mount -t cgroup -o none,name=systemd,xattr none "$0/sys/fs/cgroup/systemd"
  mount -t cgroup2 none "$0/sys/fs/cgroup/unified"
else
  mount -t cgroup2 none "$0/sys/fs/cgroup"
fi
mount -t proc proc "$0/proc"
exec chroot "$0" env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
  /lib/systemd/systemd --system --unit=bare.target --log-target=console --log-level=err --show-status=no
"""
SYSTEMD = ("unshare", "--pid", "--fork", "--mount", "--cgroup", "--kill-child", "sh", "-ec", BOOT)
UID = 1_234
"""Of the user who logs in where that is not root."""
ENGINES = ("docker.io", "docker-cli", "docker-ce", "docker-ce-cli", "podman")


def main(told: dict[str, Any]) -> None:
    """Set the machine up, and serve until stdin ends."""
    folder = Path(told["folder"])
    layers, root = folder / "layers", folder / "root"
    for made in (layers, root):
        made.mkdir()
    mount("-t", "tmpfs", "-o", "mode=755", "none", str(layers))
    base, upper, work = (layers / name for name in ("base", "upper", "work"))
    for made in (base, upper, work):
        made.mkdir()
    furnish(base, told)
    mount("-t", "overlay", "none", "-o", f"lowerdir={base}:/,upperdir={upper},workdir={work}", str(root))
    attach(root, layers, told)
    start(root, told)
    began = changed(upper, base)
    if told["is_read_only"]:
        mount("-o", "remount,ro", str(root))
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if "run" in asked:
            done = inside(root, asked["run"], asked["stdin"])
            print(json.dumps([done.returncode, done.stdout]), flush=True)
        else:
            found = changed(upper, base).items()
            print(json.dumps({path: what for path, what in found if began.get(path) != what}), flush=True)


def attach(root: Path, layers: Path, told: dict[str, Any]) -> None:
    """What is no part of its disk: the kernel's file systems, the tests' Python, cards."""
    for name in ("proc", "dev", "sys"):
        mount("--rbind" if name != "proc" else "--bind", f"/{name}", f"{root}/{name}")
    for path, source in told["mounts"].items():
        mount("--bind", source, f"{root}{path}")
    for number, path in enumerate(told["copies"]):
        copied, working = layers / f"copied{number}", layers / f"working{number}"
        copied.mkdir()
        working.mkdir()
        options = f"lowerdir={path},upperdir={copied},workdir={working}"
        mount("-t", "overlay", "none", "-o", options, f"{root}{path}")
    mount("-t", "tmpfs", "-o", "mode=1777", "none", f"{root}/var/lib/cards")
    for path, text in told["cards"].items():
        write(root, path, text)
        card = (root / path.lstrip("/")).parent
        card.chmod(0o777)
        (card / "lock").touch()
        (card / "lock").chmod(0o666)  # whoever proves first would make it for itself alone


def start(root: Path, told: dict[str, Any]) -> None:
    """Its SSH server, by a systemd of its own where it has one."""
    if told["cgroup"]:
        for hierarchy in HIERARCHIES:
            group = Path("/sys/fs/cgroup", hierarchy, told["cgroup"])
            group.mkdir()
            (group / "cgroup.procs").write_text("0")
        subprocess.Popen([*SYSTEMD, str(root)], stdin=subprocess.DEVNULL, stdout=sys.stderr)
    else:
        inside(root, ["/usr/sbin/sshd"])
        wait_for_word(root / "run/sshd.pid")
    wait_for_port(22)


def wait_for_word(file: Path) -> None:
    """Until a server has written what it writes when it has begun: it belongs to the machine as it was."""
    end = time.monotonic() + 20
    while not file.exists() or not file.read_text().endswith("\n"):
        assert time.monotonic() < end, file
        time.sleep(0.02)


def wait_for_port(port: int) -> None:
    """Until somebody answers there."""
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < end, port
            time.sleep(0.02)
        else:
            return


def inside(root: Path, words: list[str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    """A program on the machine, as root."""
    return subprocess.run(
        ["chroot", str(root), *words],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        text=True,
        check=False,
    )


# --- what it is made of ----------------------------------------------------------------------------


def furnish(base: Path, told: dict[str, Any]) -> None:
    """The layer that makes a bare machine of this computer's root."""
    for path in (*HIDDEN, *told["hidden"], "/root", "/etc/ssh"):
        opaque(base, path)
    for path in ("/root", "/root/.ssh"):
        (base / path.lstrip("/")).mkdir(exist_ok=True)
        (base / path.lstrip("/")).chmod(0o700)
    for path in ("/tmp", "/var/tmp"):
        (base / path.lstrip("/")).chmod(0o1777)
    for path in (*GONE, *told["gone"]):
        if os.path.lexists(path):
            whiteout(base, path)
    for path in ("/run/sshd", "/var/lib/cards", "/etc/ssh/sshd_config.d", *told["mounts"], *told["copies"]):
        folder(base, path)
    without_engines(base)
    for path, text, mode in told["things"]:
        write(base, path, text, mode)
    for path, target in told["links"].items():
        (folder(base, str(Path(path).parent)) / Path(path).name).symlink_to(target)
    if told["user"]:
        let_live(base, told["user"])
    packages(base, told["packages"])


def let_live(base: Path, name: str) -> None:
    """A user who may do everything by `sudo`, which a setuid interpreter plays."""
    for path, line in (
        ("/etc/passwd", f"{name}:x:{UID}:{UID}::/home/{name}:/bin/sh"),
        ("/etc/group", f"{name}:x:{UID}:"),
        ("/etc/shadow", f"{name}:*:19000:0:99999:7:::"),
    ):
        at = base / path.lstrip("/")
        write(
            base,
            path,
            (at if at.exists() else Path(path)).read_text() + line + "\n",
            0o640 if path == "/etc/shadow" else 0o644,
        )
        os.chown(at, 0, Path(path).stat().st_gid)
    subprocess.run(["chown", "-R", f"{UID}:{UID}", str(base / "home" / name)], check=True)
    root_python = base / "usr/local/lib/as-root"
    shutil.copyfile("/usr/bin/python3", root_python)
    root_python.chmod(0o4755)


def packages(base: Path, told: dict[str, dict[str, str]]) -> None:
    """Packages that the machine's manager can get without any network, and no others."""
    if shutil.which("dpkg-deb") is None:
        return
    place = base / "srv" / "apt"
    place.mkdir(parents=True)
    index = ""
    for name, files in told.items():
        tree = base.parent / "packing" / name
        tree.mkdir(parents=True)
        control = f"Package: {name}\nVersion: 99.0\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: {name}\n"
        for path, text in {**files, "/DEBIAN/control": control}.items():
            write(tree, path, text, 0o755 if text.startswith("#!") else 0o644)
        deb = place / f"{name}.deb"
        subprocess.run(
            ["dpkg-deb", "--build", "-Znone", "--root-owner-group", str(tree), str(deb)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        data = deb.read_bytes()
        index += f"{control}Filename: ./{name}.deb\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n\n"
    (place / "Packages").write_text(index)
    opaque(base, "/etc/apt/sources.list.d")
    opaque(base, "/etc/apt/apt.conf.d")  # this computer's hooks are none of the machine's
    opaque(base, "/var/lib/apt/lists")
    write(base, "/etc/apt/sources.list", "deb [trusted=yes] file:/srv/apt ./\n")


def without_engines(base: Path) -> None:
    """The manager's own list, and the groups, without what is hidden."""
    status = Path("/var/lib/dpkg/status")
    if status.exists():
        parts = status.read_text().split("\n\n")
        kept = [part for part in parts if part.partition("\n")[0].removeprefix("Package: ") not in ENGINES]
        write(base, str(status), "\n\n".join(kept))
    for path, mode in (("/etc/group", 0o644), ("/etc/gshadow", 0o640)):
        if Path(path).exists():
            lines = Path(path).read_text().splitlines(keepends=True)
            write(base, path, "".join(line for line in lines if not line.startswith("docker:")), mode)
            shutil.copystat(path, base / path.lstrip("/"))
            os.chown(base / path.lstrip("/"), 0, Path(path).stat().st_gid)


def folder(base: Path, path: str) -> Path:
    """A folder of the layer, with the modes of this computer's."""
    made = base
    for part in Path(path).parts[1:]:
        made /= part
        if not made.exists():
            made.mkdir(mode=0o755)
            here = Path("/", made.relative_to(base))
            if here.is_dir():
                made.chmod(stat.S_IMODE(here.stat().st_mode))
                os.chown(made, here.stat().st_uid, here.stat().st_gid)
    return made


def opaque(base: Path, path: str) -> None:
    """An empty folder in the place of this computer's."""
    os.setxattr(folder(base, path), "trusted.overlay.opaque", b"y")


def whiteout(base: Path, path: str) -> None:
    """Nothing in its place."""
    folder(base, str(Path(path).parent))
    os.mknod(base / path.lstrip("/"), stat.S_IFCHR, os.makedev(0, 0))


def write(base: Path, path: str, text: str, mode: int = 0o644) -> None:
    """A file of the layer."""
    folder(base, str(Path(path).parent))
    file = base / path.lstrip("/")
    file.write_text(text)
    file.chmod(mode)


def mount(*words: str) -> None:
    """Mount something in here."""
    subprocess.run(["mount", *words], check=True)


# --- what was changed ------------------------------------------------------------------------------


def changed(upper: Path, base: Path) -> dict[str, str]:
    """By path: what is new, gone, or not what it was in mode, owner or content."""
    found: dict[str, str] = {}
    for at in sorted(upper.rglob("*")):
        path = f"/{at.relative_to(upper)}"
        now, before = at.lstat(), original(base, path)
        if stat.S_ISCHR(now.st_mode) and now.st_rdev == 0:
            if before is not None:
                found[path] = "gone"
        elif before is None:
            found[path] = f"new: {what_is(at)}"
        elif what_is(at) != what_is(before):
            found[path] = f"{what_is(at)}, was {what_is(before)}"
    return found


def original(base: Path, path: str) -> Path | None:
    """Where the machine's own file lies below the layer of changes."""
    at = base
    for part in Path(path).parts[1:]:
        at /= part
        if at.is_dir() and not at.is_symlink() and is_opaque(at):
            ours = base / path.lstrip("/")
            return ours if os.path.lexists(ours) else None
    ours = base / path.lstrip("/")
    if os.path.lexists(ours):
        return None if stat.S_ISCHR(ours.lstat().st_mode) else ours
    return Path(path) if os.path.lexists(path) else None


def is_opaque(at: Path) -> bool:
    """Whether nothing of this computer's shows through."""
    try:
        return os.getxattr(at, "trusted.overlay.opaque") == b"y"
    except OSError:
        return False


def what_is(at: Path) -> str:
    """All of it that counts: kind, mode, owner, and content or target."""
    status = at.lstat()
    told = f"{status.st_mode:o} {status.st_uid}:{status.st_gid}"
    if stat.S_ISLNK(status.st_mode):
        return f"{told} -> {at.readlink()}"
    if stat.S_ISREG(status.st_mode):
        return f"{told} {hashlib.blake2s(at.read_bytes(), digest_size=8).hexdigest()}"
    return told


if __name__ == "__main__":
    os.umask(0o022)
    if (child := os.fork()) == 0:
        main(json.loads(sys.stdin.readline()))
        sys.exit()
    while os.wait()[0] != child:  # the first process forgets what ended, whoever started it
        pass
