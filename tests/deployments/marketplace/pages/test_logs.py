"""The page of a lease's log: the last lines for everybody, and those that follow for who is signed in, as long as it is."""

import json
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import ClassVar

import httpx
import pytest

from deployments.marketplace.pages.words import printed as readable
from tasks.errors import HostAway
from tests.deployments.marketplace.pages.reading import read
from tests.deployments.marketplace.pages.visiting import Browser, signed_in
from tests.deployments.marketplace.serving import _events, served
from tests.deployments.marketplace.world import NO_LIMITS, ask, printed, world

QUICK = replace(NO_LIMITS, heartbeat_s=0.1, key_check_s=0.1, poll_s=0.05, streams_per_key=1)


@pytest.fixture
def market(tmp_path):
    """A marketplace whose feeds look often, and of which a key may have one."""
    with world(tmp_path, limits=QUICK) as made:
        yield made


@pytest.fixture
def lease(market):
    """An active lease of alice."""
    return market.active(market.client())


def lines(*texts, second=0):
    """A log as the engine prints it with times."""
    return printed(
        "".join(f"2026-08-01T12:00:{second:02}.{n:09}Z {text}\n" for n, text in enumerate(texts, 1)).encode()
    )


@contextmanager
def followed(url, browser, path, **headers):
    """The events of the page's feed, as the browser reads them."""
    sent = {"Cookie": "; ".join(f"{k}={v}" for k, v in browser.cookies.items()), **headers}
    with httpx.stream("GET", url + path, headers=sent, timeout=20, trust_env=False) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield (
            (kind, name, json.loads(data))
            for kind, name, data in _events(answer.iter_lines())
            if data and kind != ":"
        )


def where(page):
    """Where the page's log goes on."""
    (log,) = page.all("pre", id="log")
    return f"{log['data-follow']}&behind={log['data-behind']}"


def test_the_last_lines_are_there_without_scripts(market, lease):
    """As many as were asked for; what steers a terminal is left out, and what is foreign is text."""
    market.console.answers = [
        replace(
            lines("one", "<script>alert(1)</script>\u202e", " 1%\r50%\r99%\r", "\x1b[31mred\x1b[0m"),
            is_truncated=True,
        )
    ]
    answer = signed_in(market).get(f"/leases/{lease.lease_id}/logs?tail=500")
    page = read(answer)

    assert "one <script>alert(1)</script>\ufffd 99% red" in page.text
    assert "<script>alert" not in answer.text
    assert "There is more than is shown" in page.text
    assert market.console.asked[-1] == ("logs", 500, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\r\nb\tc\n", "a\nb\tc\n"),
        ("10%\r20%\r", "20%"),
        ("\r\na\rb\r\rc\r\r\n\rd\r\n\r", "\nc\nd\n"),
        ("\x1b]0;title\x07\x1b[2K\x1b[1;31mred\x1b[m\x1bM", "red"),
        ("a\x00\x08\u202eb", "a\ufffd\ufffd\ufffdb"),
        ("\x1b[" + "1;" * 200 + "m", "\ufffd[" + "1;" * 200 + "m"),
        ("\x1b" * 3 + "[", "\ufffd\ufffd\ufffd["),
        ("", ""),
    ],
)
def test_what_a_program_prints_is_harmless(text, expected):
    """Lines and tabs stay; a line that was written over is as it was last."""
    assert readable(text) == expected


class Told(bytes):
    """What a machine told, which remembers who has read it."""

    readers: ClassVar[list[str]] = []

    def decode(self, *how):
        """As it is."""
        self.readers.append(threading.current_thread().name)
        return super().decode(*how)


def test_a_long_log_keeps_nobody_else_waiting(market, lease):
    """It is made readable where the machine was asked, and not where all requests are taken."""
    log = Told(lines("one").stdout)
    market.console.answers = [printed(log) for _ in range(3)]
    browser = signed_in(market)
    market.client().get(f"/v1/leases/{lease.lease_id}/logs")
    browser.get(f"/leases/{lease.lease_id}/logs")
    with (
        served(market.app) as url,
        followed(url, browser, f"/leases/{lease.lease_id}/logs/follow") as events,
    ):
        next(events)

    assert len(Told.readers) == 3
    assert all(name.startswith("containers") for name in Told.readers)


