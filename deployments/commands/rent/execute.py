"""`subnet rent exec`: a command in a container, through the market."""

from __future__ import annotations

import base64
import binascii
import sys

import click

from deployments.hygiene import printable_lines
from deployments.renting.desk import Desk, find_lease, lease_argument, verb
from deployments.renting.wire import Document, integer
from tasks.errors import BadAnswer, SettingError

MAX_STDIN_BYTES = 1 << 20
SLACK_S = 60.0


@click.command()
@lease_argument()
@click.argument("words", nargs=-1, required=True, metavar="COMMAND...", type=click.UNPROCESSED)
@click.option("--stdin", "has_stdin", is_flag=True, help="Give it our standard input, a MiB at most.")
@click.option("--timeout", type=click.IntRange(1, 300), default=60, show_default=True, help="Seconds.")
@click.option("--raw", is_flag=True, help="Also on a terminal print its bytes as they are.")
@verb
def command(
    desk: Desk, *, lease: str, words: tuple[str, ...], has_stdin: bool, timeout: int, raw: bool
) -> int:
    """Run a command in a lease's container: the words as they are, no shell between. Ends with the command's exit code.

    It is never run a second time by us: when the answer is lost, that is told, and whether it ran is for you to see.

    \b
    Examples:
      subnet rent exec 3f9a -- nvidia-smi -L
      subnet rent exec 3f9a -- sh -c 'df -h /data | tail -1'
      echo hello | subnet rent exec 3f9a --stdin -- tee /tmp/hello
    """
    given = sys.stdin.buffer.read(MAX_STDIN_BYTES + 1) if has_stdin else b""
    if len(given) > MAX_STDIN_BYTES:
        raise SettingError(
            "standard input", f"over {MAX_STDIN_BYTES} bytes", "less; `subnet rent scp` takes files"
        )
    body: Document = {"argv": list(words), "stdin": base64.b64encode(given).decode(), "timeout_s": timeout}
    with desk.open() as client:
        found = find_lease(client, lease)
        path = f"/v1/leases/{found.lease_id}/exec"
        answer = client.post(path, body, is_repeatable=False, read_s=timeout + SLACK_S)
    if desk.is_json:
        desk.answer(answer)
    else:
        _write(sys.stdout, _bytes(answer, "stdout"), raw=raw)
        _write(sys.stderr, _bytes(answer, "stderr"), raw=raw)
        if answer.get("truncated") is True:
            desk.say("Warning: it printed more than the market passes on; `subnet rent ssh` shows all of it")
    return integer(answer, "exit_code") & 0xFF


def _bytes(answer: Document, name: str) -> bytes:
    try:
        return base64.b64decode(str(answer.get(name) or ""), validate=True)
    except (binascii.Error, ValueError):
        raise BadAnswer(f"the market's {name} is no base64") from None


def _write(stream: object, data: bytes, *, raw: bool) -> None:
    """Bytes as they are into a file or a pipe; on a terminal what is printable of them."""
    is_terminal = bool(getattr(stream, "isatty", bool)())
    shown: bytes | str = printable_lines(data.decode("utf-8", "replace")) if is_terminal and not raw else data
    click.echo(shown, nl=False, err=stream is sys.stderr)
