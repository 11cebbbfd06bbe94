"""An upgrade of the tables leaves running leases as they are."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from storage import database
from storage.database import head_revision, migrate, open_database, reading, writing
from storage.rental import Access, Pod, PodMount, PodPort, Published, RentalState, Terms
from storage.rentals import Rentals
from tests.tasks.renting.leases import NOON, rental

FIRST = "0012"
"""The tables with which leases ran for the first time."""
KEPT = {
    "lease_id": "l-1",
    "renter_id": "alice",
    "idempotency_key": "k-1",
    "wish": '{"executor_key":"","model":"","card_count":0,"min_vram_gib":0.0,"max_micro_usd_per_hour":0,'
    '"min_performance":0.0,"min_reliability":0.0,"region":"","mode":"on_demand","bid_micro_usd_per_hour":0,"hours":0}',
    "state": "active",
    "version": 7,
    "requested_at": "2026-08-01 12:00:00.000000",
    "moved_at": "2026-08-01 12:00:30.000000",
    "executor_key": "5Miner/a",
    "card_uuids": '["GPU-a","GPU-b"]',
    "micro_usd_per_hour": 2_000_000,
    "tried": '["5Miner/b"]',
    "active_at": "2026-08-01 12:00:30.000000",
    "party": "nobody",
    "reason": "",
    "pod": '{"image":"ubuntu","entrypoint":"","words":[],"ports":[{"inside":8080,"protocol":"tcp"}],'
    '"mounts":[{"volume":"data","at":"/data","is_kept":true}],"shm_bytes":67108864,"memory_bytes":0,"cpus":0.0,'
    '"runtime":"","template":"","public_keys":["ssh-ed25519 AAAA"],"environment":["TOKEN"]}',
    "terms": '{"ttl_s":7200,"cap_micro_usd":5000000,"idle_below_percent":0.0,"idle_for_s":0}',
    "sealed": b"sealed",
    "attempt": 2,
    "is_holding": 1,
    "access": '{"address":"203.0.113.7","ssh_port":40001,"ports":[{"inside":22,"outside":40001,"protocol":"tcp"}],'
    '"host_key":"ssh-ed25519 AAAA","image_digest":"sha256:12","container":"subnet-l-1-2"}',
    "paid_s": 90,
    "paid_from": "2026-08-01 12:00:30.000000",
    "end_party": "nobody",
    "end_reason": "",
}
"""A row as that version wrote it; nothing here follows later changes of the records."""


@pytest.fixture
def engine(tmp_path):
    """A database of the first version, with a lease that runs and holds two cards."""
    engine = open_database(f"sqlite:///{tmp_path}/subnet.db")
    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    with writing(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, FIRST)
        names = ", ".join(KEPT)
        values = ", ".join(f":{name}" for name in KEPT)
        connection.execute(sa.text(f"INSERT INTO rentals ({names}) VALUES ({values})"), KEPT)
        for card in ("GPU-a", "GPU-b"):
            connection.execute(
                sa.text(
                    "INSERT INTO held_cards (card_uuid, lease_id, executor_key) VALUES (:c, 'l-1', '5Miner/a')"
                ),
                {"c": card},
            )
    yield engine
    engine.dispose()


def test_newer_tables_have_the_running_lease_as_it_was(engine):
    """Every column, and the cards that it holds, from the first version with leases to this one."""
    migrate(engine)
    with reading(engine) as connection:
        row = connection.execute(sa.text("SELECT * FROM rentals")).mappings().one()
    lease = Rentals(engine).get("l-1")

    assert head_revision() > FIRST
    assert {name: row[name] for name in KEPT} == KEPT
    assert lease == rental(
        "l-1",
        renter="alice",
        key="k-1",
        state=RentalState.ACTIVE,
        version=7,
        moved_at=NOON + timedelta(seconds=30),
        executor_key="5Miner/a",
        card_uuids=("GPU-a", "GPU-b"),
        is_holding=True,
        micro_usd_per_hour=2_000_000,
        tried=("5Miner/b",),
        active_at=NOON + timedelta(seconds=30),
        paid_from=NOON + timedelta(seconds=30),
        paid_s=90,
        attempt=2,
        sealed=b"sealed",
        pod=Pod(
            "ubuntu",
            ports=(PodPort(8_080),),
            mounts=(PodMount("data", "/data"),),
            public_keys=("ssh-ed25519 AAAA",),
            environment=("TOKEN",),
        ),
        terms=Terms(ttl_s=7_200, cap_micro_usd=5_000_000),
        access=Access(
            "203.0.113.7",
            40_001,
            (Published(22, 40_001),),
            "ssh-ed25519 AAAA",
            "sha256:12",
            "subnet-l-1-2",
        ),
    )
    assert Rentals(engine).held() == {"GPU-a": "l-1", "GPU-b": "l-1"}
