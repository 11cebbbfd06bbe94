"""The Prefect server that the commands start for themselves: on loopback, signed in to, in our own folder, on SQLite."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from deployments.prefect_auth import ASKED, SENT, auth_file, make_auth
from deployments.processes import Child, ChildDied, free_port, start
from tasks.errors import SubnetError

DEFAULT_PORT = 4_200
START_DEADLINE_S = 240.0


@dataclass
class PrefectServer:
    """A Prefect server: its address, and the process when it is ours."""

    url: str
    """Without /api, e.g. http://127.0.0.1:4200."""
    child: Child | None = None
    again: Callable[[], PrefectServer] | None = None
    """Starts another one, on a port that the system picks."""
    begin: Callable[[], Child] | None = None
    """Starts its process again, at the same address."""
    auth: str = field(default="", repr=False)
    """`user:password`; empty where the environment has it, or nobody asks."""

    @property
    def api_url(self) -> str:
        """What PREFECT_API_URL wants."""
        return f"{self.url}/api"

    @property
    def access(self) -> dict[str, str]:
        """What a client of it has in its environment."""
        return {"PREFECT_API_URL": self.api_url} | ({SENT: self.auth} if self.auth else {})

    def run_url(self, flow_run_id: str) -> str:
        """The page of a flow run in the UI."""
        return f"{self.url}/runs/flow-run/{flow_run_id}"

    def wait(self) -> None:
        """Until the server answers; once more on another port when it died, since its port may have been taken meanwhile."""
        if self.child is None:
            return
        try:
            self.child.wait_until(lambda: is_healthy(self.url), START_DEADLINE_S)
        except ChildDied:
            if self.again is None:
                raise
            other = self.again()
            self.url, self.child, self.again = other.url, other.child, None
            self.begin, self.auth = other.begin, other.auth
            self.wait()

    def begin_again(self) -> Child:
        """A new process in the place of one that has died: who works with it finds it where it was."""
        if self.begin is None:
            raise SubnetError("this Prefect server is not ours to begin again")
        self.child = self.begin()
        return self.child

    def stop(self) -> None:
        """End it when it is ours."""
        if self.child is not None:
            self.child.stop()


def launch(folder: Path, repository: Path, port: int = DEFAULT_PORT) -> PrefectServer:
    """Start a server in `folder`/prefect; returns at once, `wait` for it."""
    port = free_port(port)
    auth = make_auth(auth_file(folder))

    def begin(*, is_again: bool = True) -> Child:
        return start(
            "Prefect server",
            [
                *(sys.executable, "-m", "deployments.prefect_process"),
                *("server", "start", "--host", "127.0.0.1", "--port", str(port)),
            ],
            log=folder / "logs" / "prefect-server.log",
            environment=server_environment(os.environ, folder, port) | {ASKED: auth},
            folder=repository,
            is_again=is_again,
        )

    url = f"http://127.0.0.1:{port}"
    return PrefectServer(url, begin(is_again=False), lambda: launch(folder, repository, 0), begin, auth)


def server_environment(environment: Mapping[str, str], folder: Path, port: int) -> dict[str, str]:
    """The server's environment: nothing of the user's own Prefect gets in, and the UI finds its port."""
    ours = {key: value for key, value in environment.items() if not key.startswith("PREFECT_")}
    return ours | {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{port},http://localhost:{port}",
        "PREFECT_LOGGING_LEVEL": "WARNING",
    }


def client_environment(folder: Path, server: PrefectServer) -> dict[str, str]:
    """What a process needs to report to this server."""
    return {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        **server.access,
    }


def is_healthy(url: str, deadline_s: float = 2.0) -> bool:
    """Whether a Prefect server answers at this address in time."""
    try:
        return (
            httpx.get(f"{url}/api/health", timeout=deadline_s, trust_env=False).status_code == httpx.codes.OK
        )
    except httpx.HTTPError:
        return False
