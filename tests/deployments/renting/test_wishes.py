"""From what is typed to what is asked for."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.renting.spec import Spec
from deployments.renting.wire import Offer
from deployments.renting.wishes import (
    checked_id,
    checked_name,
    environment_of,
    fitting,
    is_machine,
    mount_of,
    own_identity,
    port_of,
    size_of,
    with_options,
    words_of,
)
from tasks.errors import NothingFits, SettingError


def offer(key="5Miner/a", model="L4", cards=2, free=2, price=500_000, **changes):
    """A machine as the market tells it."""
    told = {
        "vram_gib": 24.0,
        "performance": 1.0,
        "performance_per_usd": 2.0,
        "reliability": 1.0,
        "region": "EU",
        **changes,
    }
    return Offer(key, model, card_count=cards, free_card_count=free, micro_usd_per_card_hour=price, **told)


def test_the_cheapest_that_fits_is_first():
    """By what the wanted cards cost together: of a whole machine all of them, of one card one."""

    offers = [offer("5A/a", cards=4, free=4, price=400_000), offer("5B/b", cards=1, free=1, price=500_000)]

    assert [o.executor_key for o in fitting(Spec(), offers)[1]] == ["5B/b", "5A/a"]
    assert [o.executor_key for o in fitting(Spec(count=1), offers)[1]] == ["5A/a", "5B/b"]


def test_a_whole_machine_is_free_or_it_is_not():
    """With one card held it can't be had as a whole."""

    held = [offer(cards=4, free=3)]

    assert fitting(Spec(count=3), held)[1] == held
    with pytest.raises(NothingFits, match="none has the cards free"):
        fitting(Spec(), held)


@pytest.mark.parametrize(
    "spec",
    [
        Spec(min_vram_gib=25.0),
        Spec(max_micro_usd_per_hour=999_999),
        Spec(region="US"),
        Spec(min_performance=1.1),
        Spec(min_reliability=1.1),
        Spec(count=3),
        Spec(machine="5B/b"),
    ],
)
def test_every_condition_counts(spec):
    """A machine that misses one of them does not fit."""

    assert fitting(Spec(max_micro_usd_per_hour=1_000_000, region="eu"), [offer()])[1]
    with pytest.raises(NothingFits):
        fitting(spec, [offer()])


def test_a_machine_is_meant_by_any_of_its_names():
    """The key, its own name, and the short form of the list."""

    key = "5F3sa2TJAWMqDhXG6jhV4N8ko9SxwGy8TpaNS1repo5EYjQX/rack1-a"

    assert all(is_machine(key, name) for name in (key, "rack1-a", "5F3s..YjQX/rack1-a"))
    assert not any(is_machine(key, name) for name in ("", "rack1", "5F3s..YjQX"))


def test_two_machines_of_one_name_are_asked_back():
    """With their keys."""

    with pytest.raises(SettingError, match="5A/a, 5B/a"):
        fitting(Spec(machine="a"), [offer("5A/a"), offer("5B/a")])


def test_options_and_spec_say_the_same_or_one_of_them_something():
    """Two different words for one thing are refused."""

    assert with_options(Spec(count=2), count=2, model="L4") == Spec(count=2, model="L4")
    with pytest.raises(SettingError):
        with_options(Spec(count=2), count=3)


def test_an_environment_comes_from_files_arguments_and_our_own(tmp_path):
    """The later word counts; a value may have any sign but a line's end."""

    (tmp_path / "env").write_text("# x\n A=1=2 \r\nB\n\nC=\n")
    found, exposed = environment_of(["A=3", "D_TOKEN=x"], [tmp_path / "env"], {"B": "$(id)"})

    assert found == {"A": "3", "B": "$(id)", "C": "", "D_TOKEN": "x"}
    assert exposed == ["D_TOKEN"]


@pytest.mark.parametrize("content", [b"\xff", b"A B=1\n", b"=1\n", b"A=" + b"x" * (1 << 20), b"A=\0"])
def test_a_file_that_is_no_environment_is_refused_unseen(tmp_path, content):
    """Its values are in no refusal."""

    (tmp_path / "env").write_bytes(content)

    with pytest.raises(SettingError) as refused:
        environment_of([], [tmp_path / "env"], {})
    assert "xxx" not in str(refused.value)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    """No text makes another error than the user's, and what passes is plain."""

    for read in (
        lambda: checked_name("k", text),
        lambda: checked_id("k", text),
        lambda: mount_of(text)["volume"],
    ):
        with contextlib.suppress(SettingError):
            assert not set(read()) & set("/?#%\\ .\n")
    for other in (
        lambda: size_of("k", text),
        lambda: port_of(text),
        lambda: words_of(text),
        lambda: environment_of([text], [], {}),
    ):
        with contextlib.suppress(SettingError):
            other()


def test_the_key_that_is_let_in_is_offered(tmp_path):
    """By what it is, not by its name or its comment; only where the private one lies beside it."""

    (tmp_path / ".ssh").mkdir()
    for name, blob in (("a", "AAAA"), ("b", "BBBB"), ("c", "CCCC")):
        (tmp_path / ".ssh" / f"{name}.pub").write_text(f"ssh-ed25519 {blob} me@{name}\n")
    (tmp_path / ".ssh" / "b").write_text("private")

    assert own_identity(tmp_path, ["ssh-ed25519 BBBB other"]) == str(tmp_path / ".ssh" / "b")
    assert own_identity(tmp_path, ["ssh-ed25519 CCCC", "ssh-ed25519 DDDD"]) is None
    assert own_identity(tmp_path / "nobody", ["ssh-ed25519 BBBB"]) is None


def test_a_machine_is_leased_from_its_fewest_cards_on():
    """One card of a machine that is leased by twos can't be had, two can, and the whole one."""

    by_twos = offer(cards=4, free=4, min_card_count=2)

    assert [by_twos.cards_for(wanted) for wanted in (0, 1, 2, 4)] == [4, 0, 2, 4]