def test_a_page_goes_on_where_it_ends(market, lease):
    """Each line once; a connection that broke goes on behind the last line that came."""
    market.console.answers = [
        lines("one", "two"),
        lines("one", "two", "three"),
        lines("one", "two", "three", "\x1b[1mfour"),
    ]
    browser = signed_in(market)
    path = where(read(browser.get(f"/leases/{lease.lease_id}/logs")))
    with served(market.app) as url:
        with followed(url, browser, path) as events:
            first = next(events)
        with followed(url, browser, path, **{"Last-Event-ID": first[1]}) as events:
            second = next(events)

    assert (first[0], first[2]["text"]) == ("log", "three\n")
    assert second[2]["text"] == "four\n"


def test_a_feed_ends_when_its_reader_signs_out(market, lease):
    """In seconds, though the key lives on."""
    browser = signed_in(market)
    page = browser.get("/leases")
    path = where(read(browser.get(f"/leases/{lease.lease_id}/logs")))
    market.console.answers = [lines("one")]
    with served(market.app) as url, followed(url, browser, path) as events:
        next(events)
        browser.submit(page, "/sign-out")
        last = next(events)

    assert last[2] == {"code": "KEY_ENDED", "detail": "this browser is signed out"}


def test_a_feed_that_there_is_none_of_says_why(market, lease):
    """As its only event: one more than the key may have, or of a lease that does not run."""
    browser = signed_in(market)
    waiting = ask(market.client(), key="k-2").json()["lease_id"]
    path = f"/leases/{lease.lease_id}/logs/follow"
    market.console.answers = [lines("one")]
    with served(market.app) as url, followed(url, browser, path) as one:
        next(one)
        codes = []
        for refused in (path, f"/leases/{waiting}/logs/follow"):
            with followed(url, browser, refused) as events:
                codes.append([told[2]["code"] for told in events])

    assert codes == [["TOO_MANY_FEEDS"], ["NOT_FROM_THIS_STATE"]]


def test_a_log_is_its_renters_alone(market, lease):
    """Another's is not there, and who is not signed in signs in first."""
    for path in ("logs", "logs/follow"):
        at = f"/leases/{lease.lease_id}/{path}"
        assert signed_in(market, "bob").get(at).status_code == 404
        assert Browser(market.app).get(at).status_code == 303


def test_why_there_is_no_log_is_told(market, lease):
    """The page is there, whatever the machine does; nothing follows where nothing runs."""
    browser = signed_in(market)
    market.console.answers = [HostAway("connect", "silent")]
    away = read(browser.get(f"/leases/{lease.lease_id}/logs?tail=x"))
    waiting = ask(market.client(), key="k-2").json()["lease_id"]
    none = read(browser.get(f"/leases/{waiting}/logs"))

    assert "The log can't be read: connect: silent" in away.text
    assert "nothing runs yet" in none.text
    assert "data-follow" not in none.all("pre", id="log")[0]


def test_a_feed_of_the_api_goes_on_behind_a_line(market, lease):
    """By the name of the event that brought it."""
    market.console.answers = [lines("one"), lines("one", "two")]
    client, path = market.client(), f"/v1/leases/{lease.lease_id}/logs?follow=true"
    with served(market.app) as url:
        for expected, after in (("one\n", {}), ("two\n", {"Last-Event-ID": "1785585600000000001"})):
            headers = {**client.headers, **after}
            with httpx.stream("GET", url + path, headers=headers, timeout=20, trust_env=False) as answer:
                _, name, data = next(told for told in _events(answer.iter_lines()) if told[0] == "log")
                assert json.loads(data)["text"] == expected

    assert name == "1785585600000000002"
