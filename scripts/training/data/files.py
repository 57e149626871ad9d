"""The data files before Spark sees them: do they exist, are they text, what is their header, what is their digest.

Plain Python on the first bytes, so that an unusable file fails within a second and not after a Spark session.
"""

from __future__ import annotations

import csv
import glob
import hashlib
import logging
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from training.config import Data
from training.errors import SourceError

log = logging.getLogger(__name__)
csv.field_size_limit(2**31 - 1)  # a long text is told as what it is, by its column, and not as a fault of the reader

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
NO_CSV = {  # first bytes of what is often given in place of UTF-8 text: what it is, and what to do
    b"PK\x03\x04": ("an Excel file (or another zip archive)", "Save it as 'CSV UTF-8' in the spreadsheet program."),
    b"\xd0\xcf\x11\xe0": ("an old Excel file", "Save it as 'CSV UTF-8' in the spreadsheet program."),
    b"PAR1": ("a Parquet file", "Give it a name that ends in .parquet."),
    b"\x1f\x8b": ("a gzip archive", "Unpack it: gunzip."),
    b"\xff\xfe": ("UTF-16 text", "Convert it: iconv -f utf-16 -t utf-8 '{file}' > converted.csv"),
    b"\xfe\xff": ("UTF-16 text", "Convert it: iconv -f utf-16 -t utf-8 '{file}' > converted.csv"),
}


@dataclass(frozen=True)
class Source:
    """Files of one table.

    `columns` are the header's names in order (empty for Parquet, which carries its own); `digest` is the SHA-256
    of the content, whatever the files are called.
    """

    files: tuple[Path, ...]
    format: str
    separator: str
    columns: tuple[str, ...]
    digest: str
    synthetic: bool

    @property
    def name(self) -> str:
        return str(self.files[0]) if len(self.files) == 1 else f"{self.files[0].parent} ({len(self.files)} files)"


def find(data: Data, quiet: bool = False) -> Source:
    """Finds and opens the table that `data` names, or its sample while the source is absent. Raises SourceError.

    Says in the log which it is, unless `quiet`.
    """
    files = _files(data.source)
    if not files and data.sample:
        files = _files(data.sample)
    if not files:
        raise SourceError(
            f"{data.source}: no such file",
            "Name your file in pipeline.yaml (data.source), or with --data (pipeline.py score: --input).",
        )
    sample = Path(data.sample).resolve() if data.sample else None
    synthetic = any(file.resolve() == sample for file in files)
    digest = _digest(files)
    if not quiet:
        log.info("data: %s, SHA-256 %s", files[0], digest[:16])
    if synthetic and not quiet:
        log.warning("%s is not there: this is the SYNTHETIC sample. `make data` fetches the real set", data.source)
    if all(file.suffix == ".parquet" for file in files):
        for file in files:
            _check_parquet(file)
        return Source(files, "parquet", "", (), digest, synthetic)
    headers = {file: _header(file) for file in files}
    first = files[0]
    for file, header in headers.items():
        if header != headers[first]:
            raise SourceError(
                f"{file}: header differs from that of {first}",
                "Files of one glob must share their columns and separator.",
            )
    columns, separator = headers[first]
    return Source(files, "csv", separator, columns, digest, synthetic)


def check_rows(source: Source) -> None:
    """Raises SourceError for the first line that has not one cell for each column.

    Spark would fill a short line up and cut a long one off, and take a line break within quotes for the row's end.
    """
    wanted, separator = len(source.columns), source.separator
    for file in source.files if source.format == "csv" else ():
        with file.open(encoding="utf-8-sig") as stream:
            for number, line in enumerate(stream, 1):
                plain = '"' not in line
                found = line.count(separator) + 1 if plain else len(next(csv.reader([line], delimiter=separator)))
                if found != wanted and line.strip():
                    raise SourceError(
                        f"{file}: line {number}: expected {wanted} cells, as many as columns, found {found}",
                        f"A cell with a {SEPARATORS[separator]} in it stands in double quotes; line breaks do not fit.",
                    )


