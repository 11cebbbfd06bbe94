"""Renters by hand, everything about them an argument."""

from dataclasses import replace
from datetime import timedelta

from storage.renter import ApiKey, Delivery, Renter, Scope, SshKey, Template, Webhook
from storage.webhooks import delivery_id
from tests.tasks.renting.leases import NOON

LATER = NOON + timedelta(hours=1)


def renter(name="alice", **changes):
    """A renter who may rent."""
    return replace(Renter(name, NOON), **changes)


def api_key(key_id="0123456789abcdef", renter_id="alice", **changes):
    """A key that may read."""
    return replace(ApiKey(key_id, renter_id, "laptop", b"d" * 32, (Scope.READ,), NOON), **changes)


def ssh_key(name="laptop", renter_id="alice", **changes):
    """A public key."""
    return replace(SshKey(renter_id, name, f"ssh-ed25519 AAAA {name}", f"SHA256:{name}", NOON), **changes)


def template(name="mine", renter_id="alice", **changes):
    """A template without secrets."""
    return replace(Template(renter_id, name, "", "{}", b"", NOON, NOON), **changes)


def webhook(webhook_id="w1", renter_id="alice", **changes):
    """A webhook that is told everything."""
    return replace(Webhook(webhook_id, renter_id, "https://a.example/", (), b"s", NOON, 0), **changes)


def delivery(sequence=1, webhook_id="w1", **changes):
    """A delivery that waits."""
    name = delivery_id(webhook_id, sequence)
    return replace(Delivery(name, webhook_id, "alice", "l-1", "ACTIVE", "{}", NOON, NOON), **changes)
