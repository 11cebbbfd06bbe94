"""What every request goes through: size, time, headers; and every fault answered as a problem."""

import asyncio
import json

import httpx
import pytest

from deployments.marketplace.buckets import Rate
from deployments.marketplace.market import Limits
from tests.deployments.marketplace.pages.reading import read
from tests.deployments.marketplace.pages.visiting import signed_in
from tests.deployments.marketplace.test_leases import code
from tests.deployments.marketplace.world import NO_LIMITS, Client, world


class Broken:
    """An offer source with a fault of ours."""

    def __call__(self):
        """It fails."""
        raise KeyError("secret inside")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A marketplace for tests that change nothing of it."""
    with world(tmp_path_factory.mktemp("front")) as made:
        yield made


def test_every_answer_has_the_headers_of_safety(market):
    """Refusals too, and nothing is kept by a cache."""
    for answer in (market.client().get("/v1/me"), market.stranger().get("/nope")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers


def test_other_origins_are_let_in_by_name(market):
    """CORS is closed unless a page of the operator's is named."""
    origin = {"Origin": "https://page.example"}
    asked = {**origin, "Access-Control-Request-Method": "GET"}
    opened = market.rebuilt(cors_origins=("https://page.example",))

    assert market.stranger().request("OPTIONS", "/v1/leases", headers=asked).status_code == 405
    answer = opened.stranger().request("OPTIONS", "/v1/leases", headers=asked)
    assert answer.headers["access-control-allow-origin"] == "https://page.example"
    other = {**asked, "Origin": "https://evil.example"}
    refused = opened.stranger().request("OPTIONS", "/v1/leases", headers=other)
    assert "access-control-allow-origin" not in refused.headers


def test_a_fault_of_ours_tells_nothing_of_our_insides(market):
    """A reference for the operator, and no traceback."""
    answer = market.rebuilt(offers=Broken()).client().get("/v1/offers")

    assert code(answer) == (500, "INTERNAL")
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert "reference" in answer.json()["mend"]


def test_a_database_that_is_away_is_told_as_such(market):
    """With when to try again."""

    def away():
        from storage.errors import DatabaseAway

        raise DatabaseAway("locked")

    answer = market.rebuilt(offers=away).client().get("/v1/offers")

    assert code(answer) == (503, "DATABASE_AWAY")
    assert answer.headers["retry-after"] == "2"


def test_a_body_is_bounded(tmp_path):
    """By what it says it is, and by what comes; whatever says nothing is counted."""
    with world(tmp_path, limits=Limits(body_bytes=1_000)) as market:
        client = market.client()
        big = b'{"name": "' + b"a" * 2_000 + b'"}'

        async def pieces():
            for start in range(0, len(big), 100):
                yield big[start : start + 100]

        headers = {"Content-Type": "application/json"}
        announced = client.request("POST", "/v1/ssh-keys", content=big, headers=headers)
        counted = client.request("POST", "/v1/ssh-keys", content=pieces(), headers=headers)

        assert code(announced) == code(counted) == (413, "TOO_LARGE")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff\xfe",
        b"null",
        b"9" * 50_000,
        b'{"pod": {"image": "a", "cpus": NaN}}',
        b'{"pod": {"image": "a", "cpus": 1e999}}',
        b'{"pod": {"image": "a\\u0000"}}',
        b'{"pod": {"image": "a", "entrypoint": "\\ud800"}}',
        b'{"\\ud800": 1}',
        b'{"pod": {"image": "a", "shm_bytes": ' + b"9" * 4_000 + b"}}",
        b'{"pod": {"image": "a", "words": "ls"}}',
        b'{"pod": {"image": ["a"]}}',
        json.dumps({"pod": {"image": "a", "words": ["a" * 65_536] * 4}}).encode(),
        json.dumps({"pod": {"image": "a", "environment": {f"V{n}": "x" for n in range(257)}}}).encode(),
        json.dumps({"pod": {"image": "a", "environment": {"NVIDIA_VISIBLE_DEVICES": "all"}}}).encode(),
        json.dumps({"pod": {"image": "a", "environment": {"A": "b\nNVIDIA_VISIBLE_DEVICES=all"}}}).encode(),
        json.dumps({"pod": {"image": "a", "mounts": [{"volume": "v", "at": "/proc/x"}]}}).encode(),
        json.dumps({"pod": {"image": "a", "mounts": [{"volume": "v", "at": "/a,readonly"}]}}).encode(),
        json.dumps({"pod": {"image": "a"}, "wish": {"card_count": 10**30}}).encode(),
        json.dumps({"pod": {"image": "a"}, "ends_by": 1_800_000_000}).encode(),
    ],
    ids=range(23),
)
def test_hostile_bodies_are_refused(market, body):
    """Each with its place and without a fault of ours; what was sent is not repeated at length."""
    headers = {"Content-Type": "application/json"}
    answer = market.client().request("POST", "/v1/leases", key="k", content=body, headers=headers)

    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["mend"]
    assert len(answer.content) < 20_000
    assert market.stores.works.unstarted() == ()