def locate(source: Source, column: str, cell: str) -> tuple[Path, int | None]:
    """File and line of the first cell of `column` that reads `cell`; no line where the files are not text."""
    for file in source.files if source.format == "csv" else ():
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter=source.separator)
            position = [name.strip() for name in next(reader)].index(column)
            for row in reader:
                if len(row) > position and row[position].strip(" ") == cell:
                    return file, reader.line_num
    return source.files[0], None


def identifier(name: str) -> str:
    """The name by which a feature is known in the graph and in JSON: "fixed acidity" -> "fixed_acidity"."""
    return "".join(character if character.isalnum() and character.isascii() else "_" for character in name)


def _files(pattern: str) -> tuple[Path, ...]:
    path = Path(pattern)
    if path.is_dir():
        raise SourceError(
            f"{path}: expected a file, found a folder",
            f"Name a file, or a glob such as '{path}/*.csv'.",
        )
    found = [path] if path.is_file() else [Path(name) for name in sorted(glob.glob(pattern))]  # noqa: PTH207  # pathlib has no absolute globs
    return tuple(file for file in found if file.is_file())


def _digest(files: tuple[Path, ...]) -> str:
    """SHA-256 of the content; of the sorted digests where there are several files."""
    digests = []
    for file in files:
        with file.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()


def _header(file: Path) -> tuple[tuple[str, ...], str]:
    """Column names and separator of a CSV file, whose whole text must be UTF-8 (a byte order mark is accepted)."""
    _check_text(file)
    with file.open(encoding="utf-8-sig", newline="") as stream:
        line = stream.readline()
        has_rows = any(text.strip() for text in stream)
    if not line.strip() and has_rows:
        raise SourceError(f"{file}: line 1: expected the names of the columns, found nothing", "Remove the empty line.")
    if not line.strip():
        raise SourceError(
            f"{file}: the file is empty", "Expected a header line with column names, then one line per row."
        )
    separator = max(SEPARATORS, key=re.sub('"[^"]*"', "", line).count)
    names = tuple(name.strip() for name in next(csv.reader([line], delimiter=separator)))
    if len(names) < 2:
        looked_for = ", ".join(SEPARATORS.values())
        raise SourceError(
            f"{file}: line 1: expected at least two columns, found one: {names[0][:80]!r}",
            f"Separate columns by one of: {looked_for}.",
        )
    if unnamed := [index for index, name in enumerate(names, 1) if not name]:
        raise SourceError(
            f"{file}: line 1: column {unnamed[0]} has no name",
            "Name every column in the header; pandas leaves its own index out with to_csv(..., index=False).",
        )
    counts = Counter(name.casefold() for name in names)  # as Spark looks a name up
    if repeated := [name for name in names if counts[name.casefold()] > 1]:
        raise SourceError(
            f"{file}: line 1: column '{repeated[0]}' appears {counts[repeated[0].casefold()]} times, capitals or not",
            "Rename or remove the repeated column.",
        )
    if not has_rows:
        raise SourceError(f"{file}: a header and no rows", "Expected one line per row below the header.")
    return names, separator


def _check_parquet(file: Path) -> None:
    with file.open("rb") as stream:
        start = stream.read(4)
        stream.seek(-min(4, file.stat().st_size), os.SEEK_END)
        if start != b"PAR1" or stream.read() != b"PAR1":
            raise SourceError(
                f"{file}: expected a Parquet file, which begins and ends with PAR1, found {start!r} or another end",
                "Write it again; a table of text has a name that ends in .csv.",
            )


def _check_text(file: Path) -> None:
    with file.open("rb") as stream:
        start = stream.read(4)
        for mark, (what, hint) in NO_CSV.items():
            if start.startswith(mark):
                raise SourceError(f"{file}: expected UTF-8 text, found {what}", hint.format(file=file))
        stream.seek(0)
        for number, line in enumerate(stream, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise SourceError(
                    f"{file}: line {number}: expected UTF-8 text, found byte 0x{line[error.start]:02x}",
                    f"If it is Latin-1 (Excel's 'CSV'), convert it: iconv -f latin1 -t utf-8 '{file}' > converted.csv",
                ) from None
            if b"\0" in line:
                raise SourceError(f"{file}: line {number}: not a text file", "Expected CSV text or a .parquet file.")
