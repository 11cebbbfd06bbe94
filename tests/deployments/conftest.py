"""A Prefect server for all tests here that need one: its start takes longer than most of what is tested with it."""

import socket
import sys

import pytest

from deployments.prefect_server import PrefectServer, launch
from deployments.processes import start
from deployments.sites import REPOSITORY


@pytest.fixture(scope="session")
def prefect_folder(tmp_path_factory):
    """Where the server keeps its files."""
    return tmp_path_factory.mktemp("prefect")


@pytest.fixture(scope="session")
def prefect_server(prefect_folder):
    """A server that runs; its first process died, because somebody else had taken the port that it looked at."""
    folder = prefect_folder
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-c", "raise SystemExit(3)"]
        dead = start("Prefect server", command, log=folder / "log", environment={}, folder=folder)
        server = PrefectServer(f"http://127.0.0.1:{port}", dead, lambda: launch(folder, REPOSITORY, 0))
        try:
            server.wait()
            assert server.url != f"http://127.0.0.1:{port}"
            yield server
        finally:
            server.stop()
