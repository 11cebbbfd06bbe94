"""Every test of the state runs on SQLite and on PostgreSQL: those that ask for an `engine` which their module opens `fresh`."""

import pytest

from tests.databases import DEFAULT_KIND, KINDS, kind_of_database
from tests.s3 import s3_folder


def pytest_generate_tests(metafunc):
    """Twice, once for each kind of database."""
    if "engine" in metafunc.fixturenames and any(
        name in vars(metafunc.module) for name in ("fresh", "empty_url")
    ):
        metafunc.parametrize("database_kind", KINDS, indirect=True)


@pytest.fixture(autouse=True)
def database_kind(request):
    """The kind of what is `fresh` in this test."""
    with kind_of_database(getattr(request, "param", DEFAULT_KIND)):
        yield


@pytest.fixture(params=["disk", pytest.param("s3", marks=pytest.mark.long)])
def root(request, tmp_path):
    """An empty history, once in a folder of this machine and once on S3."""
    return tmp_path if request.param == "disk" else s3_folder(tmp_path)
