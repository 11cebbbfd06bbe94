"""The text that a hotkey's owner signs to sign a browser in: read back whole, and nothing else is ever taken for one."""

from datetime import UTC, datetime

import pytest

from tasks.signing_in import SignIn, read_sign_in

HOTKEY = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
NOW = datetime(2026, 11, 27, 7, 20, tzinfo=UTC)
ASKED = SignIn("https://market.example", HOTKEY, "n" * 60, NOW)
TEXT = (
    "subnet sign-in/1 | https://market.example | hotkey 5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY | nonce "
    + "n" * 60
    + " | from 2026-11-27T07:20:00Z | until 2026-11-27T07:25:00Z | shows this hotkey's pages in one browser for twelve hours, "
    "and moves nothing"
)


@pytest.mark.parametrize(
    "origin",
    ["https://market.example", "http://127.0.0.1:8091", "http://[::1]:8091", "http://localhost:8091"],
)
def test_it_is_read_back_as_it_was_asked(origin):
    """One line that says where, whose, when and what for."""
    asked = SignIn(origin, HOTKEY, "a-_1" * 15, NOW)

    assert read_sign_in(asked.text) == asked
    assert ASKED.text == TEXT
    assert not set(TEXT) & set('\n"$`\\!')


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I owe you 100 TAO",
        f"{TEXT} ",
        f"{TEXT}\nand my coldkey",
        TEXT.replace("sign-in/1", "sign-in/2"),
        TEXT.replace("moves nothing", "moves everything"),
        TEXT.replace("https://", "file://"),
        TEXT.replace("market.example", "market.example/evil"),
        TEXT.replace("market.example", "a@market.example"),
        TEXT.replace("market.example", "m\u0430rket.example"),
        TEXT.replace(HOTKEY, "0" * 48),
        TEXT.replace("07:25:00Z", "09:25:00Z"),
        TEXT.replace("2026-11-27T07:20", "2026-13-27T07:20"),
        TEXT.replace("n" * 60, "n" * 15),
        "btauth/1\nsr25519\nPOST\n/v1/x",
        "subnet/statement/1\nsr25519\nswap",
        "x" * 10_000_000,
    ],
)
def test_anything_else_is_none(text):
    """Be it by one character: nobody is talked into signing what they don't read."""
    assert read_sign_in(text) is None
