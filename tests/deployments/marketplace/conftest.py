"""A marketplace for each test."""

import pytest

from tests.deployments.marketplace.world import world


@pytest.fixture
def market(tmp_path):
    """A marketplace of three machines with two cards; alice and bob have 100 USD each."""
    with world(tmp_path) as made:
        yield made
