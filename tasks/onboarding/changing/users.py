"""Users and groups."""

from __future__ import annotations

import grp
import pwd
from pathlib import Path

from tasks.onboarding.changing.journal import Change, Entry, Failed, Left, Work, absent, remove
from tasks.onboarding.changing.system import end_all, need, owner_of, tool

BACKUPS = ("/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/.pwd.lock")
"""What the tools for users leave beside the files that they change."""


def add_group(wanted: Change, work: Work) -> list[str]:
    """A group of the system's."""
    name = wanted["name"]
    if group_of(name) is not None:
        return []
    need("groupadd")
    if not work.is_dry:
        work.journal.note("group", name, absent=absent(BACKUPS))
        tool(["groupadd", "-r", name])
    return [f"group {name}"]


def undo_group(entry: Entry) -> Left:
    """Away."""
    if group_of(entry["key"]) is not None:
        tool(["groupdel", entry["key"]])
    remove(entry["absent"])
    return []


def add_account(wanted: Change, work: Work) -> list[str]:
    """A user without a password, in those of the groups that there are."""
    name, begun = wanted["name"], work.journal.find("account", wanted["name"])
    groups = [group for group in wanted["groups"] if group_of(group) is not None]
    has, is_whole = user_of(name), False
    if has is not None:
        is_whole = group_of(name) is not None and has_shadow(name)
    if begun is None and (has or group_of(name)):
        if has is None or (has.pw_dir, has.pw_shell) != (wanted["home"], wanted["shell"]):
            raise Failed("ACCOUNT_NOT_OURS", f"there is a user or group {name} of another kind")
        is_whole = True
    if is_whole:
        return [added for group in groups for added in join(name, group, work)]
    need("useradd")
    if not work.is_dry:
        work.journal.note("account", name, absent=absent(BACKUPS))
        remove_account(name)  # half of one, of a tool that was killed
        more = ["-G", ",".join(groups)] if groups else []
        words = ["-l", "-r", "-U", "-M", "-d", wanted["home"], "-s", wanted["shell"], "-p", "*", *more, name]
        tool(["useradd", *words])
    return [f"user {name}"]


def join(name: str, group: str, work: Work) -> list[str]:
    """The user in this group."""
    found = group_of(group)
    if found is None or name in found.gr_mem:
        return []
    if not work.is_dry:
        work.journal.note("membership", f"{name}:{group}")
        tool(["usermod", "-a", "-G", group, name])
    return [f"{name} in {group}"]


def undo_membership(entry: Entry) -> Left:
    """Out of the group, if both are still there."""
    name, _, group = entry["key"].partition(":")
    found = group_of(group)
    if found is not None and name in found.gr_mem:
        tool(["gpasswd", "-d", name, group])
    return []


def undo_account(entry: Entry) -> Left:
    """Away, with whatever it runs."""
    has = user_of(entry["key"])
    if has is not None:
        end_all(lambda pid: owner_of(pid) == has.pw_uid)
        # sshd's word of how the user came in (ExposeAuthInfo), which stays where a session is killed.
        told = Path("/tmp").glob("sshauth.*")  # noqa: S108  sshd's own place for it
        remove([str(path) for path in told if path.lstat().st_uid == has.pw_uid])
    remove_account(entry["key"])
    remove(entry["absent"])
    return []


def remove_account(name: str) -> None:
    """The user and the group of its name."""
    if user_of(name) is not None:
        tool(["userdel", name])
    if group_of(name) is not None:
        tool(["groupdel", name])


def user_of(name: str) -> pwd.struct_passwd | None:
    """The user, None when there is none."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def group_of(name: str) -> grp.struct_group | None:
    """The group, None when there is none."""
    try:
        return grp.getgrnam(name)
    except KeyError:
        return None


def has_shadow(name: str) -> bool:
    """Whether its second half was written too."""
    try:
        return any(line.startswith(f"{name}:") for line in Path("/etc/shadow").read_text().splitlines())
    except FileNotFoundError:
        return True
