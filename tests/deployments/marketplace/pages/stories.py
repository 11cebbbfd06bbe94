"""What people do on the pages of a local system, in a real browser."""

import re
from contextlib import contextmanager

from tests.deployments.marketplace.world import SSH_KEY

SLOW_MS = 60_000
"""A lease comes and goes by flows, beside an epoch, on a machine that runs other tests."""


@contextmanager
def somebody(browser, system):
    """A page of a browser that was never here; whatever it complains of fails the test."""
    context = browser.new_context(base_url=system.market, viewport={"width": 1_280, "height": 900})
    context.set_default_timeout(SLOW_MS)
    page, complaints = context.new_page(), []
    page.on("console", lambda told: complaints.append(told.text) if told.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []


def sign_up(page, system, usd):
    """An account of its own, made on the page; an operator puts money in, and the page has it."""
    page.goto("/sign-in")
    page.get_by_role("link", name="Make one").click()
    page.get_by_role("button", name="Make an account").click()
    page.locator("#token").wait_for()
    name = page.get_by_role("heading", level=1).inner_text().removeprefix("Your account: ")
    page.get_by_role("link", name="Put money in").click()
    system.typed("market", "credit", name, str(usd), "--reason", "welcome")
    page.reload()
    page.locator("main", has_text=f"{usd}.00").wait_for()


def sign_in(page, key):
    """With a key that somebody has given out."""
    page.goto("/sign-in")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/account")


def renter(system, name, usd):
    """The key of a renter whom an operator has added."""
    key = system.typed("market", "renter", "add", name).split()[-1]
    system.typed("market", "credit", name, str(usd), "--reason", "welcome")
    return key


def choose(page, model, **filters):
    """The first machine of this model, by the form; its page leads to the form that rents it."""
    page.goto("/")
    page.get_by_label("Model").select_option(model)
    for name, value in filters.items():
        page.locator(f"form.filters [name={name}]").fill(value)
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**/?model=**")
    page.locator("table.offers tbody a").first.click()
    page.get_by_role("link", name="Rent it").click()
    page.locator("select[name=template]").select_option("plain")
    page.get_by_label("Public keys").fill(SSH_KEY)


def rent(page):
    """Press the button, and look on until the lease is handed over; its name."""
    page.get_by_role("button", name="Rent", exact=True).click()
    page.wait_for_url("**/leases/lease-*")
    state(page, "active").wait_for()
    return page.url.rpartition("/")[2]


def state(page, name):
    """The lease's state, once its page shows this one."""
    return page.locator(".state [role=status]", has_text=re.compile(f"^{name}$"))


def prove_hotkey(page, system, wallet, hotkey):
    """On the page that asks for a hotkey: the text is signed by the command that it names."""
    page.get_by_label("Hotkey, SS58").fill(hotkey)
    page.get_by_role("button", name="Show the text to sign").click()
    signed = system.typed("miner", "sign", "--wallet", wallet, page.locator("#text").inner_text())
    page.get_by_label("Signature").fill(signed.strip())
    page.get_by_role("button", name="Sign in").click()