def test_a_form_is_no_json(market):
    """Whatever sends a body without saying that it is JSON is refused: a page of another site can't say so."""
    headers = {"Content-Type": "text/plain"}
    answer = market.client().request(
        "POST", "/v1/leases", key="k", content=b'{"pod":{"image":"a"}}', headers=headers
    )

    assert answer.status_code == 422


def test_what_takes_too_long_is_answered_in_time(tmp_path):
    """503, while what it does goes on to its end."""
    import threading

    release, done = threading.Event(), threading.Event()

    def slow():
        release.wait(10)
        done.set()
        return ()

    limits = Limits(request_s=0.2, per_address=NO_LIMITS.per_address)
    with world(tmp_path, limits=limits) as market:
        made = market.rebuilt(offers=slow)
        token = made.key()

        async def ask():
            transport = httpx.ASGITransport(made.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://market") as client:
                answer = await client.get("/v1/offers", headers={"Authorization": f"Bearer {token}"})
            release.set()
            return answer

        answer = asyncio.run(ask())

    assert code(answer) == (503, "TOO_LATE")
    assert done.wait(10)


def test_methods_that_there_are_not_are_named(market):
    """405 with those that there are."""
    answer = market.client().request("PUT", "/v1/leases")

    assert code(answer) == (405, "NO_SUCH_METHOD")
    assert (
        set(answer.headers["allow"].replace(" ", "").split(",")) >= {"GET"}
        or "POST" in answer.headers["allow"]
    )


BROWSER = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}


def test_a_browser_is_refused_with_a_page(tmp_path):
    """Whatever refuses it: a form that is too large, too many requests, a path or a method that there is not; programs get problems."""
    with world(tmp_path, limits=Limits(body_bytes=1_000, per_address=Rate(per_s=0.001, burst=8))) as market:
        stranger, form = market.stranger(), {"Content-Type": "application/x-www-form-urlencoded"}
        large = [
            stranger.request("POST", "/sign-in", content=b"a" * 2_000, headers={**form, **more})
            for more in (BROWSER, {})
        ]
        away = [stranger.get("/nowhere", headers=more) for more in (BROWSER, {})]
        api = stranger.get("/v1/nowhere", headers=BROWSER)
        method = stranger.request("DELETE", "/", headers=BROWSER)
        stranger.get("/v1/me"), stranger.get("/v1/me")
        often = [stranger.get(path, headers=BROWSER) for path in ("/", "/v1/me")]

    assert "A body has at most 1000 bytes" in read(large[0]).text
    assert "There is no such page" in read(away[0]).text
    assert "too many requests come from this address" in read(often[0]).text.lower()
    assert large[0].headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'")
    assert [one.status_code for one in (large[0], away[0], method, often[0])] == [413, 404, 405, 429]
    assert code(large[1]) == (413, "TOO_LARGE")
    assert code(away[1]) == code(api) == (404, "NO_SUCH_PATH")
    assert code(often[1]) == (429, "TOO_MANY_REQUESTS")
    assert read(method).all("h1")


