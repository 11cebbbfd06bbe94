"""The price file: ours reads whole, and a user's own is refused with the key that does not fit."""

from datetime import UTC, datetime

import pytest

from storage.records import RATE, TOKEN
from tasks.edges.prices import load_book
from tasks.errors import SettingError
from tasks.inspection.models import MODELS, PriceSource, find
from tasks.policy import DEFAULT
from tasks.pricing.book import book_of

TOKENS = "[tokens]\ntao_usd = 200\nalpha_tao = 0.001\n"


def test_our_file_has_a_number_for_everything():
    """Both tokens and every model of the table; models without a published rate have the table's, and say so."""

    quotes = load_book(None).quotes()

    assert {q.name for q in quotes if q.kind == TOKEN} == {"tao_usd", "alpha_tao"}
    assert [q.name for q in quotes if q.kind == RATE] == [model.name for model in MODELS]
    assert {q.as_of for q in quotes} == {datetime(2026, 6, 29, tzinfo=UTC)}


def test_our_file_and_the_table_of_models_agree():
    """The file lists exactly the models whose price in the table is published, with that price."""

    published = {
        model.name: model.base_price_usd_per_hour
        for model in MODELS
        if model.price_source is PriceSource.LIUM
    }

    assert dict(load_book(None).rates_usd_per_hour) == published


def test_the_policy_names_models_of_the_table():
    """Every base portion belongs to a model that the table knows."""

    names = {model.name for model in MODELS}

    assert {name for name, _ in DEFAULT.pricing.base_portions} <= names
    assert find("NVIDIA H100 80GB HBM3").name in names


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("as_of = ", "price file is 'x', expected TOML"),
        (TOKENS, "as_of is 'None', expected a date"),
        ("as_of = 2026-01-01\n", "tokens.tao_usd is 'missing', expected a price"),
        ("as_of = 2026-01-01\n" + TOKENS + "[rates]\n", "rates is 'here', expected one of as_of"),
        (
            "as_of = 2026-01-01\n[tokens]\ntao_usd = 0\nalpha_tao = 1\n",
            "tokens.tao_usd is '0', expected a number",
        ),
        ("as_of = 2026-01-01\n[tokens]\ntao_usd = nan\n", "tokens.tao_usd is 'nan'"),
        ("as_of = 2026-01-01\n[tokens]\ntao_usd = true\n", "tokens.tao_usd is 'True'"),
        ("as_of = 2026-01-01\n" + TOKENS + "usdt = 1\n", "tokens.usdt is 'here', expected a name of ours"),
        ("as_of = 2026-01-01\n" + TOKENS + "[rates_usd_per_hour]\n'H 200' = 1\n", "H 200 is 'here'"),
        ("as_of = 2026-01-01\n" + TOKENS + "[rates_usd_per_hour]\nH200 = 1000\n", "H200 is '1000', expected"),
        ("a = " + "[" * 10_000, "expected TOML"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_key(text, told):
    """The key, what stands there and what was expected."""

    with pytest.raises(SettingError) as caught:
        book_of(text, "x")

    assert told in str(caught.value)


def test_a_file_that_is_no_file_is_a_users_mistake(tmp_path):
    """Missing, a folder, no UTF-8, too large: one sentence each."""

    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"#" * 300_000)

    for name in ("missing", "", "bytes", "large"):
        with pytest.raises(SettingError, match="SUBNET_PRICE_FILE"):
            load_book(tmp_path / name)
