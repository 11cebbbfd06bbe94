"""Memory is bounded while another validator's files are read."""

import resource

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deployments.memory import at_most
from storage.errors import HistoryDamaged
from storage.history import read_scores, write_epoch
from tasks.errors import UserError
from tests.storage.outcomes import small_outcome

LIMIT = 256 << 20


def test_a_file_that_unfolds_to_gigabytes_is_damage(tmp_path):
    """One text of 8 MiB, named by 2,000 rows, takes less than 1 MiB in the file and 16 GiB in memory: it is refused."""
    write_epoch(tmp_path, small_outcome(1))
    (path,) = (tmp_path / "scores").glob("day=*/epoch-1.parquet")
    table = pq.ParquetFile(path).read()
    rows = table.take(pa.array([0] * 2_000))
    texts = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(2_000, dtype="int32")), pa.array(["a" * (8 << 20)])
    )
    bomb = rows.set_column(rows.column_names.index("model"), "model", texts)
    pq.write_table(
        bomb.replace_schema_metadata(table.schema.metadata), path, dictionary_pagesize_limit=64 << 20
    )
    before = resource.getrlimit(resource.RLIMIT_DATA)
    assert path.stat().st_size < 1 << 20

    with pytest.raises(HistoryDamaged, match="malloc of size"), at_most(LIMIT):
        read_scores(tmp_path, 1)

    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_what_takes_too_much_elsewhere_is_a_sentence():
    """Rows as Python's objects may be too many as well."""
    with pytest.raises(UserError, match=r"more than 0\.2 GiB of memory"), at_most(LIMIT):
        bytearray(8 * LIMIT)
