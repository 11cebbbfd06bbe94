"""The miner's config file: what fits is a record, what does not is one sentence."""

import base64

import pytest

from tasks.edges import wire
from tasks.errors import SettingError
from tasks.offering.config import load_config, parse_config

BLOB = base64.b64encode(b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + bytes(range(32))).decode()
ENTRY = {
    "id": '"rack1-a"',
    "address": '"203.0.113.7"',
    "port": "22",
    "user": '"subnet"',
    "python": '"/usr/bin/python3"',
    "host_key": f'"ssh-ed25519 {BLOB} root@rack1"',
    "authorized_keys": '"/home/subnet/.ssh/authorized_keys"',
    "price_usd_per_hour": "1.5",
}


def toml(head="", *entries):
    blocks = [
        "[[executor]]\n" + "\n".join(f"{k} = {v}" for k, v in entry.items()) for entry in entries or [ENTRY]
    ]
    return "\n".join([head, *blocks])


def test_a_whole_file(tmp_path):
    """Every key ends in its field: TAO become rao, a host key file's text becomes its base64."""

    path = tmp_path / "miner.toml"
    path.write_text(toml("max_grant_s = 1200\nmin_validator_stake_tao = 2.5\nallowed_validators = []"))
    config = load_config(path)

    executor = config.executors[0]
    assert (config.max_grant_s, config.min_validator_stake_rao, config.allowed_validators) == (
        1200,
        2_500_000_000,
        frozenset(),
    )
    assert executor.offer.model_dump() == {
        "executor_id": "rack1-a",
        "address": "203.0.113.7",
        "port": 22,
        "user": "subnet",
        "python": "/usr/bin/python3",
        "host_key": BLOB,
        "price_usd_per_hour": 1.5,
    }
    assert str(executor.authorized_keys) == "/home/subnet/.ssh/authorized_keys"


def test_certificates_need_no_keys_file():
    """Where a CA is named, executors may do without a keys file; where none is, each needs its own."""

    bare = {k: v for k, v in ENTRY.items() if k != "authorized_keys"}
    config = parse_config(toml('ssh_ca = "/etc/subnet/ca"\nssh_session = "/usr/lib/subnet/session"', bare))

    assert (str(config.ssh_ca), config.ssh_session) == ("/etc/subnet/ca", "/usr/lib/subnet/session")
    assert config.executors[0].authorized_keys is None


def test_what_leases_may():
    """A user of their own goes with certificates; where no rentals are wanted every machine says that it is paused."""

    bare = {k: v for k, v in ENTRY.items() if k != "authorized_keys"} | {"rent_user": '"subnet-rent"'}
    config = parse_config(toml('ssh_ca = "/etc/subnet/ca"\nmax_leases = 3\nrentals = false', bare))

    assert (config.rentals, config.max_leases) == (False, 3)
    assert (config.executors[0].rent_user, config.executors[0].offer.paused_from) == ("subnet-rent", 0)
    with pytest.raises(SettingError, match="only certificates"):
        parse_config(toml("", ENTRY | {"rent_user": '"subnet-rent"'}))


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"id": '"Rack 1"'}, "executor.0.id"),
        ({"address": '"rack1.example"'}, "executor.0.address"),
        ({"address": '"fe80::1%eth0"'}, "executor.0.address"),
        ({"port": "0"}, "executor.0.port"),
        ({"port": '"22"'}, "executor.0.port"),
        ({"port": "65536"}, "executor.0.port"),
        ({"user": '"root; rm"'}, "executor.0.user"),
        ({"python": '"python3"'}, "executor.0.python"),
        ({"python": '"/usr/bin/python3 -c"'}, "executor.0.python"),
        ({"host_key": '"ssh-rsa AAAA"'}, "executor.0.host_key"),
        ({"host_key": f'"{BLOB[:-4]}"'}, "executor.0.host_key"),
        ({"authorized_keys": '"~/.ssh/authorized_keys"'}, "executor.0.authorized_keys"),
        ({"price_usd_per_hour": "nan"}, "executor.0.price_usd_per_hour"),
        ({"price_usd_per_hour": "-1"}, "executor.0.price_usd_per_hour"),
        ({"price_usd_per_hour": "1000.5"}, "executor.0.price_usd_per_hour"),
        ({"colour": '"red"'}, "executor.0.colour"),
        ({"min_cards": "0"}, "executor.0.min_cards"),
        ({"paused_from": "2026-11-26"}, "executor.0.paused_from"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_misfit_is_named(changed, key):
    """The first thing that does not fit is named with its key, its value and what was expected."""

    with pytest.raises(SettingError) as caught:
        parse_config(toml("", {**ENTRY, **changed}))

    assert caught.value.key == key
    assert caught.value.expected


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("", "executor"),
        ("executor = 1", "executor"),
        ("executor = []", "executor"),
        ("[[executor]", "miner config"),
        (toml("max_grant_s = 999"), "max_grant_s"),
        (toml('allowed_validators = ["bob"]'), "allowed_validators.0"),
        (toml("", ENTRY, ENTRY), "executor.id"),
        (toml("", ENTRY, {**ENTRY, "id": '"b"'}), "executor.address"),
        (toml("", {k: v for k, v in ENTRY.items() if k != "port"}), "executor.0.port"),
        (toml("", {k: v for k, v in ENTRY.items() if k != "authorized_keys"}), "executor.0.authorized_keys"),
        (toml('ssh_session = "/bin/x"'), "ssh_session"),
        (toml('ssh_ca = "/ca"\nssh_session = "/bin/x; rm"'), "ssh_session"),
        (toml('ssh_ca = "ca"'), "ssh_ca"),
    ],
    ids=[
        *("empty", "number", "none", "no toml", "grant", "hotkey", "id twice", "place twice", "missing"),
        *("no way in", "session alone", "session with more", "ca with no path"),
    ],
)
def test_a_wrong_file_is_named(text, key):
    """A file as a whole that does not fit says where."""

    with pytest.raises(SettingError) as caught:
        parse_config(text)

    assert caught.value.key == key


def test_unreadable_files_are_named(tmp_path):
    """A file that is missing, no text or huge is the user's mistake, not a traceback."""

    binary, huge = tmp_path / "binary", tmp_path / "huge"
    binary.write_bytes(b"\xff\xfe")
    huge.write_bytes(b"#" * (1024 * 1024 + 1))
    said = []
    for path in (tmp_path / "missing", binary, huge, tmp_path):
        with pytest.raises(SettingError) as caught:
            load_config(path)
        said.append(caught.value.expected)

    assert said == [
        "a readable file (No such file or directory)",
        "UTF-8 text",
        "at most 1048576 bytes",
        "a readable file (Is a directory)",
    ]


def test_terms_of_leases_are_told_only_where_they_say_anything():
    """A validator that knows of neither pause nor fewest cards reads every answer but that of a miner that uses them."""
    bare = parse_config(toml("", ENTRY)).executors[0].offer
    paused = (
        parse_config(toml("", {**ENTRY, "paused_from": "1790000000", "min_cards": "4"})).executors[0].offer
    )

    assert "paused_from" not in bare.model_dump_json()
    assert "min_cards" not in bare.model_dump_json()
    assert wire.Offer.model_validate_json(paused.model_dump_json()) == paused
    assert (paused.paused_from, paused.min_cards) == (1_790_000_000, 4)
