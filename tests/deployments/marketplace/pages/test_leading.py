"""Addresses that forms go to, asked for as pages: by a tab that is opened again, or Enter in the address bar."""

import pytest

from deployments.marketplace.pages import PAGES
from tests.deployments.marketplace.pages.reading import read
from tests.deployments.marketplace.pages.visiting import Browser, signed_in
from tests.deployments.marketplace.world import world

FORMS = sorted({route.path for router in PAGES for route in router.routes if "POST" in route.methods})
OPERATIONS = ("stop", "start", "reboot", "replace", "keys")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A market."""
    with world(tmp_path_factory.mktemp("leading"), machines=1) as made:
        yield made


@pytest.fixture(scope="module")
def named(site):
    """What names of addresses stand for, of alice: a lease, a webhook, a template, a key."""
    alice = site.client()
    hook = alice.post("/v1/webhooks", {"url": "https://hooks.example.com/x"}).json()
    alice.post("/v1/templates", {"name": "own", "pod": {"image": "ubuntu:24.04"}})
    return {
        "{lease_id}": site.active(alice).lease_id,
        "{webhook_id}": hook["webhook_id"],
        "{name}": "own",
        "{key_id}": "0" * 16,
    }


@pytest.mark.parametrize(
    "path",
    [path.replace("{what}", what) for path in FORMS for what in (OPERATIONS if "{what}" in path else ("",))],
)
def test_the_address_of_every_form_leads_to_a_page(site, named, path):
    """The one that the form stands on, which is there for whoever may see it."""
    for name, value in named.items():
        path = path.replace(name, value)
    browser = signed_in(site)
    answer = browser.get(path)
    if answer.status_code == 303:
        answer = browser.get(answer.headers["location"].partition("#")[0])

    assert answer.status_code == 200
    assert read(answer).all("h1")


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("/account/keys", "/account#keys"),
        ("/account/keys/0123456789abcdef/revoke", "/account#keys"),
        ("/account/passkeys", "/account#passkeys"),
        ("/account/webhooks/w1/rotate", "/account/webhooks/w1"),
        ("/leases/l-1/limits", "/leases/l-1"),
        ("/leases/l-1/keys", "/leases/l-1"),
        ("/leases/l-1/restore", "/leases/l-1/backups"),
        ("/leases/%5C%3Fa%23b%0D/stop", "/leases/%5C%3Fa%23b%0D"),
        ("/backups/forget", "/volumes"),
        ("/sign-in/passkey", "/sign-in"),
        ("/sign-out", "/"),
    ],
)
def test_where_it_leads(site, path, page):
    """Within the market, whatever names are in the address; nothing is changed by it."""
    answer = Browser(site.app).get(path)

    assert (answer.status_code, answer.headers["location"]) == (303, page)
