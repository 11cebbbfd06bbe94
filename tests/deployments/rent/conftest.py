"""A renter at a terminal, for each test."""

from contextlib import contextmanager

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
