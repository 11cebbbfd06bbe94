"""The command that mends a reason, for a miner to copy; where none does alone, the reason's own sentence has to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from storage.records import Reason
from tasks.onboarding.machine import Machine

Line = Callable[[Machine], str]
MODULES = ("numba>=0.68,<0.70", "numba-cuda[cu13]>=0.30,<0.31")
"""What the prover imports; NumPy comes with numba."""
OWN_PYTHON = "/opt/subnet/bin/python"
_TOOLKIT = (
    "curl -fsSL https://nvidia.github.io/libnvidia-container/gpgkey"
    " | SUDO gpg --dearmor -o /usr/share/keyrings/nvidia-container-toolkit-keyring.gpg"
    " && curl -fsSL https://nvidia.github.io/libnvidia-container/stable/deb/nvidia-container-toolkit.list"
    " | sed 's#deb https://#deb [signed-by=/usr/share/keyrings/nvidia-container-toolkit-keyring.gpg] https://#g'"
    " | SUDO tee /etc/apt/sources.list.d/nvidia-container-toolkit.list"
    " && SUDO apt-get update && SUDO apt-get install -y nvidia-container-toolkit"
)
"""No distribution has it: NVIDIA's own repository comes first."""


def _as_root(command: str) -> Line:
    return lambda machine: command if machine.user == "root" else f"sudo {command}"


def _plain(command: str) -> Line:
    return lambda _: command


def _prover(machine: Machine) -> str:
    """Into the announced interpreter, or beside it: a distribution's own Python takes no packages from elsewhere."""
    packages = " ".join(f"'{module}'" for module in MODULES)
    if not machine.python.startswith("/usr/bin/"):
        return f"{machine.python} -m pip install {packages}"
    folder = OWN_PYTHON.removesuffix("/bin/python")
    made = f"{_sudo(machine)}{machine.python} -m venv {folder} && {_sudo(machine)}{OWN_PYTHON} -m pip install"
    return f"{made} {packages}  # then announce it: --python {OWN_PYTHON}"


def _sudo(machine: Machine) -> str:
    return "" if machine.user == "root" else "sudo "


COMMANDS: Mapping[str, Line] = {
    "PRIVILEGE_MISSING": lambda m: (
        f"echo '{m.user} ALL=(ALL) NOPASSWD: ALL' | sudo tee /etc/sudoers.d/{m.user} && sudo chmod 440 /etc/sudoers.d/{m.user}"
    ),
    "PYTHON_TOO_OLD": _as_root("apt-get install -y python3.11 python3.11-venv"),
    "PYTHON_MISSING": _as_root("apt-get install -y python3 python3-venv"),
    "PROVER_MISSING": _prover,
    "NVIDIA_TOOLKIT_MISSING": lambda m: _TOOLKIT.replace("SUDO ", _sudo(m)),
    "NVIDIA_RUNTIME_MISSING": lambda m: (
        f"{_sudo(m)}nvidia-ctk runtime configure --runtime=docker && {_sudo(m)}systemctl restart docker"
    ),
    "CLOCK_OFF": _as_root("timedatectl set-ntp true"),
    "PORTS_CLOSED": _as_root("ufw allow 32768:60999/tcp"),
    "CONTAINER_RUNTIME_MISSING": _as_root("apt-get install -y docker.io"),
    "DRIVER_MISSING": _as_root("apt-get install -y nvidia-driver-580"),
    "GPU_COUNT_ZERO": _as_root("apt-get install -y nvidia-driver-580"),
    "DISK_BELOW_MINIMUM": _plain("docker system df --verbose"),
    "GPU_USAGE_HIGH": _plain("nvidia-smi --query-compute-apps=pid,name,used_memory --format=csv"),
    "GPU_FOREIGN_PROCESS": _plain("nvidia-smi --query-compute-apps=pid,name,used_memory --format=csv"),
    "GPU_VRAM_HELD": _as_root("fuser -v /dev/nvidia*"),
    "GPU_POWER_LIMIT_BELOW_DEFAULT": _plain(
        "nvidia-smi --query-gpu=index,power.default_limit --format=csv  # then: nvidia-smi -i INDEX -pl WATTS"
    ),
    "HOST_AUTH_REFUSED": lambda m: f"ssh-copy-id -p {m.port} {m.user}@{m.name}",
    "HOST_KEY_CHANGED": _plain("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"),
    "HOST_KEY_UNKNOWN": _plain("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"),
    "HOST_UNREACHABLE": lambda m: f"ssh -p {m.port} {m.user}@{m.name} true",
    "HOST_TIMEOUT": lambda m: f"ssh -p {m.port} {m.user}@{m.name} true",
}
"""By code, to be run on the machine, but for the last ones, which are run here."""


def command_for(reason: Reason, machine: Machine) -> str:
    """What to run, empty when no one command mends it."""
    return command_of(reason.code, machine)


def command_of(code: str, machine: Machine) -> str:
    """The same by a code, for what is no reason of a verdict."""
    line = COMMANDS.get(code)
    return line(machine) if line else ""
