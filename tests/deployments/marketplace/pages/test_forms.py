"""What forms cost whoever takes them: strangers send short ones, and none takes long to be read."""

from time import thread_time
from urllib.parse import parse_qs, urlencode

import pytest

from deployments.marketplace.pages.forms import MAX_BYTES, STRANGERS_BYTES, fields_of
from tests.deployments.marketplace.pages.visiting import Browser, signed_in

KIND = {"Content-Type": "application/x-www-form-urlencoded"}
STRANGERS = ["/sign-in", "/sign-in/passkey", "/sign-in/hotkey", "/sign-up", "/sign-out"]


@pytest.mark.parametrize(
    "sent",
    [
        {"a": ["one", "two"], "b c": ["+&=%;", ""]},
        {"text": ["ä€\U0001f600\r\n\t\0", "\\x41 \\u0041 \\N{DIGIT ONE} \\", "%41"]},
        {"": ["", "x"]},
        {},
    ],
)
def test_a_form_is_read_as_it_was_written(sent):
    """Each value in its place, whatever is in it."""
    assert fields_of(urlencode(sent, doseq=True).encode()) == sent


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"a", {"a": [""]}),
        (b"&&a=1&", {"a": ["1"]}),
        (b"a=b=c", {"a": ["b=c"]}),
        (b"a=\\%41\\n", {"a": ["\\A\\n"]}),
    ],
)
def test_a_form_that_no_browser_writes_is_read_too(body, expected):
    """As everybody reads it."""
    assert fields_of(body) == expected == parse_qs(body.decode(), keep_blank_values=True)


@pytest.mark.parametrize("body", [b"a=%", b"a=%4", b"a=%zz", b"%=1", b"a=%ff", b"a=\xc3\xa4", b"&" * 500])
def test_what_can_not_be_read_is_no_form(body):
    """Marks without their digits, what is no text, too many fields."""
    with pytest.raises(ValueError):
        fields_of(body)


def test_no_form_takes_long_to_be_read():
    """A fraction of what the usual way takes for a form that is made to take long."""
    body = b"key=" + b"%41" * (MAX_BYTES // 3 - 2)

    def least_s(read):
        took = []
        for _ in range(5):
            begun = thread_time()
            read()
            took.append(thread_time() - begun)
        return min(took)

    assert least_s(lambda: fields_of(body)) < least_s(lambda: parse_qs(body.decode())) / 3


@pytest.mark.parametrize("path", STRANGERS)
@pytest.mark.parametrize("is_announced", [True, False])
def test_strangers_send_short_forms(market, path, is_announced):
    """What is said to be longer is not read at all, else no further than to where it is too long."""
    pieces = []

    async def body():
        for _ in range(100):
            pieces.append(b"a" * 4_096)
            yield pieces[-1]

    told = KIND | ({"Content-Length": str(100 * 4_096)} if is_announced else {})
    answer = Browser(market.app).request("POST", path, content=body(), headers=told)

    assert answer.status_code == 413
    assert len(pieces) == (0 if is_announced else STRANGERS_BYTES // 4_096 + 1)


def test_who_is_signed_in_may_send_long_ones(market):
    """A pod has much to say; of who is not, nothing is read."""
    content = b"a=" + b"a" * STRANGERS_BYTES

    assert signed_in(market).request("POST", "/rent", content=content, headers=KIND).status_code == 403
    assert Browser(market.app).request("POST", "/rent", content=content, headers=KIND).status_code == 303
