"""What all tests share: property tests are never timed, since how long an example takes is the machine's affair; container
engines, each started once for a worker that needs it.
"""

import pytest
from hypothesis import settings

from tests.engines import docker_rig, podman_rig

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


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
