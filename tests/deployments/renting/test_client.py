"""The client, against a market that answers what a test says."""

import json

import httpx
import pytest

from deployments.renting.account import Market
from deployments.renting.client import MAX_BODY_BYTES, Client, Patience
from deployments.renting.streams import Event, EventReader
from tasks.errors import BadAnswer, LimitExceeded, MarketAway, MarketRefused, NotLoggedIn

KEY = "sn_a_" + "s" * 32


class Script:
    """Answers in their order; what was asked and how long was waited is kept."""

    def __init__(self, *answers):
        self.answers, self.asked, self.waited, self.now = list(answers), [], [], 0.0

    def __call__(self, request):
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def sleep(self, seconds):
        self.waited.append(seconds)
        self.now += seconds

    def client(self, tmp_path, **patience):
        return Client(
            Market("https://market.example/base", tmp_path / "key"),
            KEY,
            transport=httpx.MockTransport(self),
            patience=Patience(**patience),
            sleep=self.sleep,
            monotonic=lambda: self.now,
        )


def problem(status, code="CARDS_TAKEN", detail="no machine is free", mend="try later", **headers):
    """A refusal as the API makes it."""
    body = {
        "type": "about:blank",
        "title": "No",
        "status": status,
        "code": code,
        "detail": detail,
        "mend": mend,
    }
    return httpx.Response(status, json=body, headers={"content-type": "application/problem+json", **headers})


def test_the_key_is_sent_and_never_shown(tmp_path):
    """It stands in one header and in no text of the client."""

    script = Script(httpx.Response(200, json={"ok": True}))
    with script.client(tmp_path) as client:
        assert client.get("/v1/health", {"a": 1, "b": None}) == {"ok": True}
        assert "s" * 32 not in repr(client)

    assert script.asked[0].headers["authorization"] == f"Bearer {KEY}"
    assert str(script.asked[0].url) == "https://market.example/base/v1/health?a=1"


def test_a_repeated_post_is_the_same_request(tmp_path):
    """Lost answers and broken servers between, one Idempotency-Key: the market rents once."""

    script = Script(
        httpx.ReadTimeout("lost"),
        httpx.Response(503),
        httpx.ConnectError("down"),
        httpx.Response(202, json={"n": 1}),
    )
    with script.client(tmp_path) as client:
        assert client.post("/v1/leases", {"x": 1}) == {"n": 1}

    assert len({r.headers["idempotency-key"] for r in script.asked}) == 1
    assert [json.loads(r.content) for r in script.asked] == [{"x": 1}] * 4
    assert script.waited == [0.5, 1.0, 2.0]


def test_two_posts_are_two_requests(tmp_path):
    """Unless they are given one name."""

    script = Script(*(httpx.Response(202, json={}) for _ in range(4)))
    with script.client(tmp_path) as client:
        for name in ("", "", "mine", "mine"):
            client.post("/v1/leases", {}, request_id=name)

    keys = [r.headers["idempotency-key"] for r in script.asked]
    assert (len(set(keys)), keys[2:]) == (3, ["mine", "mine"])


@pytest.mark.parametrize("fault", [httpx.ReadTimeout("lost"), httpx.RemoteProtocolError("gone")])
def test_what_may_not_be_done_twice_is_not_asked_twice(tmp_path, fault):
    """A command that may have run is not sent again; one that was never heard is."""

    script = Script(httpx.ConnectError("down"), fault)
    with script.client(tmp_path) as client, pytest.raises(MarketAway):
        client.post("/v1/leases/l/exec", {}, is_repeatable=False)

    assert len(script.asked) == 2


def test_the_markets_own_time_is_waited(tmp_path):
    """Retry-After counts where it is longer than our own wait."""

    script = Script(problem(429, **{"retry-after": "7"}), httpx.Response(200, json={}))
    with script.client(tmp_path) as client:
        client.get("/v1/offers")

    assert script.waited == [7.0]


def test_patience_ends(tmp_path):
    """After the last attempt, or when waiting would take too long, the last word is told."""

    away = Script(*[httpx.ConnectError("down")] * 3)
    with (
        away.client(tmp_path, attempts=3) as client,
        pytest.raises(MarketAway, match=r"market\.example.*down"),
    ):
        client.get("/v1/offers")
    slow = Script(problem(429, "TOO_MANY", "60 a minute", "", **{"retry-after": "3600"}))
    with (
        slow.client(tmp_path) as client,
        pytest.raises(MarketRefused, match="try again in 3600 s") as refused,
    ):
        client.get("/v1/offers")

    assert (slow.waited, refused.value.exit_code) == ([], 1)


@pytest.mark.parametrize(
    ("status", "exit_code"),
    [(400, 2), (401, 3), (402, 4), (403, 3), (404, 2), (409, 2), (422, 2), (429, 1), (500, 1)],
)
def test_a_refusal_has_its_mend_and_an_exit_code(tmp_path, status, exit_code):
    """Scripts can tell the key, the balance and the rest from each other; it is asked once."""

    script = Script(problem(status))
    with script.client(tmp_path, attempts=1) as client, pytest.raises(MarketRefused) as refused:
        client.get("/v1/leases")

    assert str(refused.value) == "CARDS_TAKEN: no machine is free\n  try later"
    assert refused.value.exit_code == exit_code


def test_what_the_market_says_moves_no_cursor(tmp_path):
    """Its words are printable before they are anybody's."""

    script = Script(problem(409, detail="\x1b[2J\rgone", mend="a\nb"))
    with script.client(tmp_path) as client, pytest.raises(MarketRefused) as refused:
        client.get("/v1/leases")

    assert "\x1b" not in str(refused.value)
    assert str(refused.value).count("\n") == 1


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"7", b'{"a":' * 5000, b"\xff", b"NaN{"])
def test_an_answer_that_is_no_object_is_refused(tmp_path, body):
    """A web page at a wrong address, a list, endless nesting."""

    script = Script(httpx.Response(200, content=body))
    with script.client(tmp_path) as client, pytest.raises(BadAnswer):
        client.get("/v1/leases")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"detail": 7}', b""])
