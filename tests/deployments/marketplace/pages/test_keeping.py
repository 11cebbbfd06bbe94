"""Volumes and backups on pages: made, copied, written back, fetched and given up, each by who may and is sure."""

import json
from dataclasses import replace

import pytest

from storage.rental import Backup, OperationKind, OperationState, VolumeState
from storage.renter import Scope
from tests.deployments.marketplace.pages.reading import read
from tests.deployments.marketplace.pages.visiting import signed_in
from tests.deployments.marketplace.world import world
from tests.tasks.renting.leases import NOON

HOSTILE = "path:/<script>alert(1)</script>"


@pytest.fixture
def market(tmp_path):
    """A marketplace that keeps backups here."""
    (tmp_path / "backups").mkdir()
    with world(tmp_path, backups=tmp_path / "backups") as made:
        yield made


@pytest.fixture
def lease(market):
    """An active lease of alice with a volume."""
    mounts = [{"volume": "data", "at": "/data"}]
    return market.active(market.client(), pod={"image": "ubuntu:24.04", "mounts": mounts})


def kept(market, lease, name="backup-1", source="volume:data", state="kept"):
    """A backup with its file."""
    made = Backup(name, lease.lease_id, "alice", source, NOON, 4, "ab" * 32, state)
    market.stores.backups.save(made)
    (market.market.backups / f"{name}.tar").write_bytes(b"tar!")
    return made


def asked(market, lease):
    """What was asked of the lease: (kind, arguments), newest first."""
    return [
        (one.kind, json.loads(one.arguments)) for one in market.stores.operations.of_lease(lease.lease_id)
    ]


def test_a_volume_or_a_folder_is_copied_once_for_each_press(market, lease):
    """The page shows how far it is without being loaded again."""
    browser, at = signed_in(market), f"/leases/{lease.lease_id}/backups"
    page = browser.get(at)
    (region,) = read(page).all("div", id="copies")
    known = {"If-None-Match": region["data-etag"]}
    assert browser.get(region["data-live"], headers=known).status_code == 304
    sent = [browser.submit(page, at, source="data", path="").status_code for _ in range(2)]
    browser.submit(browser.get(at), at, source="", path="/root/x")
    answer = browser.get(region["data-live"], headers=known)

    assert sent == [303, 303]
    assert {kind for kind, _ in asked(market, lease)} == {OperationKind.BACKUP}
    assert sorted(told["source"] for _, told in asked(market, lease)) == ["path:/root/x", "volume:data"]
    assert "backup of volume:data, asked" in read(answer).text


def test_a_form_that_has_lost_its_name_copies_nothing(market, lease):
    """By the rule of the API's Idempotency-Key."""
    browser, at = signed_in(market), f"/leases/{lease.lease_id}/backups"
    answer = browser.submit(browser.get(at), at, source="data", path="", idempotency_key="a\0b")

    assert answer.status_code == 422
    assert "lost its name" in read(answer).text
    assert asked(market, lease) == []


def test_a_copy_that_failed_says_why(market, lease):
    """With its reason as text."""
    browser, at = signed_in(market), f"/leases/{lease.lease_id}/backups"
    browser.submit(browser.get(at), at, source="data", path="")
    (one,) = market.stores.operations.of_lease(lease.lease_id)
    failed = replace(one, state=OperationState.FAILED, begun_at=NOON, ended_at=NOON, reason=HOSTILE)
    assert market.stores.operations.move(lease, one, failed)
    answer = browser.get(at)

    assert f"failed after 0 s: {HOSTILE}" in read(answer).text
    assert "<script>alert" not in answer.text


def test_a_backup_is_written_back_by_whoever_is_sure(market, lease):
    """To where it came from or elsewhere; a link from the list chooses it."""
    kept(market, lease)
    kept(market, lease, "backup-2", "path:/x")
    browser, at = signed_in(market), f"/leases/{lease.lease_id}"
    page = browser.get(f"{at}/backups?backup=backup-2")
    form = {"backup": "backup-2", "target": "data", "to_path": ""}
    chosen = [found["value"] for found in read(page).all("option", selected=None) if "selected" in found]
    unsure = browser.submit(page, f"{at}/restore", **form)
    assert (unsure.status_code, asked(market, lease)) == (422, [])
    sure = browser.submit(page, f"{at}/restore", sure="yes", **form)

    assert "backup-2" in chosen
    assert sure.headers["location"] == f"{at}/backups"
    assert asked(market, lease) == [
        (OperationKind.RESTORE, {"backup_id": "backup-2", "target": "volume:data"})
    ]