def test_a_page_that_takes_too_long_is_answered_with_a_page(tmp_path):
    """In time, with what to do."""
    import threading

    release = threading.Event()

    def slow():
        release.wait(5)
        return ()

    limits = Limits(request_s=0.3, per_address=NO_LIMITS.per_address)
    with world(tmp_path) as market:
        browser = signed_in(market)
        browser.app = market.rebuilt(offers=slow, limits=limits).app
        threading.Timer(1.0, release.set).start()
        answer = browser.get("/", headers=BROWSER)

    assert answer.status_code == 503
    assert "longer than 0.3 s" in read(answer).text


OURS = ("https://market.example", "http://localhost:8051")
FOREIGN = [
    "evil.example", "market.example.evil.example", "market.example:8443", "127.0.0.1:8051", "localhost", "[", "a b",
    "127.0.0.1:abc", "market.example/@evil.example", "evil.example@market.example", "localhost:8051\x80", "",
]  # fmt: skip


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize("path", ["/", "/sign-in", "/sign-in/hotkey", "/nowhere"])
def test_no_page_is_shown_at_anothers_address(site, host, path):
    """Whoever passes our pages on as his gets none; the API, whose keys are bound to no address, answers at any."""
    stranger = site.rebuilt(origins=OURS).stranger()
    page = stranger.get(path, headers={**BROWSER, "Host": host.encode("latin-1")})
    program = stranger.get(path, headers={"Host": host.encode("latin-1")})
    asked = stranger.get("/v1/health", headers={"Host": host.encode("latin-1")})

    assert (page.status_code, asked.status_code) == (421, 200)
    assert "open https://market.example" in read(page).text
    assert "evil" not in page.text
    assert page.headers.get_list("set-cookie") == []
    assert code(program) == (421, "MISDIRECTED")


@pytest.mark.parametrize(
    ("origins", "base"),
    [
        ((), "http://localhost:8091"),
        ((), "http://127.0.0.1:1"),
        ((), "http://[::1]:8051"),
        ((), "https://localhost"),
        (OURS, "https://market.example"),
        (OURS, "http://localhost:8051"),
    ],
)
def test_pages_are_shown_where_the_market_is(site, origins, base):
    """On its own computer, whatever leads to its port there; or where its operator says, and nowhere else then."""
    assert Client(site.rebuilt(origins=origins).app, {}, base).get("/").status_code == 200


@pytest.mark.parametrize("base", ["http://market.example", "http://10.0.0.1:8051", "http://0.0.0.0:8091"])
def test_nobody_is_told_of_addresses_that_the_operator_has_not_named(site, base):
    """Without the setting there is only one's own computer; the refusal says what to set."""
    answer = Client(site.app, BROWSER, base).get("/sign-in")

    assert answer.status_code == 421
    assert "SUBNET_MARKET_ORIGINS" in read(answer).text


def test_the_same_address_written_otherwise_is_the_same(site):
    """Everything behind sees it as browsers write it."""
    stranger = site.rebuilt(origins=OURS).stranger()
    stranger.base = "https://market.example"
    query, told = (
        {"hotkey": "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"},
        {"Host": "Market.Example:443"},
    )
    page = stranger.get("/sign-in/hotkey", params=query, headers=told)

    assert "sign-in/1 | https://market.example | hotkey" in page.text


def test_one_request_names_one_address(site):
    """Two, or none, are none."""
    sent = []

    async def send(message):
        sent.append(message.get("status"))

    def asked(*hosts):
        sent.clear()
        scope = {
            "type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"", "scheme": "http",
            "headers": [(b"host", host) for host in hosts], "client": ("192.0.2.1", 1), "server": ("127.0.0.1", 8051),
        }  # fmt: skip
        asyncio.run(site.app(scope, None, send))
        return sent[0]

    assert [asked(b"localhost"), asked(), asked(b"localhost", b"localhost")] == [200, 421, 421]
