import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import messages
from kernels.messages import CardSeed, End, Go, Multiply, Open, Walk, encode, parse_request
from kernels.protocol import BadMessage, Parameters

D32 = bytes(range(32))
B64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
SIZES = Parameters(
    lines=512, chain_w=1, rounds=4, walkers=3, segments=2, segment_steps=5, rows=16, columns=32, tiles=8
)
GO = Go("cpu", SIZES, D32, (CardSeed(0, "GPU-a", D32), CardSeed(3, "GPU-b", bytes(32))))


def changed(**values):
    return json.dumps({**json.loads(encode(GO)), **values}).encode()


@pytest.mark.parametrize(
    "request_",
    [GO, Walk(2, D32), Walk(2, D32, "held\nby"), Multiply(D32), Open(D32), End()],
    ids=lambda r: type(r).__name__,
)
def test_requests_come_back(request_):
    """What is encoded is what is parsed."""

    assert parse_request(encode(request_)) == request_


def test_go_on_the_wire():
    """GO is the document's object, key by key."""

    assert json.loads(encode(Go("cuda", SIZES, D32, GO.cards[:1]))) == {
        "type": "go",
        "version": 2,
        "form": "cuda",
        "lines": 512,
        "chain_w": 1,
        "rounds": 4,
        "walkers": 3,
        "segments": 2,
        "segment_steps": 5,
        "rows": 16,
        "columns": 32,
        "tiles": 8,
        "commitment": B64,
        "cards": [{"index": 0, "uuid": "GPU-a", "seed": B64}],
        "statement": "",
    }


def test_answers_on_the_wire():
    """Answers are the document's objects; a missing state before is null."""

    segment = messages.OpenedSegment(None, None, D32, b"")
    card = messages.OpenedCard((segment,), (messages.OpenedTile(D32, D32),))

    assert json.loads(encode(messages.Ready())) == {"type": "ready"}
    assert json.loads(encode(messages.Busy("a text"))) == {"type": "busy", "holder": "a text"}
    assert json.loads(encode(messages.Walked(1, (D32,)))) == {"type": "walked", "round": 1, "roots": [B64]}
    assert json.loads(encode(messages.Failed("BAD_REQUEST", None, "why"))) == {
        "type": "failed",
        "code": "BAD_REQUEST",
        "card": None,
        "detail": "why",
    }
    assert json.loads(encode(messages.Opened((card,)))) == {
        "type": "opened",
        "cards": [
            {
                "segments": [{"before": None, "before_path": None, "after": B64, "after_path": ""}],
                "tiles": [{"tile": B64, "path": B64}],
            }
        ],
    }


HOSTILE = {
    "nothing": (b"", "no JSON object"),
    "no object": (b"[]", "expected an object"),
    "no text": (b"\xff\xfe", "no JSON object"),
    "half an object": (b'{"type":"end"', "no JSON object"),
    "bytes after the end": (b'{"type":"end"} {}', "no JSON object"),
    "no type": (b"{}", "no 'type'"),
    "unknown type": (b'{"type":"stop"}', "expected go, walk"),
    "an answer": (b'{"type":"ready"}', "expected go, walk"),
    "type is a number": (b'{"type":1}', "type is 1"),
    "unknown key": (b'{"type":"end","x":1}', "unknown key 'x'"),
    "key twice": (b'{"type":"end","type":"end"}', "key twice"),
    "missing key": (b'{"type":"open"}', "no 'secret'"),
    "NaN": (b'{"type":"walk","round":NaN}', "NaN is no integer"),
    "float": (b'{"type":"walk","round":0.0}', "0.0 is no integer"),
    "exponent": (b'{"type":"walk","round":1e9}', "1e9 is no integer"),
    "endless digits": (b'{"type":"walk","round":' + b"9" * 5000 + b"}", "no JSON object"),
    "2^64": (b'{"type":"walk","round":18446744073709551616,"nonce":""}', "round is 18446744073709551616"),
    "-1": (b'{"type":"walk","round":-1,"nonce":""}', "round is -1"),
    "true": (b'{"type":"walk","round":true,"nonce":""}', "round is True"),
    "endless nesting": (b"[" * 200_000, "no JSON object"),
    "too long": (b" " * (messages.MAX_FRAME_BYTES + 1), "expected at most 1048576"),
    "base64 of 31 bytes": (b'{"type":"open","secret":"' + b"AAAA" * 10 + b'AA=="}', "31 bytes"),
    "base64 without padding": (b'{"type":"open","secret":"' + B64[:-1].encode() + b'"}', "expected base64"),
    "base64 with loose bits": (
        b'{"type":"open","secret":"' + B64.replace("h8=", "h9=").encode() + b'"}',
        "loose bits",
    ),
    "base64 of the web": (b'{"type":"open","secret":"' + b"_" * 43 + b'="}', "no standard base64"),
    "base64 beyond ASCII": (('{"type":"open","secret":"' + "é" * 44 + '"}').encode(), "no standard base64"),
    "bytes are a list": (b'{"type":"open","secret":[]}', "expected base64"),
}


