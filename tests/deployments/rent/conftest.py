"""A renter at a terminal, for each test."""

import pytest

from tests.deployments.marketplace.world import SSH_KEY, world
from tests.deployments.rent.rig import Terminal


@pytest.fixture
def terminal(tmp_path):
    """Alice, logged in to a market of three machines with two cards, with a key in her home."""
    (tmp_path / "backups").mkdir()
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    (tmp_path / "home" / ".ssh" / "id_ed25519.pub").write_text(SSH_KEY + "\n")
    with world(tmp_path, backups=tmp_path / "backups", is_local=True) as made:
        yield Terminal(made, tmp_path / "home", made.key()).login()
