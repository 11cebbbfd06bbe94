"""Where browsers find a site: one form for what is the same place, and none for what is no place."""

import pytest

from tasks.origins import is_loopback, origin_of


@pytest.mark.parametrize(
    ("scheme", "authority", "origin"),
    [
        ("https", "market.example", "https://market.example"),
        ("https", "Market.Example:443", "https://market.example"),
        ("http", "market.example:80", "http://market.example"),
        ("http", "market.example:443", "http://market.example:443"),
        ("http", "localhost:08091", "http://localhost:8091"),
        ("http", "127.0.0.1:8091", "http://127.0.0.1:8091"),
        ("http", "[0:0::1]:8091", "http://[::1]:8091"),
        ("https", "xn--bcher-kva.example", "https://xn--bcher-kva.example"),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(scheme, authority, origin):
    """Small letters, no usual port, addresses in their short form."""
    assert origin_of(scheme, authority) == origin


@pytest.mark.parametrize(
    "authority",
    [
        "",
        "a b",
        "[",
        "[::1",
        "[::g]",
        "[127.0.0.1]",
        "::1",
        "127.0.0.1:abc",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:",
        "market.example/",
        "market.example/@evil.example",
        "evil.example@market.example",
        "market.example#",
        "market.example\n",
        "market..example",
        ".example",
        "market.example.",
        "-a.example",
        "*.example",
        "m\u00e4rkt.example",
        "\u212aelvin.example",
        "1.2.3",
        "1.2.3.256",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "a" * 64 + ".example",
        "a." * 200 + "example",
    ],
)
def test_what_is_no_authority_is_no_origin(authority):
    """Neither what readers of addresses disagree about, nor numbers that some of them take for others."""
    assert origin_of("https", authority) is None


def test_other_schemes_have_no_origin():
    """Pages come by http and https."""
    assert [origin_of(scheme, "market.example") for scheme in ("ws", "file", "", "HTTPS")] == [None] * 4


@pytest.mark.parametrize(
    ("origin", "is_own"),
    [
        ("http://localhost:8091", True),
        ("https://localhost", True),
        ("http://127.0.0.1:1", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:8091", True),
        ("http://localhost.example", False),
        ("http://0.0.0.0:8091", False),
        ("http://10.0.0.1", False),
        ("http://[::2]", False),
    ],
)
def test_ones_own_computer_is_told_apart(origin, is_own):
    """By its name or its addresses, at any port."""
    assert is_loopback(origin) is is_own
