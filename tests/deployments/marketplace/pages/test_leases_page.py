"""A lease's page: its steps, its ways in, what it costs, and what can be asked of it by forms."""

import json

import pytest

from storage.rental import Certificate, Happening, Operation, OperationKind, OperationState
from storage.renter import Scope
from tasks.policy import RentingPolicy
from tasks.renting.moves import noted
from tasks.renting.preempting import give_notice
from tests.deployments.marketplace.pages.reading import read
from tests.deployments.marketplace.pages.visiting import signed_in
from tests.deployments.marketplace.world import OTHER_KEY, SSH_KEY, ask
from tests.tasks.renting.leases import NOON, after

HOSTILE = '<script>alert(1)</script>"\u202e'


@pytest.fixture
def lease(market):
    """An active lease of alice."""
    return market.active(market.client())


def told(market, lease, *happened):
    """What a flow tells of it."""
    now = market.stores.rentals.get(lease.lease_id)
    assert market.stores.rentals.move(now, noted(now, market.clock.at), happened)


def step(name, attempt, seconds=1.0, **facts):
    """A step as flows tell it."""
    return Happening(
        "STEP",
        facts.pop("why", ""),
        json.dumps({"name": name, "attempt": attempt, "seconds": seconds, **facts}),
    )


def test_it_says_how_it_is_reached_and_what_it_costs(market, lease):
    """As the API tells it: 1 USD an hour for 90 s are 0.025 USD."""
    market.clock.passes(90)
    page = read(signed_in(market).get(f"/leases/{lease.lease_id}"))

    assert "ssh -p 30022 root@203.0.113.7" in page.text
    assert "ssh-ed25519 AAAA" in page.text
    assert "cost so far, USD 0.0250" in page.text
    assert "since the hand-over 1 min 30 s" in page.text


def test_its_steps_are_shown_as_they_end(market, lease):
    """An open page asks for what has changed; a step that failed says why and whose fault it was; foreign text is text."""
    browser = signed_in(market)
    (region,) = read(browser.get(f"/leases/{lease.lease_id}")).all("div", id="now")
    known = {"If-None-Match": region["data-etag"]}
    assert browser.get(region["data-live"], headers=known).status_code == 304
    attempt = lease.attempt
    told(
        market,
        lease,
        step("clean", attempt, 0.5, state="done"),
        step("pull", attempt, why=HOSTILE, state="failed", party="machine"),
    )
    answer = browser.get(region["data-live"], headers=known)

    assert answer.status_code == 200
    assert "clean 0.5 s done" in read(answer).text
    assert "(machine)" in read(answer).text
    assert "<script>alert" not in answer.text
    assert "\u202e" not in answer.text


def test_another_renters_lease_is_not_there(market, lease):
    """Neither its page nor its forms."""
    browser = signed_in(market, "bob")

    for path in ("", "/now", "/certificate"):
        assert browser.get(f"/leases/{lease.lease_id}{path}").status_code == 404
    assert lease.lease_id not in browser.get("/leases").text


