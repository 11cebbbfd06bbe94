"""The kinds of values that requests are made of: each typed and bounded, and described in the OpenAPI as it is checked."""

from __future__ import annotations

import base64
import binascii
import re
import struct
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

MAX_TEXT_CHARACTERS = 65_536
MAX_MICRO_USD = 10**15
MAX_SECONDS = 10 * 366 * 86_400
NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"
KEY_TYPES = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})\Z"
)


class Model(BaseModel):
    """What every body and answer is: frozen, and without fields that nobody knows."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="null")


def _is_moment(value: Any) -> Any:
    """Text with a zone, or a time that we made: never a number, which nobody can tell seconds or milliseconds of."""
    if isinstance(value, datetime) or (isinstance(value, str) and _RFC_3339.match(value)):
        return value
    raise ValueError("a time such as 2026-08-01T12:00:00Z is expected")


def _is_whole(value: Any) -> Any:
    """JSON has one kind of numbers: 2.0 is 2. Truth values and texts are none."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def _to_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time within the years 1 to 9999 is expected") from None


def _one_key(line: str) -> str:
    """An OpenSSH public key whose parts agree; its comment may be anything printable."""
    kind, body = line.split(" ", 2)[:2]
    try:
        blob = base64.b64decode(body, validate=True)
        (size,) = struct.unpack_from(">I", blob)
    except (binascii.Error, struct.error):
        raise ValueError("a public key's second word is base64: copy the line from the .pub file") from None
    if blob[4 : 4 + size] != kind.encode() or not 32 <= len(blob) <= 4_096:
        raise ValueError("the public key's two parts do not agree: copy the line from the .pub file")
    return line


def fingerprint_of(public_line: str) -> str:
    """As ssh-keygen shows it."""
    blob = base64.b64decode(public_line.split(" ", 2)[1])
    return "SHA256:" + base64.b64encode(sha256(blob).digest()).decode().rstrip("=")


def _is_base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("base64 is expected") from None
    return text


Moment = Annotated[AwareDatetime, BeforeValidator(_is_moment), AfterValidator(_to_utc)]
"""A time; read in any zone, always answered in UTC."""
Text = Annotated[str, Field(max_length=MAX_TEXT_CHARACTERS, pattern=r"^[^\x00]*$")]
Short = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Name = Annotated[str, Field(pattern=NAME, examples=["data"])]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
"""A name that we chose."""
WHOLE = BeforeValidator(_is_whole)
"""Stands after the bounds of a number, which the OpenAPI would not have else."""
MicroUsd = Annotated[int, Field(strict=True, ge=0, le=MAX_MICRO_USD, examples=[1_200_000]), WHOLE]
Seconds = Annotated[int, Field(strict=True, ge=0, le=MAX_SECONDS, examples=[3_600]), WHOLE]
Bytes = Annotated[int, Field(strict=True, ge=0, le=1 << 44), WHOLE]
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
PublicKey = Annotated[
    str,
    Field(
        max_length=8_192,
        pattern=r"^("
        + "|".join(kind.replace(".", r"\.") for kind in KEY_TYPES)
        + r") [A-Za-z0-9+/]{40}[A-Za-z0-9+/]*={0,2}( [^\x00-\x1f\x7f]*)?$",
        examples=[
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti me@laptop"
        ],
        json_schema_extra={"format": "ssh-public-key"},
    ),
    AfterValidator(_one_key),
]
Fingerprint = Annotated[str, Field(pattern=r"^SHA256:[A-Za-z0-9+/]{43}$")]
ImageName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=512,
        pattern=r"^([a-z0-9]+([.-][a-z0-9]+)*(:[0-9]{1,5})?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*"
        r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$",
        examples=["ubuntu:24.04"],
    ),
]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
VariableValue = Annotated[str, Field(max_length=MAX_TEXT_CHARACTERS, pattern=r"^[^\x00\r\n]*$")]
PathInside = Annotated[
    str,
    Field(max_length=4_096, pattern=r'^/[^\x00\r\n,:"]*$', examples=["/data"]),
]
PortNumber = Annotated[int, Field(strict=True, ge=1, le=65_535), WHOLE]
Base64 = Annotated[
    str,
    Field(max_length=1_500_000, pattern=r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"),
    AfterValidator(_is_base64),
]
"""Bytes, as JSON can have them."""
ExecutorKey = Annotated[
    str,
    Field(
        max_length=200,
        pattern=r"^[1-9A-HJ-NP-Za-km-z]{1,64}/[A-Za-z0-9._-]{1,128}$",
        examples=["5F3sa2TJAWMqDhXG6jhV4N8ko9SxwGy8TpaNS1repo5EYjQX/3f0e1a52"],
    ),
]
"""The miner's hotkey and the machine's own name."""


def usd(micro_usd: int) -> str:
    """Micro-USD as a decimal: exact, without an exponent."""
    sign, whole = "-" if micro_usd < 0 else "", abs(micro_usd)
    return f"{sign}{whole // 1_000_000}.{whole % 1_000_000:06}"
