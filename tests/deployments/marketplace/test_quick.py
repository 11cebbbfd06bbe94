"""Offers from memory: the same answer as the usual way, for keys that were looked at just now."""

from datetime import timedelta

import pytest

from deployments.marketplace.buckets import Rate
from deployments.marketplace.catalogue import FRESH_S, STALE_S
from deployments.marketplace.market import Limits
from deployments.marketplace.quick import KEY_S
from storage.renter import Scope
from tests.deployments.marketplace.test_leases import code
from tests.deployments.marketplace.world import World, world
from tests.tasks.renting.leases import NOON

PATH = "/v1/offers?sort=price"


class Counting(World):
    """Counts how often the database is asked for a key."""

    def __post_init__(self):
        super().__post_init__()
        renters, self.looks = self.app_desk.stores.renters, 0
        key_of = renters.key

        def key(key_id):
            self.looks += 1
            return key_of(key_id)

        renters.key = key

    @property
    def app_desk(self):
        """The desk that the app itself works with."""
        return self.app._desk


@pytest.fixture
def counting(tmp_path):
    """A marketplace that tells how often it looked a key up."""
    with world(tmp_path) as made:
        yield Counting(made.market, made.clock, made.console, made.starter, made.machines)


def test_the_second_who_asks_is_answered_from_memory(counting):
    """With the same page, and without a look into the database."""
    client = counting.client()
    first, second = client.get(PATH), client.get(PATH)

    assert counting.looks == 1
    assert second.content == first.content
    left = [int(answer.headers.pop("ratelimit-remaining")) for answer in (first, second)]
    assert left[0] - left[1] == 1
    assert dict(second.headers) == dict(first.headers)
    assert client.get(PATH, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    assert client.get(PATH, headers={"Accept-Encoding": "gzip"}).json() == first.json()
    assert counting.looks == 1


def test_another_question_goes_the_usual_way(counting):
    """Nothing is answered that nobody has looked at: not even nonsense."""
    client = counting.client()
    client.get(PATH)

    assert client.get("/v1/offers?sort=reliability").status_code == 200
    assert code(client.get("/v1/offers?sort=beauty")) == (422, "DOES_NOT_FIT")
    assert client.post(PATH).status_code == 405


def test_a_key_is_looked_at_again_after_a_second(counting):
    """So a key that an operator has revoked reads offers for no longer; one that was revoked here, not at all."""
    client, other = counting.client(), counting.client()
    key_id = client.get("/v1/me").json()["key_id"]
    client.get(PATH)
    counting.stores.renters.revoke_key("alice", key_id, counting.clock.at)
    assert client.get(PATH).status_code == 200
    counting.clock.passes(KEY_S + 0.01)
    assert code(client.get(PATH)) == (401, "KEY_ENDED")

    revoked = counting.client()
    revoked.get(PATH)
    other.delete(f"/v1/api-keys/{revoked.get('/v1/me').json()['key_id']}")
    assert code(revoked.get(PATH)) == (401, "KEY_ENDED")


def test_an_expired_key_reads_nothing(counting):
    """To the moment."""
    client = counting.client(token=counting.key("alice", expires_at=NOON + timedelta(seconds=0.5)))
    assert client.get(PATH).status_code == 200
    counting.clock.passes(0.5)

    assert code(client.get(PATH)) == (401, "KEY_ENDED")


def test_a_key_without_the_scope_learns_nothing(counting):
    """It is refused each time."""
    client = counting.client("alice", Scope.MONEY)

    assert [code(client.get(PATH))[1] for _ in range(2)] == ["SCOPE_MISSING"] * 2
    assert code(counting.stranger().get(PATH)) == (401, "NO_KEY")


def test_what_is_answered_from_memory_is_counted(tmp_path):
    """The key's rate holds for it as for everything else."""
    with world(tmp_path, limits=Limits(per_key=Rate(1, 3))) as market:
        client = market.client()
        statuses = [client.get(PATH).status_code for _ in range(4)]

    assert statuses == [200, 200, 200, 429]


def test_old_offers_are_sent_while_new_ones_are_read(counting):
    """For two seconds at most; then one waits for them."""
    client = counting.client()
    client.get(PATH)
    catalogue = counting.app_desk.catalogue
    counting.clock.passes(FRESH_S + 0.01)
    assert (catalogue.fresh, catalogue.usable is None) == (None, False)
    client.get(PATH)  # and has them read
    assert catalogue.fresh is not None
    counting.clock.passes(STALE_S + 0.01)

    assert catalogue.usable is None
    assert client.get(PATH).status_code == 200
