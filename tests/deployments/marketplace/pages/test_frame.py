"""What every page is sent with: nothing from elsewhere, nothing that runs but our own file, nothing kept that changes."""

import re
from pathlib import Path

import pytest

from deployments.marketplace.pages import assets, words
from deployments.marketplace.pages.mending import mend_of
from deployments.marketplace.problems import Refused
from tests.deployments.marketplace.pages.reading import read
from tests.deployments.marketplace.pages.visiting import signed_in
from tests.deployments.marketplace.world import world

REPOSITORY = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A marketplace whose pages are only looked at."""
    with world(tmp_path_factory.mktemp("site")) as made:
        yield made


PAGES = ("/", "/?count=x", "/machines/5Miner/m-000", "/machines/none")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_loads_nothing_from_elsewhere_and_runs_nothing_of_its_own(site, path):
    """One script and one stylesheet of ours by their digests; no style and no handler within the page."""
    answer = site.stranger().get(path)
    page = read(answer)
    names = {name for _, found in page.elements for name in found}
    addresses = [
        found[name] for _, found in page.elements for name in ("href", "src", "action") if name in found
    ]

    assert all(address.startswith(("/", "#")) and not address.startswith("//") for address in addresses)
    assert not any(name.startswith("on") or name == "style" for name in names)
    assert [found["src"] for found in page.all("script")] == [assets.ASSETS["page.js"].address]
    assert page.all("style") == []
    assert page.texts.count("") == 0


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_the_headers_of_safety(site, path):
    """A policy that allows what it needs by name, once; and no cache keeps it."""
    headers = site.stranger().get(path).headers

    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers.get_list("content-security-policy") == [headers["content-security-policy"]]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


def test_files_are_kept_for_ever_under_the_name_of_what_is_in_them(site):
    """Packed for whoever can read that."""
    for name, one in assets.ASSETS.items():
        plain = site.stranger().get(one.address, headers={"Accept-Encoding": "identity"})
        packed = site.stranger().get(one.address, headers={"Accept-Encoding": "gzip"})

        assert plain.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert plain.content == packed.content == (assets.FOLDER / name).read_bytes()
        assert packed.headers["content-encoding"] == "gzip"
        assert re.fullmatch(rf"/static/{name.split('.')[0]}\.[0-9a-f]{{12}}\.\w+", one.address)


def test_a_fault_of_ours_is_a_page_without_our_insides(site):
    """With a reference for the operator."""

    def broken():
        raise KeyError("secret inside")

    answer = site.rebuilt(offers=broken).stranger().get("/")

    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "reference" in read(answer).text


def test_a_page_that_there_is_not_knows_who_asks(site):
    """Whoever is signed in is not asked to sign in."""
    browser = signed_in(site)
    browser.headers["Accept"] = "text/html"
    answer, other = browser.get("/nowhere"), site.stranger().get("/nowhere", headers={"Accept": "text/html"})

    assert (answer.status_code, other.status_code) == (404, 404)
    assert "/sign-out" in read(answer).forms
    assert [len(read(one).all("a", **{"class": "who"})) for one in (answer, other)] == [0, 1]


def test_what_to_do_is_said_of_pages(site):
    """Not of the API's routes, which whoever reads a page does not know."""
    answer = signed_in(site).get("/leases/lease-0123456789abcdef")

    assert answer.status_code == 404
    assert "What to do: look at the page of your leases." in read(answer).text


def test_every_mend_that_names_a_route_has_words_for_pages():
    """As they stand in our own source: none tells of methods and paths."""
    sources = (REPOSITORY / "deployments/marketplace").rglob("*.py")
    found = [
        text
        for source in sources
        for text in re.findall(r'"([a-z][^"\n]*(?:GET|POST|PUT|DELETE) /v1/[^"\n]*)"', source.read_text())
    ]
    said = [mend_of(Refused(409, "REFUSED", "", mend)) for mend in found]

    assert len(found) >= 8
    assert not any(word in text for text in said for word in ("/v1", "GET", "POST", "PUT", "DELETE"))


@pytest.mark.parametrize(
    ("mend", "said"),
    [
        ("transfer TAO as GET /v1/deposit says", "transfer TAO as your account's page says"),
        ("look at GET /v1/volumes: who has it", "look at the page of your volumes: who has it"),
        ("replace it: PUT /v1/templates/train", "replace it on the page of your templates"),
        ("wait as long as Retry-After says", "wait a moment"),
        ("sign in", "sign in"),
    ],
)
def test_a_mend_names_the_page_in_the_place_of_the_route(mend, said):
    """Of those that there are; all else stays as it is."""
    assert mend_of(Refused(409, "REFUSED", "", mend)) == said


def test_pages_are_no_part_of_the_apis_description(site):
    """Programs have their own way."""
    paths = site.stranger().get("/v1/openapi.json").json()["paths"]

    assert all(path.startswith("/v1/") for path in paths)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RTX 4090", "RTX 4090"),
        ("a\nb\x00\u202ec", "a\ufffdb\ufffd\ufffdc"),
        ("x" * 200, "x" * 52 + "…" + "x" * 27),
        ("é漢字", "é漢字"),
    ],
)
def test_foreign_text_is_bounded_and_printable(text, expected):
    """What turns the direction of writing is not."""
    assert words.shown(text) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0 s"), (59.6, "1 min"), (7_500, "2 h 5 min"), (90_061, "1 d 1 h"), (-3, "0 s")],
)
def test_times_are_told_in_two_units(seconds, expected):
    """The largest ones."""
    assert words.lasting(seconds) == expected


def test_almost_all_is_not_all():
    """100 % is exactly that."""
    assert [words.share(part) for part in (1.0, 0.99999, 0.5)] == ["100.0", "99.9", "50.0"]
