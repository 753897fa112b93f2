"""CSV, TSV, JSONL and Parquet files, read by Hugging Face `datasets` into memory-mapped Arrow tables."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.errors import DataError, permitted
from headstart.data.tables import ArrowTable
from headstart.store.home import cache_dir

if TYPE_CHECKING:
    import datasets

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")

# pandas' own list also has words such as "None" and "null", which are names of classes often enough.
_MISSING = ["", "NA", "N/A", "NaN", "nan"]


MOST_AT_ONCE = 1 << 30
"""Bytes of a CSV file that are looked at as a whole, to tell what its columns hold."""


@permitted()
def open_table(path: Path) -> ArrowTable:
    """Open a table file.

    Raises
    ------
    DataError
        If it cannot be parsed, or is empty.
    """
    import datasets

    if not path.is_file():
        raise DataError(f"There is no file {path}.", "Check the path.")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty.", "Give a table with a header line and rows.")
    if path.suffix.lower() != ".parquet":
        _check_encoding(path)
    try:
        with _quiet_library():
            table = _read(path, str(cache_dir() / "tables"))
    except (datasets.exceptions.DatasetsError, OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
        # The library has no data set without rows.
        if "corresponds to no data" in reason[0]:
            raise _no_rows(path) from None
        raise DataError(
            f"{path} cannot be read as {path.suffix[1:].upper()}: {reason[0].rstrip('.')}.", "Check the file."
        ) from error
    if not len(table):
        raise _no_rows(path)
    return ArrowTable(table)


def _no_rows(path: Path) -> DataError:
    return DataError(f"{path} has no rows.", "Give a table with a header line and rows.")


def _check_encoding(path: Path) -> None:
    """Refuse a text file that is not UTF-8, naming the line; the library would only name a byte of a block."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path}, line {number} is not UTF-8 (byte 0x{line[error.start]:02x}).",
                    "Save the file as UTF-8 (iconv -f latin1 -t utf-8, or 'CSV UTF-8' in a spreadsheet program).",
                ) from None


def _read(path: Path, cache: str) -> datasets.Dataset:
    import datasets

    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _read_separated(path, cache)
    if suffix == ".parquet":
        return datasets.Dataset.from_parquet(str(path), cache_dir=cache)
    return datasets.Dataset.from_json(str(path), cache_dir=cache)


def separator_of(path: Path) -> str:
    """What stands between the cells of a CSV or TSV file."""
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _read_separated(path: Path, cache: str) -> datasets.Dataset:
    """Read a CSV or TSV file; the type of a column is that of all its cells.

    The library (and pandas, for the sake of memory) would find it out anew for every few thousand rows: then a column
    that begins empty or with whole numbers may hold nothing else later, and 007 becomes 7 in the rows where all are
    digits.
    """
    from datasets.packaged_modules.csv.csv import Csv, CsvConfig

    # A file that would fill the memory is read in pieces all the same: what its columns are must hold from the start.
    whole = {"chunksize": None, "low_memory": False} if path.stat().st_size <= MOST_AT_ONCE else {}

    class WholeConfig(CsvConfig):
        @property
        def pd_read_csv_kwargs(self) -> dict[str, Any]:
            return {**super().pd_read_csv_kwargs, **whole}

    class WholeCsv(Csv):
        BUILDER_CONFIG_CLASS = WholeConfig

    builder = WholeCsv(
        cache_dir=cache,
        data_files={"train": [str(path)]},
        sep=separator_of(path),
        keep_default_na=False,
        na_values=_MISSING,
        encoding="utf-8-sig",
    )
    builder.download_and_prepare()
    return builder.as_dataset(split="train")


@contextmanager
def _quiet_library() -> Iterator[None]:
    """No progress bars and no log lines of the library while it reads; errors come as exceptions anyway."""
    import datasets

    bars = not datasets.are_progress_bars_disabled()
    logger = logging.getLogger("datasets")
    level = logger.level
    datasets.disable_progress_bars()
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        if bars:
            datasets.enable_progress_bars()
