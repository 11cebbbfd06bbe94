"""A browser without a window and without scripts: it keeps cookies, says where it comes from, and sends forms as pages have them."""

from __future__ import annotations

from http.cookies import SimpleCookie
from secrets import token_urlsafe
from urllib.parse import urlencode

from deployments.marketplace.pages.visitors import LASTS, digest_of
from storage.renter import PageSession
from tests.deployments.marketplace.pages.reading import read
from tests.deployments.marketplace.world import Client

HERE = "http://127.0.0.1:8091"


class Browser(Client):
    """One that looks at the market from its own computer, unless told otherwise."""

    def __init__(self, app, base=HERE):
        super().__init__(app, {"Origin": base, "Sec-Fetch-Site": "same-origin"}, base)
        self.cookies, self.set = {}, []

    def request(self, method, path, **more):
        """One request, with the cookies that it was given."""
        more["headers"] = {
            **({"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())} if self.cookies else {}),
            **(more.get("headers") or {}),
        }
        answer = super().request(method, path, **more)
        self.set = answer.headers.get_list("set-cookie")
        for line in self.set:
            for name, morsel in SimpleCookie(line).items():
                self.cookies.pop(name, None)
                if morsel["max-age"] != "0":
                    self.cookies[name] = morsel.value
        return answer

    def submit(self, page, action, **fields):
        """Send a form of a page that was answered: what is hidden in it, and what was typed in."""
        sent = {**read(page).forms[action], **fields}
        return self.send(action, sent)

    def send(self, action, fields, **headers):
        """A form as browsers send it."""
        body = urlencode(fields, doseq=True)
        told = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        return self.request("POST", action, content=body, headers=told)

    def sign_in(self, key, address="/sign-in"):
        """With this key, by the form."""
        return self.submit(self.get(address), "/sign-in", key=key)


class At(Browser):
    """One at another address."""

    def __init__(self, app, address):
        async def moved(scope, receive, send):
            await app({**scope, "client": (address, 1)}, receive, send)

        super().__init__(moved)


def holding(market, hotkey="5Miner"):
    """A browser whose user has signed with this hotkey."""
    browser, secret, now = Browser(market.app), token_urlsafe(32), market.clock.at
    session = PageSession(digest_of(secret), now, now + LASTS, hotkey=hotkey)
    market.stores.page_sessions.begin(session)
    browser.cookies["session"] = secret
    return browser


def signed_in(market, renter_id="alice", *scopes):
    """A browser of this renter, with a key of these scopes."""
    browser = Browser(market.app)
    assert browser.sign_in(market.key(renter_id, *scopes)).status_code == 303
    return browser
