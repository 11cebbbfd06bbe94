"""What all tests share: how hypothesis looks for examples, which tests run on one worker, and container engines, each started
once for a worker that needs it.
"""

import pytest
from hypothesis import settings

from tests.engines import docker_rig, podman_rig
from tests.whole import first_epoch, killed_epoch, whole_folder, whole_up  # noqa: F401  fixtures

# Examples are never timed: a machine may be busy. `make test` takes the same ones every time, so that it fails for what has
# changed and not by chance; `pytest --hypothesis-profile=search` looks for new ones.
settings.register_profile("search", deadline=None)
settings.register_profile("same", deadline=None, derandomize=True)
settings.load_profile("same")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Tests that share a fixture of their module are a group, unless they name one: on three workers it would be made thrice."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None and _shares_with_its_module(item):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


def _shares_with_its_module(item):
    definitions = item._fixtureinfo.name2fixturedefs.values()
    return any(definition.scope == "module" for (*_, definition) in definitions)


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
