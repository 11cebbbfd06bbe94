"""What each step changes on a machine, and what a look at it comes to: rules, which ask and change nothing.

changes(wanted, report)              by step, as the hand's program takes them (`tasks/onboarding/changing`)
decide(machine, wanted, ...)         the plan, with the command that mends what is in the way
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tasks.onboarding.confinement import files, keeper
from tasks.onboarding.machine import Machine
from tasks.onboarding.mends import MODULES, OWN_PYTHON, command_of
from tasks.onboarding.needs import PRIVILEGES
from tasks.onboarding.preflight import Report
from tasks.onboarding.steps import (
    ACCOUNTS,
    ENGINE,
    FILES,
    FOLDERS,
    KEEPER,
    PYTHON,
    SSHD,
    STEPS,
    TOOLKIT,
    MachinePlan,
    PlannedStep,
    PlanState,
    Step,
    Wanted,
)

Change = Mapping[str, object]
ENGINE_PACKAGE, TOOLKIT_PACKAGE = "docker.io", "nvidia-container-toolkit"
ENGINE_DATA = ("/var/lib/docker", "/var/lib/containerd")
"""Left when the engine is taken away: renters' volumes lie there."""
SHOWN_THINGS = 4
EFFECTIVE = {
    "forcecommand": f"{files.KEEPER} enter",
    "authorizedkeysfile": f"{files.SETTINGS_FOLDER}/authorized_keys/%u",
    "authorizedprincipalsfile": "none",
    "trustedusercakeys": "none",
    "passwordauthentication": "no",
    "exposeauthinfo": "yes",
    "disableforwarding": "yes",
    "permittunnel": "no",
    "permittty": "no",
}
"""What the SSH server has to make of all its settings for the two users, as `sshd -T` tells it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a machine told of one step: what there is to do, or was done; a code when it can't be."""

    done: tuple[str, ...] = ()
    code: str = ""
    detail: str = ""


def resolved(wanted: Wanted, report: Report) -> Wanted:
    """With the interpreter that will be announced: the login's own where it can prove and validators may read it."""
    if wanted.python:
        return wanted
    own = report.machine.python
    closed = (*wanted.hidden, *keeper.PRIVATE)
    has = report.found.environment.has if report.found.environment else ()
    is_good = set(imports(report)) <= set(has) and not any(own.startswith(f"{folder}/") for folder in closed)
    return replace(wanted, python=own if is_good else OWN_PYTHON)


def imports(report: Report) -> tuple[str, ...]:
    """What the prover imports there."""
    return ("numpy", "numba", "numba_cuda") if report.found.needs_cards else ("numpy", "numba")


def changes(wanted: Wanted, report: Report) -> dict[str, Sequence[Change]]:
    """Of each step that this machine needs; `wanted` is resolved."""
    machine = wanted.confined()
    needed: dict[str, Sequence[Change]] = {}
    if wanted.has_engine:
        needed[ENGINE.name] = [_engine(wanted)]
    if wanted.has_engine and report.found.needs_cards:
        needed[TOOLKIT.name] = _toolkit(report)
    needed[PYTHON.name] = [_python(wanted, report)]
    needed[ACCOUNTS.name] = [_account(account) for account in files.accounts(machine)]
    needed[FOLDERS.name] = [_folder(folder) for folder in files.folders()]
    needed[FILES.name] = [
        {"kind": "file", "path": file.path, "text": file.text, "mode": file.mode}
        for file in files.files(machine)
        if file.path not in {files.SSHD_DROP_IN, files.UNIT}
    ]
    needed[KEEPER.name] = [_keeper()]
    needed[SSHD.name] = [_sshd(wanted)]
    return needed


def decide(
    machine: Machine, wanted: Wanted, needed: Mapping[str, Sequence[Change]], looked: Mapping[str, Answer]
) -> MachinePlan:
    """What there is to do; a step of which nothing was asked is not needed."""
    steps = (
        _planned(step, machine, needed.get(step.name, ()), looked.get(step.name, Answer())) for step in STEPS
    )
    return MachinePlan(machine, wanted, tuple(steps))


