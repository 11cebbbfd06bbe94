"""A whole machine for tests of confinement, in namespaces of its own: nothing of it is left when it ends.

    unshare --mount --pid ... python confined.py     a line of JSON in, `ready` out when sshd answers, the end with stdin

What is written to /etc, /usr/local and /var/lib lies in memory; the users are real ones there, sshd is OpenSSH's, and set up
by its owner to allow everything. The miner's agent does not run.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path
from typing import Any

OWNER = "miner"
PYTHON = "/usr/local/announced/bin/python"
ENGINE = "/run/docker.sock"
CARDS, SHOWN = "/var/lib/cards", "/var/lib/gpus.json"


def main(told: dict[str, Any]) -> None:
    """Set the machine up and keep it until stdin ends."""
    real = bring_in(told["engine"], Path(told["folder"], "engine.sock")) if told["engine"] else ""
    lay_over(Path(told["folder"]), told["kernels"])
    install_python()
    for name in ("docker", "video"):
        subprocess.run(["groupadd", "-f", "-r", name], check=True)
    for account in told["accounts"]:
        add_user(**account)
    install(told["folders"], told["files"])
    furnish(told)
    engine = open_engine(real)
    threading.Thread(target=keep_up, args=([told["keeper"], "serve"],), daemon=True).start()
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    subprocess.Popen([str(sshd), "-D", "-E", told["folder"] + "/sshd.log"])
    wait_for(told["socket"], told["port"])
    print("ready", flush=True)
    sys.stdin.read()
    engine.close()


def keep_up(command: list[str]) -> None:
    """As systemd does: start it again whenever it has ended."""
    while True:
        subprocess.run(command, check=False)
        time.sleep(0.1)


def add_user(name: str, home: str, groups: list[str], shell: str) -> None:
    """A user as it is told."""
    more = ["-G", ",".join(groups)] if groups else []
    words = ["-r", "-U", "-M", "-d", home, "-s", shell, "-p", "*", *more, name]
    subprocess.run(["useradd", *words], check=True)


def lay_over(folder: Path, kernels: str) -> None:
    """Overlays whose changes lie in memory, and folders of the machine's own."""
    layers = folder / "layers"
    layers.mkdir()
    mount("-t", "tmpfs", "none", str(layers))
    for number, path in enumerate(("/etc", "/usr/local", "/var/lib", kernels)):
        upper, work = layers / f"upper{number}", layers / f"work{number}"
        upper.mkdir()
        work.mkdir()
        mount("-t", "overlay", "none", "-o", f"lowerdir={path},upperdir={upper},workdir={work}", path)
    mount("-t", "tmpfs", "-o", "mode=755", "none", "/run")
    mount("-t", "tmpfs", "-o", "mode=755", "none", "/mnt")
    Path("/run/sshd").mkdir()


def install_python() -> None:
    """An interpreter that everybody may run, with the packages of the one that runs the tests."""
    base, packages = Path("/usr/local/base"), Path("/usr/local/packages")
    for path, source in ((base, sys.base_prefix), (packages, sysconfig.get_path("purelib"))):
        path.mkdir()
        mount("--bind", source, str(path))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    own = Path(PYTHON).parents[1]
    site = own / "lib" / version / "site-packages"
    site.mkdir(parents=True)
    (site / "packages.pth").write_text(f"{packages}\n")
    (own / "bin").mkdir()
    (own / "pyvenv.cfg").write_text(f"home = {base}/bin\n")
    Path(PYTHON).symlink_to(base / "bin" / version)


def install(folders: list[dict[str, Any]], files: list[dict[str, Any]]) -> None:
    """What `tasks/onboarding/confinement/files.py` tells, as it tells it."""
    for folder in folders:
        Path(folder["path"]).mkdir(exist_ok=True)
        shutil.chown(folder["path"], folder["owner"], folder["owner"])
        Path(folder["path"]).chmod(folder["mode"])
    for file in files:
        write(file["path"], file["text"], file["mode"])


def furnish(told: dict[str, Any]) -> None:
    """The owner's own things, cards, the kernels compiled already, and an sshd that allows everything."""
    for path, text, mode in told["things"]:
        write(path, text, mode)
    for path in told["owned"]:
        shutil.chown(path, OWNER, OWNER)
    for folder in [CARDS, *(path.parent for path in Path(CARDS).glob("*/total"))]:
        Path(folder).chmod(0o1777)
    own, home = told["prover"], Path(told["prover_home"])
    for folder in (home / ".cache", home / "toolbox"):
        folder.mkdir(parents=True)
    (home / ".cache" / "subnet").symlink_to(told["kernels"])
    toolbox = Path(told["kernels"], "toolbox")
    shutil.rmtree(toolbox, ignore_errors=True)
    toolbox.symlink_to(home / "toolbox")  # a real engine mounts what is in it
    subprocess.run(["chown", "-hR", f"{own}:{own}", told["kernels"], str(home)], check=True)
    home.chmod(0o700)


def bring_in(real: str, path: Path) -> str:
    """A socket where it can still be seen when this machine has a /run of its own."""
    path.touch()
    mount("--bind", real, str(path))
    return str(path)


def open_engine(real: str) -> socket.socket:
    """A socket as the container engine has it, or a real engine's."""
    engine = socket.socket(socket.AF_UNIX)
    if real:
        Path(ENGINE).touch()
        mount("--bind", real, ENGINE)
        shutil.chown(ENGINE, "root", "docker")
        Path(ENGINE).chmod(0o660)
        return engine
    engine.bind(ENGINE)
    shutil.chown(ENGINE, "root", "docker")
    Path(ENGINE).chmod(0o660)
    engine.listen(8)
    return engine


def wait_for(path: str, port: int) -> None:
    """Until both doors are open."""
    end = time.monotonic() + 20
    while True:
        try:
            assert Path(path).exists()
            socket.create_connection(("127.0.0.1", port), 1).close()
        except (AssertionError, OSError):
            assert time.monotonic() < end
            time.sleep(0.02)
        else:
            return


def write(path: str, text: str, mode: int = 0o644) -> None:
    """A file, its folders made."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    Path(path).chmod(mode)


def mount(*words: str) -> None:
    """Mount something in here."""
    subprocess.run(["mount", *words], check=True)


if __name__ == "__main__":
    os.umask(0o022)
    main(json.loads(sys.stdin.readline()))
