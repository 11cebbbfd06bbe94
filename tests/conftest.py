"""Fixtures of all tests: container engines, each started once for a worker that needs it."""

import pytest

from tests.engines import docker_rig, podman_rig


@pytest.fixture(scope="session")
def docker(tmp_path_factory):
    """A real Docker daemon with simulated cards."""
    with docker_rig(tmp_path_factory.mktemp("docker")) as rig:
        yield rig


@pytest.fixture(scope="session")
def podman(tmp_path_factory):
    """Podman."""
    with podman_rig(tmp_path_factory.mktemp("podman")) as rig:
        yield rig