@pytest.mark.parametrize(("what", "kind"), [("stop", OperationKind.STOP), ("reboot", OperationKind.REBOOT)])
def test_an_operation_is_asked_once_for_each_press(market, lease, what, kind):
    """The same form again changes nothing."""
    browser = signed_in(market)
    page = browser.get(f"/leases/{lease.lease_id}")
    answers = [browser.submit(page, f"/leases/{lease.lease_id}/{what}") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [303, 303]
    assert [one.kind for one in market.stores.operations.of_lease(lease.lease_id)] == [kind]
    assert what in read(browser.get(f"/leases/{lease.lease_id}")).text


@pytest.mark.parametrize("name", ["", "a\0b", "a b", "ä", "x" * 300])
def test_a_press_that_has_lost_its_name_is_refused(market, lease, name):
    """By the rule of the API's Idempotency-Key; nothing is asked."""
    browser, at = signed_in(market), f"/leases/{lease.lease_id}"
    answer = browser.submit(browser.get(at), f"{at}/stop", idempotency_key=name)

    assert answer.status_code == 422
    assert "lost its name" in read(answer).text
    assert market.stores.operations.of_lease(lease.lease_id) == ()


def test_each_lease_has_presses_of_its_own(market):
    """The first operation of one lease is not that of another."""
    browser, client = signed_in(market), market.client()
    leases = [market.active(client, key=f"lease-{number}") for number in range(2)]
    for lease in leases:
        page = browser.get(f"/leases/{lease.lease_id}")
        assert browser.submit(page, f"/leases/{lease.lease_id}/stop").status_code == 303

    kept = [market.stores.operations.of_lease(lease.lease_id) for lease in leases]
    assert [[one.kind for one in each] for each in kept] == [[OperationKind.STOP]] * 2


def test_limits_are_changed(market, lease):
    """An empty field is no limit; one that does not fit is told at its place and nothing is changed."""
    browser, at = signed_in(market), f"/leases/{lease.lease_id}"
    page = browser.get(at)
    assert browser.submit(page, f"{at}/limits", ttl_h="2.5", cap="10").status_code == 303
    kept = market.stores.rentals.get(lease.lease_id).terms
    refused = browser.submit(page, f"{at}/limits", ttl_h="soon", cap="")

    assert (kept.ttl_s, kept.cap_micro_usd) == (9_000, 10_000_000)
    assert read(refused).fault("ttl_h") == "fault-ttl_h"
    assert market.stores.rentals.get(lease.lease_id).terms == kept
    browser.submit(page, f"{at}/limits", ttl_h="", cap="")
    assert market.stores.rentals.get(lease.lease_id).terms.ttl_s == 0


def test_keys_and_images_are_changed(market, lease):
    """By the API's own operations, with its refusals."""
    browser, at = signed_in(market), f"/leases/{lease.lease_id}"
    page = browser.get(at)
    assert browser.submit(page, f"{at}/keys", add=OTHER_KEY).status_code == 303
    assert browser.submit(page, f"{at}/replace", image="ubuntu:26.04", template="").status_code == 303
    wrong = [
        browser.submit(browser.get(at), f"{at}/keys", add="ssh-rsa x"),
        browser.submit(browser.get(at), f"{at}/replace", image="", template=""),
        browser.submit(browser.get(at), f"{at}/replace", image="UPPER", template=""),
    ]

    assert [answer.status_code for answer in wrong] == [422, 422, 422]
    kinds = {one.kind for one in market.stores.operations.of_lease(lease.lease_id)}
    assert kinds == {OperationKind.KEYS, OperationKind.REPLACE}


def test_it_is_ended_by_whoever_is_sure(market, lease):
    """And then it has no forms any more."""
    browser, at = signed_in(market), f"/leases/{lease.lease_id}"
    page = browser.get(at)
    unsure = browser.submit(page, f"{at}/end")
    assert (unsure.status_code, market.stores.rentals.get(lease.lease_id).end_asked_at) == (422, None)
    assert browser.submit(page, f"{at}/end", sure="yes").status_code == 303

    assert market.stores.rentals.get(lease.lease_id).end_asked_at == NOON
    assert "its end is asked for" in read(browser.get(at)).text


def test_who_may_only_read_has_no_forms(market, lease):
    """And is refused when it sends them."""
    browser = signed_in(market, "alice", Scope.READ)
    page = read(browser.get(f"/leases/{lease.lease_id}"))

    assert set(page.forms) == {"/sign-out"}
    assert browser.send(f"/leases/{lease.lease_id}/stop", {}).status_code == 403


def test_the_certificate_is_a_file(market, lease):
    """The very answer of the API."""
    made = Certificate(
        lease.lease_id, 1, "hand-over", NOON, lease.executor_key, "PROVED", lease.card_uuids, "{}", b"{}"
    )
    from storage.certificates import Certificates

    Certificates(market.market.engine).save(made)
    browser = signed_in(market)
    page = read(browser.get(f"/leases/{lease.lease_id}"))
    answer = browser.get(page.links(f"/leases/{lease.lease_id}/certificate")[0])

    assert "hand-over, PROVED, 2 cards" in page.text
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.json() == market.client().get(f"/v1/leases/{lease.lease_id}/certificate").json()


def test_leases_are_listed(market, lease):
    """Newest first, with what each costs."""
    market.clock.passes(60)
    newer = ask(market.client(), key="k-2").json()["lease_id"]
    page = read(signed_in(market).get("/leases"))

    assert page.links("/leases/lease") == [f"/leases/{newer}", f"/leases/{lease.lease_id}"]
    assert "requested" in page.text
    assert read(signed_in(market, "bob").get("/leases")).links("/leases/lease") == []


def test_what_happened_last_is_shown(market, lease):
    """The newest first: of a lease with many events, as one whose container goes up and down has them."""
    many = [Happening("RESTARTED", f"time {n}") for n in range(250)]
    told(market, lease, *many, *[step("pull", lease.attempt)] * 10)
    page = read(signed_in(market).get(f"/leases/{lease.lease_id}"))

    assert "time 249" in page.text
    assert "time 10 " not in page.text
    assert page.text.index("time 249") < page.text.index("time 248")


def test_a_spot_lease_that_gives_way_says_so_before_all_else(market):
    """On its page and in the list: until when and why, in an alert that is told once; the time left counts down beside it."""
    lease = market.active(market.client(), wish={"mode": "spot", "bid_micro_usd_per_hour": 5_000_000})
    browser, at = signed_in(market), f"/leases/{lease.lease_id}"
    (region,) = read(browser.get(at)).all("div", id="notice")
    known = {"If-None-Match": region["data-etag"]}
    assert browser.get(region["data-live"], headers=known).status_code == 304
    give_notice(market.stores.rentals, lease, market.clock.at, RentingPolicy(), HOSTILE)
    market.clock.passes(30)
    told_now = browser.get(region["data-live"], headers=known)
    page, seen = read(browser.get(at)), read(browser.get("/leases"))

    assert read(told_now).all("p", role="alert")
    assert "It is ended at 2026-08-01 12:02:00 UTC" in read(told_now).text
    assert "<script>alert" not in told_now.text
    assert "1 min 30 s left" in page.text
    assert "taken away in 1 min 30 s" in seen.text
    assert seen.all("p", role="alert")
    market.clock.passes(30)
    same = {"If-None-Match": told_now.headers["etag"]}
    assert browser.get(region["data-live"], headers=same).status_code == 304


def test_what_is_left_of_it_is_told(market):
    """Its time, its cap, and the balance for whoever may look at it: 1 USD/h, 2 h, 1.50 USD of which 0.50 are used."""
    lease = market.active(market.client(), terms={"ttl_s": 7_200, "cap_micro_usd": 1_500_000})
    market.clock.passes(1_800)
    at = f"/leases/{lease.lease_id}"
    page, looker = read(signed_in(market).get(at)), read(signed_in(market, "alice", Scope.READ).get(at))

    assert "goes on for 1 h left of its cap, USD 1.00" in page.text
    assert "13:30:00 UTC, in 1 h: its cap is reached" in page.text
    assert "14:00:00 UTC, in 1 h 30 min: its time is over" in page.text
    assert "your balance, USD 99.50" in page.text
    assert "balance" not in looker.text


def test_all_limits_are_changed_by_one_form(market, lease):
    """An end and idle limits too; a form that is refused for another's sake leaves them as they stand."""
    browser, at = signed_in(market), f"/leases/{lease.lease_id}"
    form = {"ttl_h": "", "cap": "", "until": "2026-08-01T18:30", "idle_percent": "2.5", "idle_min": "20"}
    assert browser.submit(browser.get(at), f"{at}/limits", **form).status_code == 303
    kept = market.stores.rentals.get(lease.lease_id)
    past = browser.submit(browser.get(at), f"{at}/limits", **form | {"until": "2026-08-01T11:00"})
    other = read(browser.submit(browser.get(at), f"{at}/keys", add="ssh-rsa x"))

    assert kept.ends_by == after(23_400)
    assert (kept.terms.idle_below_percent, kept.terms.idle_for_s) == (2.5, 1_200)
    assert read(past).fault("until") == "fault-until"
    assert other.all("input", name="until")[0]["value"] == "2026-08-01T18:30:00"
    assert other.all("input", name="idle_min")[0]["value"] == "20"
    assert market.stores.rentals.get(lease.lease_id).ends_by == after(23_400)


def test_keys_are_taken_out_and_let_in_by_name(market):
    """Those that are in it stand there, and those of the account that are not."""
    client = market.client()
    client.post("/v1/ssh-keys", {"name": "laptop", "public_line": SSH_KEY})
    lease = market.active(client)
    client.post("/v1/ssh-keys", {"name": "desk", "public_line": OTHER_KEY})
    browser, at = signed_in(market), f"/leases/{lease.lease_id}"
    page = browser.get(at)
    (present,) = read(page).all("input", name="remove")
    (other,) = read(page).all("input", name="add_named")
    sent = browser.submit(page, f"{at}/keys", remove=present["value"], add_named=other["value"], add="")
    (asked,) = market.stores.operations.of_lease(lease.lease_id)

    assert sent.status_code == 303
    assert other["value"] == "desk"
    assert json.loads(asked.arguments) == {"add": [OTHER_KEY], "remove": [SSH_KEY]}


def test_ticks_stay_where_the_change_of_keys_is_refused(market):
    """Whoever mistyped a key does not choose the others again."""
    client = market.client()
    client.post("/v1/ssh-keys", {"name": "laptop", "public_line": SSH_KEY})
    lease = market.active(client)
    client.post("/v1/ssh-keys", {"name": "desk", "public_line": OTHER_KEY})
    browser, at = signed_in(market), f"/leases/{lease.lease_id}"
    page = browser.get(at)
    (present,) = read(page).all("input", name="remove")
    refused = browser.submit(page, f"{at}/keys", remove=present["value"], add_named="desk", add="ssh-rsa x")

    assert refused.status_code == 422
    assert all("checked" in read(refused).all("input", name=name)[0] for name in ("remove", "add_named"))


def test_a_long_time_is_shown_as_the_form_takes_it(market):
    """5,000,001 s are 1388.889167 h: what nobody touched is no fault."""
    lease = market.active(market.client(), terms={"ttl_s": 5_000_001})
    browser, at = signed_in(market), f"/leases/{lease.lease_id}"
    page = browser.get(at)
    (field,) = read(page).all("input", name="ttl_h")
    sent = browser.submit(page, f"{at}/limits", ttl_h=field["value"], cap="9")

    assert sent.status_code == 303
    assert market.stores.rentals.get(lease.lease_id).terms.ttl_s == 5_000_001


def test_another_image_can_have_its_own_command_and_login(market, lease):
    """What is secret is sealed, and not shown again where the form is refused."""
    browser, at = signed_in(market), f"/leases/{lease.lease_id}"
    form = {
        "image": "me/private:2",
        "template": "",
        "entrypoint": "/bin/sh",
        "words": "-c 'sleep 9'",
        "environment": "A=secret",
        "registry_user": "me",
        "registry_password": "s3cret",
    }
    refused = browser.submit(browser.get(at), f"{at}/replace", **form | {"words": "'"})
    assert browser.submit(browser.get(at), f"{at}/replace", **form).status_code == 303
    (asked,) = market.stores.operations.of_lease(lease.lease_id)
    told, values = json.loads(asked.arguments), market.market.sealer.open(asked.operation_id, asked.sealed)

    assert read(refused).fault("words") == "fault-words"
    assert "s3cret" not in refused.text
    assert (told["entrypoint"], told["words"], told["environment"]) == ("/bin/sh", ["-c", "sleep 9"], ["A"])
    assert values["environment"] == {"A": "secret"}
    assert values["registry"]["password"] == "s3cret"


def test_the_list_follows_what_happens(market, lease):
    """The table as often as something changes; what is taken away once, apart from it."""
    browser = signed_in(market)
    page = read(browser.get("/leases"))
    regions = [page.all("div", id=name)[0] for name in ("going", "list")]
    known = [{"If-None-Match": region["data-etag"]} for region in regions]
    paths = [region["data-live"] for region in regions]
    same = [browser.get(path, headers=one).status_code for path, one in zip(paths, known, strict=True)]
    market.clock.passes(60)
    later = [browser.get(path, headers=one).status_code for path, one in zip(paths, known, strict=True)]

    assert (same, later) == ([304, 304], [304, 200])
    assert lease.lease_id in browser.get("/leases/now").text


def test_a_press_counts_however_many_came_before(market, lease):
    """The page shows twenty operations; one more is one more."""
    browser, at, stores = signed_in(market), f"/leases/{lease.lease_id}", market.stores
    for n in range(25):
        market.clock.passes(1)
        past = Operation(
            f"op-{n}", lease.lease_id, f"k-{n}", OperationKind.KEYS, OperationState.DONE, market.clock.at
        )
        stores.operations.request(lease, past)
    for _ in range(2):
        market.clock.passes(1)
        browser.submit(browser.get(at), f"{at}/reboot")

    assert len(stores.operations.of_lease(lease.lease_id)) == 27
