"""Hands on a cluster: each is a Prefect task that a Dask or Ray task runner places, and that calls the flow back.

    flow: runner.submit(be_a_hand, where, ticket) -> worker of the cluster: TLS to the flow -> the ticket -> a hand

What goes over the link is the same as to a process of this computer. The flow's certificate is made for the epoch and
travels with the ticket, so that a hand talks to nobody else, and nobody else is taken for a hand. The cluster's own
transport carries the ticket: between computers it must be private, or be given TLS of its own (docs/scale.md).
"""

from __future__ import annotations

import asyncio
import hmac
import resource
import secrets
import socket
import ssl
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.crew.foreman import HELLO_S, Recruit
from tasks.crew.hand import serve
from tasks.crew.rosters import STREAM_BYTES, ThreadGrip
from tasks.errors import SettingError

NAME = "hand"
TICKET_BYTES = 32
ARRIVAL_S = 120.0
"""For a cluster to start, and its workers to import what a hand needs."""
CALL_S = 10.0
LIFE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Which engine places the hands, and where."""

    engine: str
    """`dask` or `ray`."""
    address: str
    """Of its scheduler; empty: one of this computer's own, for the epoch."""
    host: str
    """At which its workers reach the flow."""


class Hired:
    """Hands that a cluster's workers are."""

    def __init__(self, cluster: Cluster, most: int) -> None:
        self._cluster, self._most = cluster, most
        self._runner: Any = None
        self._server: asyncio.Server | None = None
        self._ticket = secrets.token_bytes(TICKET_BYTES)
        self._certificate = ""
        self._arrived: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self._futures: list[Any] = []

    async def hire(self, count: int) -> Sequence[Recruit]:
        """Have the cluster place so many, and wait until they call."""
        if self._server is None:
            await self._open()
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        call = {
            "host": self._cluster.host,
            "port": port,
            "ticket": self._ticket.hex(),
            "certificate": self._certificate,
        }
        for _ in range(count):
            self._futures.append(await asyncio.to_thread(self._runner.submit, be_a_hand, call))
        async with asyncio.timeout(ARRIVAL_S):
            return [Recruit(*await self._arrived.get(), ThreadGrip()) for _ in range(count)]

    async def dismiss(self) -> None:
        """The tasks are over with their connections; a cluster of ours ends."""
        if self._server is not None:
            self._server.close()
        if self._runner is not None:
            with suppress(Exception):  # whatever a task or a cluster ended with, the epoch has what it needs
                await asyncio.to_thread(self._wait)
            await asyncio.to_thread(self._runner.__exit__, None, None, None)

    def _wait(self) -> None:
        for future in self._futures:
            future.wait(CALL_S)

    async def _open(self) -> None:
        runner = await asyncio.to_thread(runner_of, self._cluster, self._most)
        await asyncio.to_thread(runner.__enter__)
        self._runner = runner
        context, self._certificate = _identity()
        self._server = await asyncio.start_server(
            self._welcome, self._cluster.host, 0, ssl=context, limit=STREAM_BYTES
        )

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(CALL_S):
                shown = await reader.readexactly(TICKET_BYTES)
        except (TimeoutError, EOFError, OSError):
            shown = b""
        if hmac.compare_digest(shown, self._ticket):
            await self._arrived.put((reader, writer))
        else:
            writer.close()


@task(name=NAME, cache_policy=NO_CACHE, persist_result=False, log_prints=False)
def be_a_hand(host: str, port: int, ticket: str, certificate: str) -> None:
    """Be a hand of the flow at this address until it hangs up; wherever a task runner has placed this."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=certificate)
    with (
        socket.create_connection((host, port), HELLO_S) as plain,
        context.wrap_socket(plain, server_hostname=NAME) as sealed,
    ):
        sealed.sendall(bytes.fromhex(ticket))
        serve(sealed)


def runner_of(cluster: Cluster, most: int) -> Any:
    """The Prefect task runner that places hands; SettingError when it is not installed."""
    try:
        return _RUNNERS[cluster.engine](cluster, most)
    except ImportError as error:
        wanted = 'an engine that is installed: pip install "compute-subnet[scale]"'
        raise SettingError("SUBNET_CREW", f"{cluster.engine} ({error})", wanted) from error


def _dask(cluster: Cluster, most: int) -> Any:
    from prefect_dask.task_runners import DaskTaskRunner  # noqa: PLC0415  an extra, and seconds to import

    if cluster.address:
        return DaskTaskRunner(address=cluster.address)
    workers = {"n_workers": most, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    return DaskTaskRunner(cluster_kwargs=workers)


def _ray(cluster: Cluster, most: int) -> Any:
    from prefect_ray import RayTaskRunner  # noqa: PLC0415  an extra, and seconds to import

    if cluster.address:
        return RayTaskRunner(address=cluster.address)
    return RayTaskRunner(init_kwargs={"num_cpus": most, "include_dashboard": False})


_RUNNERS: dict[str, Callable[[Cluster, int], Any]] = {"dask": _dask, "ray": _ray}


def _identity() -> tuple[ssl.SSLContext, str]:
    """A certificate for this epoch alone: the server's context, and its text for whom it is shown to."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    shown = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        # OpenSSL reads them from a file only; the folder is ours alone, and gone with this line.
        path = Path(folder) / "identity.pem"
        path.touch(mode=0o600)
        path.write_bytes(secret + shown)
        context.load_cert_chain(path)
    return context, shown.decode()
