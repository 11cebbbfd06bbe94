"""A renter at a terminal, for each test."""

import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.deployments.marketplace.world import SSH_KEY, world
from tests.deployments.rent.rig import Terminal


@contextmanager
def logged_in(folder):
    """Alice, logged in to a market of three machines with two cards, with a key in her home."""
    (folder / "backups").mkdir()
    (folder / "home" / ".ssh").mkdir(parents=True)
    (folder / "home" / ".ssh" / "id_ed25519.pub").write_text(SSH_KEY + "\n")
    with world(folder, backups=folder / "backups", is_local=True) as made:
        yield Terminal(made, folder / "home", made.key()).login()


@pytest.fixture
def terminal(tmp_path):
    """A terminal of the test's own."""
    with logged_in(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """A terminal for tests after which everything is as it was before."""
    with logged_in(tmp_path_factory.mktemp("still")) as found:
        yield found


@pytest.fixture
def server(terminal):
    """What a shell's environment must have to talk to the terminal's market over a real connection."""
    import uvicorn

    config = uvicorn.Config(terminal.world.app, host="127.0.0.1", port=0, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    (terminal.home / "served-key").write_text(terminal.token)
    yield {"SUBNET_API": f"http://127.0.0.1:{port}", "SUBNET_API_KEY_FILE": str(terminal.home / "served-key")}
    server.should_exit = True
    thread.join(20)


@pytest.fixture
def served(terminal, server, monkeypatch):
    """The same terminal, with the market behind a real server on this computer."""
    desk = terminal.desk
    monkeypatch.setattr(
        terminal,
        "desk",
        lambda: replace(desk(), transport=None, environment={**desk().environment, **server}),
    )
    return terminal
