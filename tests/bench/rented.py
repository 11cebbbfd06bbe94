"""From a request at the API to a login in the container, on a whole local system, beside the engine's bare run of the same one."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from deployments.localnet.engine import PLAIN_IMAGE
from deployments.localnet.engine_place import place_of
from tasks.edges.toolbox import HostKey
from tasks.renting.containers import TOOLBOX_AT
from tests.bench.rows import Group, Row
from tests.local_systems import LocalSystem, local_system, wait_until

RUNS = 12
LEASE_S = 60.0
NAMES = ("rent_to_ssh_p50", "rent_to_ssh_p95", "rent_proof_p50")


@dataclass(frozen=True)
class Taken:
    """One lease: seconds from the request to the login, and those of its proof."""

    total_s: float
    proof_s: float


def _rented() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name, local_system(Path(name)) as system:
        place, token = system.place, _token(system)
        key = _key(place)
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=system.market, headers=headers, trust_env=False, timeout=30) as client:
            taken = [_rent_once(client, key) for _ in range(RUNS + 1)][1:]
            toolbox = _toolbox(place, client, key)
        bare = [_bare_once(place, toolbox, key) for _ in range(RUNS + 1)][1:]
    ours, floor = [one.total_s - one.proof_s for one in taken], statistics.median(bare)
    proofs = [one.proof_s for one in taken]
    note = (
        "request at the API to a login in the container, image cached, without the proof of its card; floor: bare run "
        f"of that container and the wait for its SSH, median {floor:.2f} s; over it by "
    )
    p50, p95 = statistics.median(ours), statistics.quantiles(ours, n=20)[-1]
    yield Row("rent_to_ssh_p50", p50, "s wall", floor, RUNS, f"{note}{p50 - floor:.2f} s")
    yield Row("rent_to_ssh_p95", p95, "s wall", floor, RUNS, f"{note}{p95 - floor:.2f} s")
    yield Row(
        "rent_proof_p50",
        statistics.median(proofs),
        "s wall",
        None,
        RUNS,
        "the full proof of one simulated card at the hand-over, its session and prover's start included",
    )


def _token(system: LocalSystem) -> str:
    added = system.typed("market", "renter", "add", "bench")
    system.typed("market", "credit", "bench", "1000", "--reason", "bench")
    return added.split()[-1]


def _key(place: Path) -> Path:
    """A renter's key pair, as OpenSSH keeps it."""
    key = Ed25519PrivateKey.generate()
    path = place / "bench-key"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    path.with_suffix(".pub").write_bytes(line + b"\n")
    return path


def _rent_once(client: httpx.Client, key: Path) -> Taken:
    """A lease from its request to its end."""
    began = time.perf_counter()
    lease_id = _ask(client, key)
    lease = _await(client, lease_id, {"active", "failed"})
    assert lease["state"] == "active", lease["reason"]
    _log_in(key, lease["access"]["address"], lease["access"]["ssh_port"])
    total_s = time.perf_counter() - began
    (proof_s,) = (step["seconds"] for step in lease["steps"] if step["name"] == "prove")
    _end(client, lease_id)
    return Taken(total_s, proof_s)


def _ask(client: httpx.Client, key: Path) -> str:
    pod = {"image": PLAIN_IMAGE, "public_keys": [key.with_suffix(".pub").read_text().strip()]}
    body = {"wish": {"card_count": 1}, "pod": pod}
    answer = client.post("/v1/leases", json=body, headers={"Idempotency-Key": uuid.uuid4().hex})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["lease_id"])


def _end(client: httpx.Client, lease_id: str) -> None:
    client.delete(f"/v1/leases/{lease_id}").raise_for_status()
    _await(client, lease_id, {"ended"})


def _await(client: httpx.Client, lease_id: str, states: set[str]) -> dict:
    """The lease in one of these states; it is looked at whenever the market tells of it, and not otherwise."""
    address, end = f"/v1/leases/{lease_id}/events?follow=true", time.monotonic() + LEASE_S
    with client.stream("GET", address) as feed:
        for line in feed.iter_lines():
            if time.monotonic() > end:
                break
            if not line.startswith("data:"):
                continue
            found: dict = client.get(f"/v1/leases/{lease_id}").raise_for_status().json()
            if found["state"] in states:
                return found
    raise TimeoutError(f"{lease_id} is in none of {sorted(states)} within {LEASE_S:g} s")


def _toolbox(place: Path, client: httpx.Client, key: Path) -> str:
    """The folder that a lease's container has its SSH server from."""
    lease_id = _ask(client, key)
    lease = _await(client, lease_id, {"active"})
    template = (
        f'{{{{range .Mounts}}}}{{{{if eq .Destination "{TOOLBOX_AT}"}}}}{{{{.Source}}}}{{{{end}}}}{{{{end}}}}'
    )
    containers = _docker(place, "ps", "--quiet", f"--filter=name={lease['lease_id']}").split()
    source = _docker(place, "inspect", "--format", template, *containers).strip()
    _end(client, lease_id)
    return source


def _bare_once(place: Path, toolbox: str, key: Path) -> float:
    """Seconds of the least that has to be done: run it, wait for its SSH server, log in."""
    with tempfile.TemporaryDirectory() as name, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        folder = Path(name)
        (folder / "ssh").mkdir(mode=0o700)
        (folder / "subnet").mkdir(mode=0o700)
        for path, content in (
            (folder / "ssh" / "authorized_keys", key.with_suffix(".pub").read_bytes()),
            (folder / "subnet" / "host_key", HostKey.generate().file),
        ):
            path.write_bytes(content)
            path.chmod(0o600)
        began = time.perf_counter()
        container = _docker(
            place,
            "run",
            "--detach",
            "--init",
            f"--publish=127.0.0.1:{port}:22",
            f"--mount=type=bind,source={toolbox},target={TOOLBOX_AT},readonly",
            f"--mount=type=bind,source={folder}/ssh,target=/root/.ssh",
            f"--mount=type=bind,source={folder}/subnet,target=/etc/subnet",
            f"--entrypoint={TOOLBOX_AT}/busybox",
            PLAIN_IMAGE,
            "sh",
            f"{TOOLBOX_AT}/init",
            "sleep",
            "infinity",
        ).strip()
        try:
            _log_in(key, "127.0.0.1", port)
            return time.perf_counter() - began
        finally:
            _docker(place, "rm", "--force", container)


def _docker(place: Path, *words: str) -> str:
    command = ["docker", "--host", place_of(place / "localnet").host, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _log_in(key: Path, address: str, port: int) -> None:
    """Until a login runs a command."""
    command = ["ssh", "-i", str(key), "-p", str(port), "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]
    command += [
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        f"root@{address}",
        "true",
    ]
    wait_until(lambda: subprocess.run(command, capture_output=True, check=False).returncode == 0, LEASE_S)


GROUPS = (Group(NAMES, _rented),)
