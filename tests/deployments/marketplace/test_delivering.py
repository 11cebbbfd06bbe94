"""Webhooks: signed, pinned to a public address, tried again, given up, disabled."""

import asyncio
import hmac
import json
import threading
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.marketplace import delivering
from deployments.marketplace.delivering import (
    AddressRefused,
    HttpPost,
    Sender,
    after_attempt,
    choose,
    deliver_due,
    is_public,
    keep_house,
    put_out,
    signature,
)
from storage.renter import DeliveryState
from tests.deployments.marketplace.serving import served
from tests.deployments.marketplace.test_leases import code
from tests.deployments.marketplace.world import ask, world
from tests.tasks.renting.leases import NOON
from tests.tasks.renting.renters import delivery

PUBLIC = "https://hooks.example.com/a"


class Network:
    """Names that lead somewhere, and an address that answers as it was told to."""

    def __init__(self, *statuses, addresses=("203.0.112.1",)):
        self.statuses, self.addresses, self.sent = list(statuses), list(addresses), []

    async def resolve(self, host, port):
        """The addresses."""
        del host, port
        return self.addresses

    async def post(self, url, address, headers, body):
        """The next status, or the next error."""
        self.sent.append((url, address, headers, body))
        status = self.statuses.pop(0) if self.statuses else 200
        if isinstance(status, Exception):
            raise status
        return status

    def sender(self):
        """Without jitter."""
        return Sender(self.resolve, self.post, jitter=lambda: 1.0)


def hook(client, url=PUBLIC, **more):
    """A webhook of the client, with its secret."""
    answer = client.post("/v1/webhooks", {"url": url, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


def run(market, network):
    """One round: what happened is put out, what is due is sent."""

    async def once():
        await put_out(market.desk)
        return await deliver_due(market.desk, network.sender())

    return asyncio.run(once())


def test_what_happens_is_told_and_signed(market):
    """The event as the feeds have it; whoever has the secret can tell that it is ours, and how old it is."""
    client, network = market.client(), Network()
    made = hook(client)
    lease = ask(client).json()
    assert run(market, network) == 1
    (url, address, headers, body) = network.sent[0]
    event = json.loads(body)
    signed = f"{headers['Webhook-Timestamp']}.".encode() + body

    assert (url, address) == (PUBLIC, "203.0.112.1")
    assert (event["kind"], event["lease_id"]) == ("REQUESTED", lease["lease_id"])
    expected = hmac.new(made["secret"].encode(), signed, sha256).hexdigest()
    assert headers["Webhook-Signature"] == f"v1={expected}"
    assert headers["Webhook-Timestamp"] == str(int(NOON.timestamp()))
    assert headers["Webhook-Id"].startswith(made["webhook_id"])


def test_each_event_is_told_once_and_to_its_renter_alone(market):
    """Only from the webhook's making on, and only of the kinds that were asked for."""
    alice, network = market.client(), Network()
    ask(alice, key="before")
    hook(alice, kinds=["ENDED"])
    hook(market.client("bob"))
    ask(alice, key="after")

    assert run(market, network) == 0
    hook(alice, url=PUBLIC + "/all")
    ask(alice, key="later")
    assert [run(market, network), run(market, network)] == [1, 0]


def test_what_is_not_taken_is_tried_again_later_and_later(market):
    """10 s, 20 s, 40 s after each; the same name at each attempt, and what came of it is listed."""
    client, network = market.client(), Network(500, httpx.ConnectError("down"), 204)
    webhook_id = hook(client)["webhook_id"]
    ask(client)
    waits = []
    for _ in range(3):
        assert run(market, network) == 1
        (listed,) = client.get(f"/v1/webhooks/{webhook_id}/deliveries").json()["items"]
        waits.append((listed["state"], listed["attempts"], listed["http_status"], listed["fault"][:13]))
        assert run(market, network) == 0
        market.clock.passes(10 * 2 ** len(waits) / 2)

    assert waits == [
        ("waiting", 1, 500, "it answered 5"),
        ("waiting", 2, None, "no answer: Co"),
        ("delivered", 3, 204, ""),
    ]
    assert len({headers["Webhook-Id"] for _, _, headers, _ in network.sent}) == 1
    assert client.get(f"/v1/webhooks/{webhook_id}").json()["failing_since"] is None


def test_an_address_that_breaks_our_code_is_its_renters_alone(market):
    """A name that can't even be looked up is a fault like any other: it is tried again, and the next webhook is told."""

    class Broken(Network):
        async def resolve(self, host, port):
            if host.startswith("long"):
                raise UnicodeError("label too long")
            return await super().resolve(host, port)

    alice, network = market.client(), Broken()
    broken = hook(alice, url="https://long.example.com/")["webhook_id"]
    hook(alice)
    ask(alice)

    assert run(market, network) == 2
    assert [url for url, *_ in network.sent] == [PUBLIC]
    [told] = alice.get(f"/v1/webhooks/{broken}/deliveries").json()["items"]
    assert (told["state"], told["attempts"], told["fault"]) == (
        "waiting",
        1,
        "it can't be told: UnicodeError",
    )


def test_a_redirect_is_no_taking(market):
    """It is not followed either."""
    client, network = market.client(), Network(302)
    webhook_id = hook(client)["webhook_id"]
    ask(client)
    run(market, network)

    assert (
        client.get(f"/v1/webhooks/{webhook_id}/deliveries").json()["items"][0]["fault"]
        == "it answered 302, expected 2xx"
    )


def test_it_is_given_up_after_a_day():
    """Whatever the jitter; before that, the pauses grow to an hour and never beyond."""
    for jitter in (0.0, 1.0):
        one, now, waits = delivery(), NOON, []
        while one.state is DeliveryState.WAITING:
            one = after_attempt(one, 500, "it answered 500", now, jitter)
            waits.append(one.next_at - now)
            now = one.next_at
        assert one.state is DeliveryState.GIVEN_UP
        assert timedelta(hours=22) < now - NOON <= timedelta(days=1)
        assert max(waits) <= timedelta(hours=1)


def test_a_webhook_that_fails_for_days_is_disabled_and_enabled_by_its_renter(market):
    """Then nothing is sent; enabled again, it is told what happens from then on."""
    client, network = market.client(), Network(500)
    webhook_id = hook(client)["webhook_id"]
    ask(client, key="k-1")
    run(market, network)
    market.clock.passes(timedelta(days=5).total_seconds() + 1)
    asyncio.run(keep_house(market.desk))
    assert client.get(f"/v1/webhooks/{webhook_id}").json()["is_enabled"] is False
    ask(client, key="k-2")
    assert run(market, network) == 0

    changed = client.patch(f"/v1/webhooks/{webhook_id}", {"is_enabled": True}).json()
    assert (changed["is_enabled"], changed["failing_since"]) == (True, None)
    ask(client, key="k-3")
    assert run(market, network) == 1


def test_a_crash_between_sending_and_writing_it_down_sends_again(market):
    """A minute later, under the same name: at least once, and known again."""
    client, network = market.client(), Network()
    hook(client)
    ask(client)

    async def dies(*_):
        raise KeyboardInterrupt

    async def killed():
        await put_out(market.desk)
        await deliver_due(market.desk, Sender(network.resolve, dies))

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(killed())
    assert run(market, network) == 0
    market.clock.passes(delivering.TAKEN.total_seconds())
    assert run(market, network) == 1


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001::1",
    ],
)
def test_an_address_that_is_not_public_is_not_told(address):
    """Neither directly nor as one of several that a name leads to, nor inside of an IPv6 address."""
    assert not is_public(address)
    with pytest.raises(AddressRefused):
        choose(["8.8.8.8", address], is_local=False)
    with pytest.raises(AddressRefused):
        choose([], is_local=False)