@pytest.mark.parametrize(
    ("what", "fields", "field"),
    [
        ("backups", {"source": "", "path": ""}, "source"),
        ("backups", {"source": "data", "path": "/x"}, "source"),
        ("backups", {"source": "none-such", "path": ""}, "source"),
        ("backups", {"source": "", "path": "x"}, "path"),
        ("restore", {"backup": "backup-none", "sure": "yes"}, "backup"),
        ("restore", {"backup": "", "sure": "yes"}, "backup"),
        ("restore", {"backup": "backup-w", "sure": "yes"}, "backup"),
        ("restore", {"backup": "backup-1", "sure": "yes", "target": "data", "to_path": "/x"}, "target"),
        ("restore", {"backup": "backup-1", "sure": "yes", "to_path": "x"}, "to_path"),
    ],
)
def test_what_does_not_fit_is_told_at_its_field(market, lease, what, fields, field):
    """And nothing is asked for."""
    kept(market, lease)
    kept(market, lease, "backup-w", state="writing")
    browser, at = signed_in(market), f"/leases/{lease.lease_id}"
    answer = browser.submit(browser.get(f"{at}/backups"), f"{at}/{what}", **fields)

    assert answer.status_code == 422
    assert f"fault-{field}" in [found.get("id") for found in read(answer).all("span")]
    assert asked(market, lease) == []


def test_volumes_are_kept_and_wiped(market, lease):
    """One that a lease has mounted stays; a name is told at its field when it is none."""
    browser = signed_in(market)
    page = browser.get("/volumes")
    assert browser.submit(page, "/volumes", name="old").status_code == 303
    wrong = browser.submit(page, "/volumes", name="Old!")
    unsure = browser.submit(page, "/volumes/wipe", wipe="old")
    market.stores.volumes.attach("alice", "data", lease.lease_id, lease.executor_key)
    busy = browser.submit(page, "/volumes/wipe", wipe="data", wipe_sure="yes")
    assert browser.submit(page, "/volumes/wipe", wipe="old", wipe_sure="yes").status_code == 303

    assert read(wrong).fault("name") == "fault-name"
    assert read(unsure).fault("wipe_sure") == "fault-wipe_sure"
    assert "has the volume" in read(busy).text
    assert market.stores.volumes.get("alice", "old").state is VolumeState.DOOMED
    assert "is being wiped" in read(browser.get("/volumes/now")).text


def test_a_backup_is_fetched_and_deleted(market, lease):
    """The very file; then neither row nor file are there."""
    kept(market, lease, source=HOSTILE)
    browser = signed_in(market)
    page = browser.get("/volumes")
    (link,) = read(page).links("/backups/")
    fetched = browser.get(link)
    unsure = browser.submit(page, "/backups/forget", forget="backup-1")
    assert (unsure.status_code, len(market.stores.backups.of_renter("alice"))) == (422, 1)
    assert browser.submit(page, "/backups/forget", forget="backup-1", forget_sure="yes").status_code == 303

    assert "<script>alert" not in page.text
    assert fetched.content == b"tar!"
    assert fetched.headers["content-disposition"].startswith("attachment")
    assert market.stores.backups.of_renter("alice") == ()
    assert list(market.market.backups.iterdir()) == []
    assert browser.get(link).status_code == 404


def test_what_is_kept_is_its_renters_alone(market, lease):
    """Another sees and gets nothing; who may only read has no forms and fetches nothing."""
    kept(market, lease)
    stranger, looker = signed_in(market, "bob"), signed_in(market, "alice", Scope.READ)
    page = stranger.get("/volumes")

    assert "volume:data" not in page.text
    assert stranger.get("/backups/backup-1/content").status_code == 404
    assert stranger.get(f"/leases/{lease.lease_id}/backups").status_code == 404
    assert stranger.submit(page, "/backups/forget", forget="backup-1", forget_sure="yes").status_code == 422
    assert looker.get("/backups/backup-1/content").status_code == 403
    assert set(read(looker.get("/volumes")).forms) == {"/sign-out"}
    assert set(read(looker.get(f"/leases/{lease.lease_id}/backups")).forms) == {"/sign-out"}
    assert looker.send("/volumes", {"name": "x"}).status_code == 403
    assert len(market.stores.backups.of_renter("alice")) == 1
