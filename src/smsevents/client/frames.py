"""DataFrames of pandas and polars, made of Arrow tables. Needs pyarrow, and pandas or polars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smsevents.client.arrow import SCHEMA, SOURCE_TYPES
from smsevents.client.errors import missing_extra
from smsevents.wire.events import STATUSES

import pyarrow as pa  # isort: skip -- after arrow.py, which says what to install if pyarrow is missing

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    import polars as pl


def check_pandas() -> None:
    """Raise `MissingExtra` if pandas is not installed."""
    try:
        import pandas as pd  # noqa: F401, PLC0415 -- an extra
    except ImportError as error:
        raise missing_extra("`to_pandas` needs pandas", "pandas") from error


def check_polars() -> None:
    """Raise `MissingExtra` if polars is not installed."""
    try:
        import polars as pl  # noqa: F401, PLC0415 -- an extra
    except ImportError as error:
        raise missing_extra("`to_polars` needs polars", "polars") from error


def pandas_of(batches: Iterable[pa.RecordBatch]) -> pd.DataFrame:
    """Return all rows of batches of SCHEMA as a pandas DataFrame.

    `status` and `source_type` are categories, times are `datetime64[ms, UTC]`, texts are pandas' `str`.
    """
    table = pa.Table.from_batches(batches, SCHEMA)
    # the table is not used afterwards, so each column is freed once it is converted
    frame: pd.DataFrame = table.to_pandas(split_blocks=True, self_destruct=True)
    return frame


def polars_of(batches: Iterable[pa.RecordBatch]) -> pl.DataFrame:
    """Return all rows of batches of SCHEMA as a polars DataFrame.

    `status` and `source_type` are `Enum`, times are `Datetime("ms", "UTC")`, texts are `String`.
    """
    import polars as pl  # noqa: PLC0415 -- an extra

    frame = pl.DataFrame(pa.Table.from_batches(batches, SCHEMA))
    return frame.with_columns(
        pl.col("status").cast(pl.Enum(STATUSES)), pl.col("source_type").cast(pl.Enum(SOURCE_TYPES))
    )