def test_a_public_address_is_told():
    """The first of them."""
    assert choose(["8.8.8.8", "2606:4700::1"], is_local=False) == "8.8.8.8"
    assert choose(["127.0.0.1"], is_local=True) == "127.0.0.1"
    with pytest.raises(AddressRefused):
        choose(["10.0.0.1"], is_local=True)


def test_a_name_that_leads_inside_is_found_when_it_is_used(market):
    """At each attempt anew: names change."""
    client, network = market.client(), Network(addresses=["8.8.8.8", "127.0.0.1"])
    webhook_id = hook(client)["webhook_id"]
    ask(client)
    run(market, network)

    assert network.sent == []
    fault = client.get(f"/v1/webhooks/{webhook_id}/deliveries").json()["items"][0]["fault"]
    assert fault == "the name leads to 127.0.0.1, which is not public"


@pytest.mark.parametrize(
    "url",
    (
        "http://hooks.example.com/ https://127.0.0.1/ https://[::1]/ https://user:pw@hooks.example.com/ ftp://a.example/ "
        "https:// file:///etc/passwd https://a.example/#x http://localhost/ https://2130706433/ https://0x7f.1/ "
        f"https://a.example/{'a' * 2_100} https://169.254.169.254/latest"
    ).split(),
)
def test_only_https_to_a_public_host_is_taken(market, url):
    """Without a user, without a fragment; numbers that are addresses are known as such."""
    answer = market.client().post("/v1/webhooks", {"url": url})

    assert answer.status_code == 422


