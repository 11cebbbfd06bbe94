"""The page that runs a command: words and no shell, once for each press, what it printed shown as text."""

import pytest

from storage.renter import Scope
from tasks.errors import HostAway
from tests.deployments.marketplace.pages.reading import read
from tests.deployments.marketplace.pages.visiting import signed_in
from tests.deployments.marketplace.world import ask, printed


@pytest.fixture
def lease(market):
    """An active lease of alice."""
    return market.active(market.client())


@pytest.fixture
def at(lease):
    """Its page."""
    return f"/leases/{lease.lease_id}/console"


def ran(market):
    """The commands that were run."""
    return [asked[1:] for asked in market.console.asked if asked[0] == "execute"]


def test_a_command_is_split_as_a_shell_would_and_read_by_none(market, at):
    """Its words, what it reads, and its time limit come to the container as they were typed in."""
    browser = signed_in(market)
    market.console.answers = [
        printed(b"one\n\x1b[31mred\x1b[0m <script>alert(1)</script>", b"oh \xff", 3, is_truncated=True)
    ]
    answer = browser.submit(
        browser.get(at), at, argv="printf '$(id) %s' \"a b\" ; rm", stdin="x\r\ny\r\n", timeout_s="7"
    )
    page = read(answer)

    assert ran(market) == [(("printf", "$(id) %s", "a b", ";", "rm"), b"x\ny\n", 7.0)]
    assert "Ended with exit code 3" in page.text
    assert "one red <script>alert(1)</script>" in page.text
    assert "<script>alert" not in answer.text
    assert "oh \ufffd" in page.text
    assert "more than is shown" in page.text


def test_a_form_that_is_sent_twice_is_run_once(market, at):
    """As by a page that is loaded again; the button of the new page runs it once more."""
    browser = signed_in(market)
    page = browser.get(at)
    market.console.answers = [printed(b"one"), printed(b"two")]
    form = {"argv": "date", "stdin": "", "timeout_s": "60"}
    first, again = (browser.submit(page, at, **form) for _ in range(2))
    assert len(ran(market)) == 1
    second = browser.submit(again, at, **form)

    assert "one" in read(first).text
    assert "not run again" in read(again).text
    assert "two" in read(second).text
    assert len(ran(market)) == 2


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"argv": ""}, "argv"),
        ({"argv": "'"}, "argv"),
        ({"argv": "a\\"}, "argv"),
        ({"argv": "a\0"}, "argv"),
        ({"argv": "a " * 300}, "argv"),
        ({"argv": "a" * 20_000}, "argv"),
        ({"timeout_s": "0"}, "timeout_s"),
        ({"timeout_s": "1e2"}, "timeout_s"),
        ({"timeout_s": "301"}, "timeout_s"),
    ],
)
def test_what_does_not_fit_is_told_at_its_field(market, at, fields, field):
    """And nothing is run."""
    browser = signed_in(market)
    answer = browser.submit(browser.get(at), at, **{"argv": "ls", "stdin": "", "timeout_s": "60", **fields})

    assert answer.status_code == 422
    assert read(answer).fault(field) == f"fault-{field}"
    assert ran(market) == []


def test_a_form_that_has_lost_its_name_runs_nothing(market, at):
    """By the rule of the API's Idempotency-Key."""
    browser = signed_in(market)
    answer = browser.submit(browser.get(at), at, argv="ls", stdin="", timeout_s="60", idempotency_key="a\0b")

    assert answer.status_code == 422
    assert "lost its name" in read(answer).text
    assert ran(market) == []


def test_what_a_command_prints_is_bounded(market, at):
    """So much of it stands on the page, and that there is more is told."""
    browser = signed_in(market)
    market.console.answers = [printed(b"a" * 200_000)]
    answer = browser.submit(browser.get(at), at, argv="yes", stdin="", timeout_s="60")

    assert 98_304 < len(answer.text) < 110_000
    assert "more than is shown" in read(answer).text


def test_a_machine_that_is_away_is_told_with_the_form(market, at):
    """What was typed in stays."""
    browser = signed_in(market)
    market.console.answers = [HostAway("connect", "silent")]
    answer = browser.submit(browser.get(at), at, argv="ls -l", stdin="", timeout_s="60")
    page = read(answer)

    assert answer.status_code == 422
    assert "Connect: silent" in page.text
    assert page.all("input", name="argv")[0]["value"] == "ls -l"


def test_who_may_run_commands(market, at):
    """Whoever may rent, with a form of its own page, in its own lease that runs."""
    looker, stranger, browser = (
        signed_in(market, "alice", Scope.READ),
        signed_in(market, "bob"),
        signed_in(market),
    )
    waiting = f"/leases/{ask(market.client(), key='k-2').json()['lease_id']}/console"

    assert looker.get(at).status_code == 403
    assert "console" not in looker.get(at.removesuffix("/console")).text
    assert stranger.get(at).status_code == 404
    assert browser.send(at, {"argv": "ls", "timeout_s": "60"}).status_code == 403
    assert (
        browser.submit(browser.get(waiting), waiting, argv="ls", stdin="", timeout_s="60").status_code == 422
    )
    assert ran(market) == []
