"""What goes over the wire: bounded, typed, the same as our records, and with examples that hold."""

import dataclasses
import json

import pytest
from pydantic import TypeAdapter, ValidationError

from deployments.marketplace import fields, models
from storage import rental

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti me@laptop"


def read(kind, value):
    """The value as a request's field of this kind."""
    return TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize("name", ["Wish", "Terms"])
def test_an_answer_has_every_field_of_its_record(name):
    """A field that a record gains is answered, or this fails."""
    record = {field.name for field in dataclasses.fields(getattr(rental, name))}

    assert set(getattr(models, name).model_fields) == record


def test_a_pod_is_answered_without_values():
    """Its record has none, and neither has the answer."""
    record = {field.name for field in dataclasses.fields(rental.Pod)}

    assert set(models.Pod.model_fields) == record
    assert models.Pod.model_fields["environment"].annotation == tuple[str, ...]


def test_unknown_fields_are_refused():
    """A typing mistake is told, not ignored."""
    with pytest.raises(ValidationError, match="card_cuont"):
        models.WishBody.model_validate({"card_cuont": 2})


@pytest.mark.parametrize("value", [True, "2", 2.5, -1, 1_025, 10**30, 1e300])
def test_numbers_are_numbers_within_bounds(value):
    """No text, no truth value, no fraction is a count; none is beyond its bounds."""
    with pytest.raises(ValidationError):
        models.WishBody.model_validate({"card_count": value})


def test_a_number_without_a_fraction_is_whole():
    """JSON has one kind of numbers."""
    assert models.WishBody.model_validate({"card_count": 2.0}).card_count == 2


@pytest.mark.parametrize(
    "value",
    [0, 1_790_000_000, "1790000000", "2026-08-01", "2026-08-01T12:00:00", "0001-01-01T00:00:00+23:00"],
)
def test_a_time_has_its_zone(value):
    """Nobody can tell what a number or a time without a zone means; nor one before there were years."""
    with pytest.raises(ValidationError):
        read(fields.Moment, value)


def test_a_time_is_kept_in_utc():
    """Whatever the zone that it was sent in."""
    moment = read(fields.Moment, "2026-08-01T14:00:00+02:00")

    assert moment.isoformat() == "2026-08-01T12:00:00+00:00"


def test_a_public_key_is_one_line_whose_parts_agree():
    """As in a .pub file, with its fingerprint as ssh-keygen shows it."""
    assert read(fields.PublicKey, KEY) == KEY
    assert fields.fingerprint_of(KEY).startswith("SHA256:")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ssh-ed25519",
        f'command="reboot" {KEY}',
        f"{KEY}\nssh-ed25519 AAAA",
        KEY.replace("ssh-ed25519", "ssh-rsa"),
        KEY.replace("AAAAC3", "AAAAC4"),
        "ssh-ed25519 " + "A" * 68,
        "ssh-dss AAAAB3NzaC1kc3MAAACBA" + "A" * 60,
    ],
)
def test_what_is_no_public_key_is_refused(line):
    """Options above all: a line of an authorized_keys file can run a command."""
    with pytest.raises(ValidationError):
        read(fields.PublicKey, line)


@pytest.mark.parametrize("value", ["a\0b", "\ud800", "a" * 65_537, 7, None, ["a"]])
def test_a_text_is_a_text_that_a_program_can_be_given(value):
    """No NUL, no half of a surrogate pair, 64 Ki characters at most."""
    with pytest.raises(ValidationError):
        read(fields.Text, value)


@pytest.mark.parametrize(
    "text", ["$(reboot)", "'; rm -rf /", "--privileged", "\n`id`\n", "ünï ☃", "a" * 65_536]
)
def test_a_text_may_be_any_other(text):
    """What no shell reads needs no cleaning: it is passed on as it is."""
    assert read(fields.Text, text) == text


@pytest.mark.parametrize("micro_usd", [0, 1, -1, 1_000_000, -2_500_001, 10**15])
def test_money_is_exact_as_text(micro_usd):
    """The decimal and the integer are the same, without an exponent."""
    whole, _, fraction = fields.usd(micro_usd).partition(".")

    assert len(fraction) == 6
    assert int(whole + fraction) == micro_usd


def test_every_example_holds():
    """What the OpenAPI shows would be taken."""
    kinds = [
        kind
        for kind in vars(models).values()
        if isinstance(kind, type) and issubclass(kind, fields.Model) and kind.__module__ == models.__name__
    ]
    checked = 0
    for kind in kinds:
        for name, field in kind.model_fields.items():
            for example in field.examples or ():
                read(field.rebuild_annotation(), example)
                checked += 1
                assert name

    assert checked > 30


def test_every_body_has_an_example_of_a_whole_request():
    """It is taken as it stands, so that whoever copies it has something that works."""
    bodies = {
        name: kind
        for name, kind in vars(models).items()
        if isinstance(kind, type)
        and issubclass(kind, fields.Model)
        and name.endswith(("Body", "Change"))
        and name not in PARTS
    }

    assert len(bodies) > 10
    for name, kind in bodies.items():
        examples = kind.model_json_schema().get("examples", ())
        assert examples, name
        for example in examples:
            assert kind.model_validate_json(json.dumps(example)), name


PARTS = {"WishBody", "PodBody", "PortBody", "MountBody", "RegistryBody", "TermsBody"}
"""These stand in bodies, and are none by themselves."""
