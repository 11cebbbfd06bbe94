"""The installed program on a terminal: what it asks, and what it lets through."""

import os
import pty
import subprocess
import threading

import pytest

from tests.deployments.marketplace.world import printed
from tests.deployments.test_cli import SUBNET


def on_terminal(terminal, server, *words, asked=b"?", typed=b""):
    """Exit code and all that stood on the terminal."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SUBNET_", "PREFECT_"))}
    environment |= {k: v for k, v in {**terminal.environment, **server, "TERM": "xterm"}.items() if v}
    outside, inside = pty.openpty()
    shown = []

    def listen():
        while True:
            try:
                part = os.read(outside, 4096)
            except OSError:
                return
            shown.append(part)
            if typed and asked in part:
                os.write(outside, typed)

    with subprocess.Popen(
        [SUBNET, "rent", *words],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        env=environment,
        start_new_session=True,
    ) as process:
        os.close(inside)
        listener = threading.Thread(target=listen)
        listener.start()
        code = process.wait(60)
        listener.join(20)
    os.close(outside)
    return code, b"".join(shown)


def test_the_price_is_asked_for_and_no_is_no(terminal, server):
    """With what it costs at most; nothing is rented then."""

    code, shown = on_terminal(terminal, server, "up", "--image", "ubuntu:24.04", typed=b"n\n")

    assert code == 130
    assert b"2 cards L4 of 5Miner/m-000, 1.00 USD/h? [y/N]" in shown
    assert terminal.world.stores.rentals.of_renter("alice") == ()


def test_yes_is_yes(terminal, server):
    """The lease is asked for."""

    code, shown = on_terminal(terminal, server, "up", "--image", "ubuntu:24.04", "--detach", typed=b"y\n")

    assert code == 0, shown
    assert len(terminal.world.stores.rentals.of_renter("alice")) == 1


@pytest.mark.parametrize(("words", "is_there"), [(("--tail", "5"), False), (("--tail", "5", "--raw"), True)])
def test_what_a_container_prints_moves_no_cursor(terminal, server, words, is_there):
    """On a terminal dots stand for control characters, unless they are asked for."""

    lease = terminal.up("--image", "ubuntu:24.04")["lease_id"]
    terminal.world.console.answers = [printed(b"2026-08-01T12:00:00.000000000Z \x1b[2Jone\tand two\n")]
    code, shown = on_terminal(terminal, server, "logs", lease, *words)

    assert code == 0, shown
    assert (b"\x1b[2J" in shown) is is_there
    assert b"one\tand two" in shown


def test_a_command_in_a_container_moves_none_either(terminal, server):
    """Neither by its output nor by its errors; its exit code comes through."""

    lease = terminal.up("--image", "ubuntu:24.04")["lease_id"]
    terminal.world.console.answers = [printed(b"\x1b]0;title\x07out\n", b"\x9b2Jerr\n", 3)]
    code, shown = on_terminal(terminal, server, "exec", lease, "--", "true")

    assert code == 3
    assert not set(b"\x1b\x07\x9b") & set(shown)
    assert b"out" in shown
    assert b"err" in shown


def test_a_key_is_typed_unseen(terminal, server):
    """It is asked for on a terminal, and no echo shows it."""

    elsewhere = {"SUBNET_API": server["SUBNET_API"], "SUBNET_API_KEY_FILE": ""}
    typed = terminal.token.encode() + b"\n"
    code, shown = on_terminal(terminal, elsewhere, "login", asked=b"API key", typed=typed)

    assert code == 0, shown
    assert b"logged in" in shown
    assert terminal.token.encode() not in shown