def test_the_local_subnet_may_tell_this_machine(market):
    """Over http, and no other machine."""
    client = market.rebuilt(is_local=True).client()

    assert client.post("/v1/webhooks", {"url": "http://127.0.0.1:9999/x"}).status_code == 201
    assert code(client.post("/v1/webhooks", {"url": "http://10.0.0.1/"})) == (422, "BAD_URL")


def test_a_secret_is_shown_once_and_can_be_changed(market):
    """What is sent after the change is signed with the new one."""
    client, network = market.client(), Network()
    made = hook(client)
    shown = client.get(f"/v1/webhooks/{made['webhook_id']}")
    assert made["secret"] not in shown.text + client.get("/v1/webhooks").text
    assert "secret" not in shown.json()
    new = client.post(f"/v1/webhooks/{made['webhook_id']}/rotate").json()["secret"]
    ask(client)
    run(market, network)
    _, _, headers, body = network.sent[0]

    assert new != made["secret"]
    assert headers["Webhook-Signature"] == signature(new, int(headers["Webhook-Timestamp"]), body)


def test_a_dropped_webhook_is_told_nothing(market):
    """Nor is another renter's there to be dropped."""
    client, network = market.client(), Network()
    name = hook(client)["webhook_id"]
    ask(client)
    assert code(market.client("bob").delete(f"/v1/webhooks/{name}")) == (404, "NOT_FOUND")
    assert client.delete(f"/v1/webhooks/{name}").status_code == 204

    assert run(market, network) == 0


def test_deliveries_are_listed_in_pages(market):
    """Newest first."""
    client = market.client()
    name = hook(client)["webhook_id"]
    for number in range(3):
        ask(client, key=f"k-{number}")
    run(market, Network())
    first = client.get(f"/v1/webhooks/{name}/deliveries?limit=2").json()
    rest = client.get(f"/v1/webhooks/{name}/deliveries?limit=2&cursor={first['next_cursor']}").json()

    names = [one["delivery_id"] for one in first["items"] + rest["items"]]
    assert names == sorted(names, reverse=True)
    assert (len(names), rest["next_cursor"]) == (3, None)


@given(secret=st.text(min_size=1), timestamp=st.integers(0, 2**40), body=st.binary())
def test_a_signature_is_of_all_of_it(secret, timestamp, body):
    """Another body, another time or another secret has another one."""
    secret = secret.encode("utf-8", "replace").decode()
    one = signature(secret, timestamp, body)

    assert one == signature(secret, timestamp, body)
    assert len({one, signature(secret, timestamp + 1, body), signature(secret, timestamp, body + b"x")}) == 3
    assert one != signature(secret + "x", timestamp, body)


class Receiver(BaseHTTPRequestHandler):
    """Takes what it is told."""

    def do_POST(self):
        """Remember it."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.told.append((dict(self.headers), body))
        self.server.has_been_told.set()
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        """Quiet."""


def test_a_real_request_reaches_a_real_server(tmp_path):
    """Through the app's own deliverer, to the address that was looked at, under the name that was asked for."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.told, server.has_been_told = [], threading.Event()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with world(tmp_path, is_local=True, beside=(delivering.delivering,)) as market:
            client = market.client()
            hook(client, url=f"http://localhost:{server.server_port}/hook?a=b")
            with served(market.app):
                ask(client)
                assert server.has_been_told.wait(20)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    headers, body = server.told[0]

    assert headers["Host"] == f"localhost:{server.server_port}"
    assert json.loads(body)["kind"] == "REQUESTED"


def test_tls_is_checked_for_the_name_and_not_for_the_address():
    """The connection goes to the address, the certificate has to be the name's."""
    seen = []

    def remember(request):
        seen.append((str(request.url), request.headers["Host"], request.extensions.get("sni_hostname")))
        return httpx.Response(204)

    async def once():
        post = HttpPost(httpx.MockTransport(remember))
        status = await post("https://hooks.example.com:8443/a?b=c", "8.8.8.8", {"X": "y"}, b"{}")
        await post("https://hooks.example.com/", "2606:4700::1", {}, b"{}")
        await post.close()
        return status

    assert asyncio.run(once()) == 204
    assert seen[0] == ("https://8.8.8.8:8443/a?b=c", "hooks.example.com:8443", "hooks.example.com")
    assert seen[1][:2] == ("https://[2606:4700::1]/", "hooks.example.com")


def test_one_that_was_changed_meanwhile_keeps_its_cursor(market):
    """Telling goes on while its address is changed: nothing is told twice or left out."""
    client, network = market.client(), Network()
    name = hook(client)["webhook_id"]
    ask(client, key="k-1")
    stale = market.stores.webhooks.get("alice", name)
    run(market, network)
    market.stores.webhooks.change(replace(stale, url=PUBLIC + "/new"))
    ask(client, key="k-2")

    assert run(market, network) == 1
    assert network.sent[-1][0] == PUBLIC + "/new"
