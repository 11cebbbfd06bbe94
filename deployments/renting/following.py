"""Waiting for what was asked: a lease on its way, an operation at work. The market is asked often first, then seldom."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from deployments.renting.client import Client
from deployments.renting.wire import Document, Lease, part, text
from tasks.errors import LeaseFailed, OperationFailed

OVER = frozenset({"done", "failed"})


def pauses_s() -> Iterator[float]:
    """Seconds between two looks: 15 quick ones for what takes a moment, then one every half second, every second."""
    yield from [0.2] * 15
    yield from [0.5] * 60
    while True:
        yield 1.0


def until_ready(client: Client, lease: Lease, show: Callable[[Lease], None]) -> Lease:
    """The lease when it is handed over; LeaseFailed when it never will be."""
    pauses = pauses_s()
    show(lease)
    while lease.state not in {"active", "stopped"}:
        if lease.is_closed or lease.state == "ending":
            raise LeaseFailed(lease.lease_id, lease.state, lease.party, lease.reason)
        client.sleep(next(pauses))
        lease = Lease.of(client.get(f"/v1/leases/{lease.lease_id}"))
        show(lease)
    return lease


def until_closed(client: Client, lease: Lease, deadline_s: float) -> Lease:
    """The lease when nothing of it is left, or as it stands at the deadline."""
    pauses, end = pauses_s(), client.monotonic() + deadline_s
    while not lease.is_closed and client.monotonic() < end:
        client.sleep(next(pauses))
        lease = Lease.of(client.get(f"/v1/leases/{lease.lease_id}"))
    return lease


def until_done(client: Client, operation: Document) -> Document:
    """The operation when it is done; OperationFailed when it could not be."""
    pauses = pauses_s()
    lease_id, operation_id = text(operation, "lease_id"), text(operation, "operation_id")
    while text(operation, "state") not in OVER:
        client.sleep(next(pauses))
        operation = client.get(f"/v1/leases/{lease_id}/operations/{operation_id}")
    if text(operation, "state") == "failed":
        kind, reason = text(operation, "kind"), text(operation, "reason", 1000)
        raise OperationFailed(lease_id, kind, text(operation, "party") or "nobody", reason)
    return operation


def result_of(operation: Document) -> Document:
    """What an operation came to."""
    return part(operation, "result")