def unprivileged(machine: Machine, wanted: Wanted, privilege: str | None) -> MachinePlan | None:
    """A plan of which nothing can be done, where the login can't act as root."""
    if privilege in PRIVILEGES[:2]:
        return None
    mend = mend_for("PRIVILEGE_MISSING", machine)
    why = f"{machine.user} is neither root nor may use sudo without a password"
    return MachinePlan(
        machine, wanted, tuple(PlannedStep(step, PlanState.BLOCKED, why, mend) for step in STEPS)
    )


def mend_for(code: str, machine: Machine) -> str:
    """What to run on the machine; empty when no one command mends it."""
    line = MENDS.get(code)
    if line is None:
        return command_of(code, machine)
    return line("" if machine.user == "root" else "sudo ")


def _planned(step: Step, machine: Machine, needed: Sequence[Change], answer: Answer) -> PlannedStep:
    if not needed:
        return PlannedStep(step, PlanState.NOT_NEEDED)
    if answer.code:
        return PlannedStep(step, PlanState.BLOCKED, answer.detail, mend_for(answer.code, machine))
    state = PlanState.TO_DO if answer.done else PlanState.DONE
    return PlannedStep(step, state, told(answer.done), changes=tuple(needed))


def told(done: Sequence[str]) -> str:
    """The first few of them, and how many more."""
    more = len(done) - SHOWN_THINGS
    return ", ".join(done[:SHOWN_THINGS]) + (f" and {more} more" if more > 0 else "")


def _engine(wanted: Wanted) -> Change:
    return {"kind": "engine", "group": wanted.engine_group, "names": [ENGINE_PACKAGE], "data": ENGINE_DATA}


def _toolkit(report: Report) -> Sequence[Change]:
    """Packages, unless its tool answers; Podman takes cards without a runtime of the engine's."""
    installed: Change = {"kind": "packages", "names": [TOOLKIT_PACKAGE], "data": (), "is_nvidias": True}
    is_podman = (report.found.facts.container_runtime or "").startswith("podman")
    packages = [] if report.found.toolkit else [installed]
    is_known = is_podman or "nvidia" in report.found.facts.container_runtimes
    return packages if is_known else [*packages, {"kind": "runtime"}]


def _python(wanted: Wanted, report: Report) -> Change:
    needed = imports(report)
    if wanted.python != OWN_PYTHON:
        return {"kind": "modules", "python": wanted.python, "imports": needed}
    name = report.machine.python.removeprefix("/usr/bin/")
    return {
        "kind": "venv",
        "python": report.machine.python,
        "folder": OWN_PYTHON.removesuffix("/bin/python"),
        "package": f"{name}-venv" if "/" not in name else "python3-venv",
        "modules": MODULES if report.found.needs_cards else MODULES[:1],
        "imports": needed,
        "has_wheels": wanted.wheels is not None,
    }


def _account(account: files.Account) -> Change:
    return {
        "kind": "account",
        "name": account.name,
        "home": account.home,
        "groups": account.groups,
        "shell": account.shell,
    }


def _folder(folder: files.MachineFolder) -> Change:
    is_whole = folder.path.startswith(f"{files.STATE}/")
    return {
        "kind": "folder",
        "path": folder.path,
        "mode": folder.mode,
        "owner": folder.owner,
        "is_whole": is_whole,
    }


def _keeper() -> Change:
    return {
        "kind": "keeper",
        "program": files.KEEPER,
        "unit": files.UNIT,
        "text": files.unit_text(),
        "reads": [files.KEEPER, keeper.SETTINGS],
        "socket": keeper.SOCKET,
        "uids": [keeper.FIRST_UID, keeper.UIDS],
    }


def _sshd(wanted: Wanted) -> Change:
    return {
        "kind": "sshd",
        "path": files.SSHD_DROP_IN,
        "text": files.sshd_text(),
        "users": {files.VALIDATE_USER: [], files.RENT_USER: [wanted.engine_group]},
        "effective": EFFECTIVE,
    }


def _as_root(command: str) -> Callable[[str], str]:
    return lambda sudo: sudo + command


