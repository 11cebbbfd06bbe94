"""Telling a container that its lease gives way: a file, and a signal to what wants one.

    /etc/subnet/notice      until=2026-08-01T12:02:00+00:00
                            reason=the cards are wanted at the full price

Every process in it that catches SIGUSR1 gets one, once; none that does not is touched, since the signal would end it.
At the moment that the file names the container is stopped: SIGTERM to its program, and SIGKILL after the policy's grace.
Repeating it changes nothing.
"""

from __future__ import annotations

from datetime import datetime

from tasks.edges.runtime import Runtime
from tasks.errors import ContainerRefused

BUSYBOX = "/opt/subnet/busybox"
NOTICE_AT = "/etc/subnet/notice"
# Bit 9 of the mask of caught signals is SIGUSR1: with it, the third digit from the right is one of these. What the toolbox
# runs itself catches it to hand it on, which would end a program that does not.
_PROGRAM = (
    f"b={BUSYBOX}; at={NOTICE_AT}; $b cat > $at.new; "
    "$b cmp -s $at.new $at && { $b rm -f $at.new; exit 0; }; $b mv -f $at.new $at; "
    "for p in /proc/[0-9]*; do i=${p#/proc/}; "
    '[ "$i" = 1 ] || [ "$i" = $$ ] && continue; $b grep -q /opt/subnet/ $p/cmdline && continue; '
    "while read -r k v; do case $k$v in SigCgt:*[2367abef]??) $b kill -USR1 $i;; esac; done < $p/status; "
    "done 2> /dev/null; exit 0"
)


def text_of(until: datetime, reason: str) -> bytes:
    """The file's text: two lines."""
    line = " ".join(reason.split())
    return f"until={until.isoformat(timespec='seconds')}\nreason={line}\n".encode()


def deliver(runtime: Runtime, container: str, text: bytes, *, deadline: float) -> None:
    """Put it into a running container; ContainerRefused when that can't be done."""
    output = runtime.execute(
        container, (BUSYBOX, "sh", "-c", _PROGRAM), stdin=text, limit_bytes=4_096, deadline=deadline
    )
    if output.exit_code:
        said = (output.stderr or output.stdout).decode("utf-8", "replace")
        raise ContainerRefused("notice", "REFUSED", " ".join(said.split())[:200])