@pytest.mark.parametrize(("frame", "why"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_frames(frame, why):
    """What does not fit is refused with what was wrong, whatever it is."""

    with pytest.raises(BadMessage, match=why):
        parse_request(frame)


CARD = {"index": 0, "uuid": "GPU-a", "seed": B64}
HOSTILE_GO = {
    "other version": ({"version": 1}, "version is 1"),
    "unknown form": ({"form": "cpu "}, "form is 'cpu '"),
    "endless memory": ({"lines": 1 << 62}, "lines is"),
    "endless leaves": ({"walkers": 1 << 20, "segments": 1 << 20}, "walkers x segments"),
    "rows beyond D": ({"rows": 1 << 20}, "rows is"),
    "no cards": ({"cards": []}, "1 to 16 entries"),
    "too many cards": ({"cards": [CARD] * 17}, "1 to 16 entries"),
    "cards are an object": ({"cards": {}}, "1 to 16 entries"),
    "a card is a text": ({"cards": ["GPU-a"]}, "expected an object"),
    "a card with more": ({"cards": [{**CARD, "model": "H100"}]}, "unknown key 'model'"),
    "a card twice": ({"cards": [CARD, CARD]}, "twice"),
    "an index twice": ({"cards": [CARD, {**CARD, "uuid": "GPU-b"}]}, "twice"),
    "a path for a UUID": ({"cards": [{**CARD, "uuid": "../../etc"}]}, "uuid is"),
    "an empty UUID": ({"cards": [{**CARD, "uuid": ""}]}, "uuid is"),
    "short commitment": ({"commitment": "AAAA"}, "commitment is"),
    "an endless statement": ({"statement": "x" * 513}, "statement is"),
    "a statement beyond ASCII": ({"statement": "\u00e9"}, "statement is"),
    "a statement that rings": ({"statement": "\a"}, "statement is"),
    "a statement that is none": ({"statement": None}, "statement is"),
}


@pytest.mark.parametrize(("values", "why"), HOSTILE_GO.values(), ids=HOSTILE_GO)
def test_hostile_go(values, why):
    """GO with numbers, cards or names that may not be is refused before anything is opened or allocated."""

    with pytest.raises(BadMessage, match=why):
        parse_request(changed(**values))


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes(frame):
    """Any bytes are a request or a BadMessage, and never another exception."""

    try:
        request = parse_request(frame)
    except BadMessage:
        return
    assert parse_request(encode(request)) == request


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(json.loads(encode(GO)))), JSON)
def test_any_value_in_go(key, value):
    """Any JSON value in any place of GO is taken as it is or refused."""

    try:
        request = parse_request(changed(**{key: value}))
    except BadMessage:
        return
    assert json.loads(encode(request))[key] == value


def test_frame_sizes():
    """A frame's header is its length, big-endian, and a length above 1 MiB is refused before it is read."""

    assert messages.frame_header(258) == b"\0\0\1\2"
    assert messages.frame_size(b"\0\x10\0\0") == 1 << 20
    with pytest.raises(BadMessage, match="4294967295"):
        messages.frame_size(b"\xff\xff\xff\xff")