def _let_in(option: str) -> Callable[[str], str]:
    """Both users beside whomever the option names, in whichever file it stands."""
    places = "/etc/ssh/sshd_config /etc/ssh/sshd_config.d"
    line = f"^[[:space:]]*{option}[[:space:]]"
    return lambda sudo: (
        f"{sudo}grep -rlsiE '{line}' {places} | xargs {sudo}sed -i -E 's/{line}.*/& {_BOTH}/I'"
    )


_MODULES = " ".join(f"'{module}'" for module in MODULES)
_PLACES = " ".join(sorted({folder.path for folder in files.folders()}))
_BOTH = f"{files.VALIDATE_USER} {files.RENT_USER}"
MENDS: Mapping[str, Callable[[str], str]] = {
    "NO_APT": lambda sudo: (
        f"{sudo}dnf install -y docker python3-pip  # or by the machine's own package manager; then run this again"
    ),
    "APT_FAILED": lambda sudo: f"{sudo}apt-get update && {sudo}apt-get -f install",
    "WOULD_REMOVE": _as_root(f"apt-get -s install {ENGINE_PACKAGE}"),
    "ENGINE_SILENT": _as_root("systemctl enable --now docker"),
    "READ_ONLY": _as_root("mount -o remount,rw /"),
    "DISK_FULL": lambda _: "df -h / /var /opt /usr",
    "TOOL_MISSING": _as_root("apt-get install -y passwd"),
    "ACCOUNT_NOT_OURS": lambda sudo: (
        f"getent passwd {_BOTH}; getent group {_BOTH}  # rename or remove it: {sudo}userdel NAME, {sudo}groupdel NAME"
    ),
    "PYTHON_NOT_OURS": _as_root(f"{OWN_PYTHON} -m pip install {_MODULES}"),
    "PYTHON_FAILED": _as_root("apt-get install -y python3-venv"),
    "PIP_FAILED": lambda _: (
        f"python3 -m pip download --only-binary=:all: --dest wheels {_MODULES}"
        "  # where there is a way to an index; then name the folder by --wheels"
    ),
    "KEEPER_SILENT": _as_root(f"{files.KEEPER} serve"),
    "SSHD_MISSING": _as_root("apt-get install -y openssh-server"),
    "SSHD_INVALID": _as_root("sshd -t"),
    "SSHD_NOT_READ": _as_root("sed -i '1i Include /etc/ssh/sshd_config.d/*.conf' /etc/ssh/sshd_config"),
    "SSHD_OVERRULED": _as_root("grep -rnE '^[[:space:]]*Match' /etc/ssh/sshd_config /etc/ssh/sshd_config.d"),
    "SSHD_ALLOW_USERS": _let_in("AllowUsers"),
    "SSHD_ALLOW_GROUPS": _let_in("AllowGroups"),
    "SSHD_DENY_USERS": _as_root("grep -rniE '^[[:space:]]*DenyUsers' /etc/ssh"),
    "SSHD_DENY_GROUPS": _as_root("grep -rniE '^[[:space:]]*DenyGroups' /etc/ssh"),
    "SSHD_SILENT": _as_root("systemctl restart ssh"),
    "BUSY": _as_root(
        "fuser -v /var/lib/subnet-onboarding.lock  # who works there: wait for its end, or end it"
    ),
    "IN_USE": _as_root(
        "docker ps -a  # and `docker volume ls`: remove what is not needed, then run this again"
    ),
    "NOT_OURS": _as_root(f"ls -ld {_PLACES}  # rename what was named above, then run this again"),
    "JOURNAL_BROKEN": _as_root(
        "mv /var/lib/subnet-onboarding.json /root/  # it says what was changed: undo that by hand"
    ),
    "SYSTEM": _as_root("dmesg | tail -n 20; df -h; mount"),
    "TOOL_FAILED": _as_root("journalctl -n 50 --no-pager"),
    "TOO_SLOW": lambda _: "uptime; ps aux --sort=-%cpu | head  # once it is idle, run this again",
}
"""By the code of the hand's program; others are those of `tasks/onboarding/mends.py`."""