def test_a_refusal_without_words_is_still_one(tmp_path, body):
    """The status is told then; of a broken server it is that it does not answer."""

    refused, broken = Script(httpx.Response(404, content=body)), Script(httpx.Response(500, content=body))
    with refused.client(tmp_path) as client, pytest.raises(MarketRefused, match="status 404"):
        client.get("/v1/leases")
    with broken.client(tmp_path) as client, pytest.raises(MarketAway, match="status 500"):
        client.get("/v1/leases")


def test_an_endless_answer_is_cut(tmp_path):
    """A body is bounded, also in time."""

    def flood():
        while True:
            yield b"x" * (1 << 20)

    script = Script(httpx.Response(200, content=flood()))
    with script.client(tmp_path) as client, pytest.raises(LimitExceeded, match=f"{MAX_BODY_BYTES >> 20} MiB"):
        client.get("/v1/leases")

    def drip():
        while True:
            slow.now += 20.0
            yield b"x"

    slow = Script(httpx.Response(200, content=drip()))
    with slow.client(tmp_path) as client, pytest.raises(LimitExceeded, match="its time"):
        client.get("/v1/leases")


def test_redirects_are_not_followed(tmp_path):
    """The key goes nowhere else than where it belongs."""

    script = Script(httpx.Response(302, headers={"location": "https://evil.example"}))
    with script.client(tmp_path) as client, pytest.raises(MarketRefused, match="status 302"):
        client.get("/v1/leases")


def test_pages_are_followed_and_end(tmp_path):
    """By their cursors, no cursor twice, and no more items than wanted."""

    def page(items, cursor):
        return httpx.Response(200, json={"items": [{"n": n} for n in items], "next_cursor": cursor})

    script = Script(page([1, 2], "b"), page([3], "c"), page([4], "c"))
    with script.client(tmp_path) as client:
        assert [item["n"] for item in client.pages("/v1/leases", {"limit": 2})] == [1, 2, 3, 4]
    assert [r.url.params.get("cursor") for r in script.asked] == [None, "b", "c"]
    few = Script(page([1, 2], "b"))
    with few.client(tmp_path) as client:
        assert len(list(client.pages("/v1/leases", most=2))) == 2


def stream(*chunks, fault=None):
    """An event stream that ends, or breaks."""

    def body():
        yield from chunks
        if fault is not None:
            raise fault

    return httpx.Response(200, content=body(), headers={"content-type": "text/event-stream"})


def test_a_broken_stream_is_taken_up_behind_the_last_event(tmp_path):
    """Nothing twice, nothing left out: the market is told the last event heard."""

    script = Script(
        stream(
            b"id: 1\nevent: RESERVED\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: ha",
            fault=httpx.ReadError("cut"),
        ),
        httpx.Response(503),
        stream(b"id: 3\ndata: c\n\n"),
        stream(b"event: end\ndata: {}\n\n"),
    )
    with script.client(tmp_path) as client:
        found = list(client.stream("/v1/leases/l/events", {"follow": True}))

    assert found == [
        Event("RESERVED", "a", "1"),
        Event("message", "b", "2"),
        Event("message", "c", "3"),
        Event("end", "{}", ""),
    ]
    assert [r.headers.get("last-event-id") for r in script.asked] == [None, "2", "2", "3"]


def test_a_stream_that_stays_away_is_told(tmp_path):
    """After as many attempts without a word as patience has."""

    script = Script(*[httpx.ReadError("cut")] * 2)
    with script.client(tmp_path, attempts=2) as client, pytest.raises(MarketAway, match="cut"):
        list(client.stream("/v1/leases/l/events"))
    closed = Script(stream(), stream())
    with closed.client(tmp_path, attempts=2) as client, pytest.raises(MarketAway, match="ends at once"):
        list(client.stream("/v1/leases/l/events"))
    refused = Script(problem(404))
    with refused.client(tmp_path) as client, pytest.raises(MarketRefused):
        list(client.stream("/v1/leases/l/events"))


def test_events_are_read_as_they_are_cut():
    """Byte by byte, with comments, carriage returns, several lines of data and unknown fields: the same events."""

    text = b": hi\r\nid: 7\r\nevent: LOG\r\ndata: one\r\ndata:two\r\nretry: 5\r\n\r\ndata\n\nevent: X\n\nid: \xff\ndata: \xff\n\n"
    whole, cut = EventReader(), EventReader()

    assert list(whole.feed(text)) == [e for i in range(len(text)) for e in cut.feed(text[i : i + 1])]
    assert list(EventReader().feed(text)) == [
        Event("LOG", "one\ntwo", "7"),
        Event("message", "", "7"),
        Event("message", "\ufffd", "7"),
    ]


@pytest.mark.parametrize("chunk", [b"x" * (1 << 19), b"data: " + b"x" * 1000 + b"\n"])
def test_an_endless_event_is_refused(chunk):
    """One line without an end, or lines without an event."""

    reader = EventReader()

    def read_on():
        for _ in range(2000):
            list(reader.feed(chunk))

    with pytest.raises(LimitExceeded):
        read_on()


def test_who_has_no_key_is_told_where_it_comes_from():
    """The mend stands in the sentence, the exit code is that of keys."""

    assert "subnet rent login" in str(NotLoggedIn("https://m"))
    assert NotLoggedIn("https://m").exit_code == 3
