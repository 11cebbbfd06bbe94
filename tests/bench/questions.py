"""Five of the questions of docs/history.md, and the same in SQLite's SQL over tables of the columns that they need."""

from __future__ import annotations

import re
from dataclasses import dataclass

from storage.describe import PAGE


@dataclass(frozen=True)
class Question:
    """One question in both dialects."""

    title: str
    sql: str
    sqlite: str


COLUMNS = {
    "scores": ("day", "executor_key", "miner_hotkey", "model", "card_count", "uptime", "passed", "score"),
    "executors": ("day", "executor_key", "price_usd_per_hour"),
    "proofs": ("day", "executor_key", "passed", "bandwidth_gb_s"),
    "weights": ("day", "kind", "hotkey", "weight"),
}
"""Of SQLite's tables; the reasons of scores are a table of their own, as one would do it there."""

_PAY = """
select model, count(distinct executor_key) as machines, round(sum(score) / sum(card_count), 4),
    round(sum(score) / (select sum(score) from scores where score > 0), 4) as share
from scores where score > 0 group by model order by share desc
"""

_CHECKS = """
select code, severity, is_shadow, count(*) as times, count(distinct executor_key),
    round(count(*) * 1.0 / (select count(*) from scores), 4)
from reasons group by code, severity, is_shadow order by times desc
"""

_PRICES = """
with paid as (select day, executor_key, avg(price_usd_per_hour) as usd from executors group by day, executor_key),
proved as (select day, executor_key, avg(bandwidth_gb_s) as y from proofs where passed group by day, executor_key),
listed as (
    select day, executor_key, model, max(card_count) as cards from scores where card_count > 0
    group by day, executor_key, model
), both as (
    select model, usd / cards as x, y
    from listed join paid using (day, executor_key) join proved using (day, executor_key)
)
select model, count(*) as machine_days, round(avg(x), 4), round(avg(y), 1),
    round((avg(x * y) - avg(x) * avg(y))
        / nullif(sqrt(avg(x * x) - avg(x) * avg(x)) * sqrt(avg(y * y) - avg(y) * avg(y)), 0), 3)
from both group by model order by machine_days desc
"""

_EMISSION = """
with shares as (
    select day, hotkey, sum(weight) / sum(sum(weight)) over (partition by day) as share
    from weights where kind = 'meant' group by day, hotkey
), ranked as (select *, row_number() over (partition by day order by share desc) as place from shares)
select day, count(*), round(sum(share * share), 4), round(max(share), 4), round(sum(share) filter (where place <= 10), 4)
from ranked group by day order by day
"""

_UPTIME = """
select miner_hotkey, count(distinct executor_key), count(*) as looks, round(avg(passed), 4) as passed_, round(avg(uptime), 4)
from scores group by miner_hotkey order by passed_, looks desc
"""


def _on_the_page() -> list[tuple[str, str]]:
    text = PAGE.read_text(encoding="utf-8").partition("## Ten questions")[2]
    return re.findall(r"\*\*\d+\. ([^*]+)\*\*[^`]*```sql\n(.*?)```", text, re.DOTALL)


QUESTIONS = tuple(
    Question(title, sql, sqlite)
    for (title, sql), sqlite in zip(
        _on_the_page(), (_PAY, _CHECKS, _PRICES, _EMISSION, _UPTIME), strict=False
    )
)
"""The first five, in the page's order."""
