"""Certificates for tests: what some miner's CA signs for a key."""

from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tasks.onboarding.confinement.certificates import Authority
from tasks.onboarding.confinement.grants import Grant

HOTKEY = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"


def certificate_of(
    key_line,
    *,
    executor_id="a",
    authority=None,
    begins_in_s=0,
    ends_in_s=300,
    now=None,
    lease_id="",
    **more,
):
    """The certificate of this key, whose issue and end may lie elsewhere than now and in five minutes."""
    authority = authority or Authority(Ed25519PrivateKey.generate())
    now = now or datetime.now(UTC)
    grant = Grant(key_line, HOTKEY, 7, now + timedelta(seconds=ends_in_s), lease_id)
    return authority.issue(grant, executor_id, now=now + timedelta(seconds=begins_in_s), **more)
