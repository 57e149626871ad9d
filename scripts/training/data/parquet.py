"""Parquet files before Spark sees them: whether it can read them, and which columns it reads as something else."""

import os
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from training.errors import SourceError


def check(file: Path) -> None:
    """Raises SourceError for what is no Parquet file, and for a column of a type that Spark reads no file with."""
    with file.open("rb") as stream:
        start = stream.read(4)
        stream.seek(-min(4, file.stat().st_size), os.SEEK_END)
        if start != b"PAR1" or stream.read() != b"PAR1":
            raise SourceError(
                f"{file}: expected a Parquet file, which begins and ends with PAR1, found {start!r} or another end",
                "Write it again; a table of text has a name that ends in .csv.",
            )
    for field in _fields(file):
        if pa.types.is_time(field.type) or pa.types.is_float16(field.type):
            raise SourceError(
                f"{file}: column '{field.name}': expected numbers, text, dates or truth values, found {field.type}",
                "Write the column as text or as float32, or leave it out of the file.",
            )


def nanosecond_times(file: Path) -> list[str]:
    """The columns with times in nanoseconds, which pandas writes. Spark reads them as whole numbers."""
    return [one.name for one in _fields(file) if pa.types.is_timestamp(one.type) and one.type.unit == "ns"]


def unfit(file: Path) -> dict[str, pa.DataType]:
    """Columns that Spark reads, but not as one value a cell (lists, structs, maps) or not as what they are (durations:
    it takes them for whole numbers)."""
    fields = _fields(file)
    return {one.name: one.type for one in fields if pa.types.is_nested(one.type) or pa.types.is_duration(one.type)}


def _fields(file: Path) -> pa.Schema:
    try:
        return parquet.read_schema(file)
    except pa.ArrowInvalid as error:
        raise SourceError(f"{file}: the Parquet file is damaged: {error}", "Write it again.") from error
