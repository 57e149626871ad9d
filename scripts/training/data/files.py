"""The data files before Spark sees them: do they exist, are they tables, what is their header, what is their digest.
A table at an address becomes files first (`snapshots`).

Plain Python, so that an unusable file fails within a second and not after a Spark session.
"""

import csv
import glob
import gzip
import hashlib
import io
import logging
import re
import statistics
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

from python_calamine import CalamineError, CalamineWorkbook

from training.config import Data, is_address
from training.data import parquet, snapshots
from training.data.header import NUMBER, SEPARATORS, check_names, difference
from training.errors import SourceError

log = logging.getLogger(__name__)
csv.field_size_limit(2**31 - 1)  # so that a long text is reported by its column, and not as a fault of the reader

FORMATS = {".csv": "csv", ".csv.gz": "csv", ".txt": "csv", ".tsv": "csv", ".parquet": "parquet", ".xlsx": "xlsx"}
SHEET = "#"  # file.xlsx#Sheet
MOST_COLUMNS = 20_000  # that Spark reads from a line
LOOKED_AT = 50  # lines at the top of a file, for its header
_CONVERT = "Convert it: iconv -f {} -t utf-8 '{{file}}' > converted.csv".format
# First bytes of what is often given in place of UTF-8 text, as a regular expression: what it is, and what to do.
NO_CSV = {
    rb"PK\x03\x04": (
        "an Excel file or another zip archive",
        "If it is an Excel file, give it a name that ends in .xlsx, or save it as CSV; otherwise unpack it: unzip.",
    ),
    rb"\xd0\xcf\x11\xe0": ("an old Excel file", "Save it as .xlsx or 'CSV UTF-8' in the spreadsheet program."),
    rb"PAR1": ("a Parquet file", "Give it a name that ends in .parquet."),
    rb"\x1f\x8b": ("a gzip archive", "Give it a name that ends in .csv.gz, or unpack it: gunzip."),
    rb"BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc": ("a packed file", "Unpack it; of packed files, .csv.gz is read."),
    rb"\xff\xfe\0\0|\0\0\xfe\xff": ("UTF-32 text", _CONVERT("utf-32")),
    rb"\xff\xfe|\xfe\xff": ("UTF-16 text", _CONVERT("utf-16")),
    rb"[^\0]\0[^\0]\0": ("UTF-16 text", _CONVERT("utf-16le")),
    rb"\0[^\0]\0[^\0]": ("UTF-16 text", _CONVERT("utf-16be")),
    rb"(?i)\s*<(!doctype|html|\?xml)": ("a page of the web (HTML) or XML", "Download the file itself, as CSV."),
    rb'\s*(\{\s*"|\[\s*[\[{])': ("JSON", "Write the table as CSV: pandas.read_json(...).to_csv(..., index=False)."),
    rb"version https://git-lfs": ("a pointer of Git LFS in place of the file", "Fetch the file itself: git lfs pull."),
}


@dataclass(frozen=True)
class Source:
    """Files of one table.

    `columns` are the header's names in order (empty for Parquet, which carries its own); `multiline` says that a cell
    may hold a line break; `digest` is the SHA-256 of the content, whatever the files are called; `origin` is the
    address that they were copied from, if there is one.
    """

    files: tuple[Path, ...]
    format: str
    separator: str
    columns: tuple[str, ...]
    digest: str
    synthetic: bool
    multiline: bool = False
    sheet: str = ""
    origin: str = ""

    @property
    def name(self) -> str:
        if self.origin:
            return self.origin
        return str(self.files[0]) if len(self.files) == 1 else f"{self.files[0].parent} ({len(self.files)} files)"


def find(data: Data, quiet: bool = False, renew: bool = True) -> Source:
    """Opens the table that `data` names, or its sample while the source is absent, and logs which, unless `quiet`.

    What is at an address is copied; unless `renew`, the last copy is used. Raises SourceError, SourceAway.
    """
    files, sheet, known = _files(data.source, renew)
    if not files and data.sample:
        files, sheet, known = _files(data.sample, renew)
    if not files:
        raise SourceError(
            f"{data.place}: no such file",
            "Name your file in data.source, from the folder of the pipeline's own file on, or with --data (score: "
            "--input), from where you are.",
        )
    sample = Path(data.sample).resolve() if data.sample else None
    synthetic = any(file.resolve() == sample for file in files)
    content = digest(files, known)
    if not quiet:
        log.info("data: %s, SHA-256 %s", ", ".join(map(str, files)), content[:16])
    if synthetic and not quiet:
        log.warning("%s is not there: this is the SYNTHETIC sample. `make data` fetches the real set", data.place)
    form = _format(files[0])
    for file in files:
        if file.name.startswith(("_", ".")) and form != "xlsx":
            raise SourceError(
                f"{file}: its name begins with {file.name[0]}: Spark skips such files", "Rename the file."
            )
        if _format(file) != form:
            raise SourceError(f"{file}: expected {form}, as {files[0]} is", "Files of one table have the same format.")
    headers = [_header(file, form, sheet) for file in files]
    columns, separator, _ = headers[0]
    for file, (other, sign, _) in zip(files, headers, strict=True):
        if (other, sign) != (columns, separator):
            how = difference(columns, other) or f"separated by {SEPARATORS[sign]}, not {SEPARATORS[separator]}"
            hint = "Files of one table share their columns, in one order, and their separator."
            raise SourceError(f"{file}: header differs from that of {files[0]}: {how}", hint)
    multiline = any(odd for *_, odd in headers)
    origin = snapshots.shown(data.place) if is_address(data.source) else ""
    return Source(files, form, separator, columns, content, synthetic, multiline, sheet, origin)


def rows_of(source: Source) -> Iterator[tuple[Path, int, list[str]]]:
    """File, line and cells of each row of text or of a spreadsheet."""
    for file in source.files if source.format != "parquet" else ():
        if source.format == "xlsx":
            yield from ((file, number, cells) for number, cells in islice(_sheet_rows(file, source.sheet), 1, None))
            continue
        with _text(file) as stream:
            reader = csv.reader(stream, delimiter=source.separator, strict=True)
            begin = 1
            try:
                for row, cells in enumerate(reader):
                    if row:
                        yield file, reader.line_num, cells
                    begin = reader.line_num + 1
            except csv.Error:  # Spark and the prediction service would read such a row in ways of their own
                raise SourceError(
                    f"{file}: line {begin}: a cell begins with a double quote, and the quote that closes it is missing "
                    "or has text behind it",
                    "A double quote inside a quoted cell is written twice (not with a backslash).",
                ) from None


def alone(data: Data, renew: bool = True) -> Data:
    """`data` for a source that is not the configured one and stands for itself: no sample in its place, segment and
    units only of its columns."""
    data = data.model_copy(update={"sample": data.sample if data.source == data.sample else None})
    columns = find(data, quiet=True, renew=renew).columns
    if not columns:
        return data
    units = {name: data.units[name] for name in columns if name in data.units}
    segment = data.segment if data.segment in columns else None
    if segment != data.segment:
        log.warning("%s has no column '%s': groups are not judged", data.source, data.segment)
    return data.model_copy(update={"segment": segment, "units": units})


def check_rows(source: Source) -> None:
    """Raises SourceError for the first line that has not one cell for each column.

    Spark would fill a short line up and cut a long one off.
    """
    wanted, names = len(source.columns), list(source.columns)
    for file, number, cells in rows_of(source) if source.format == "csv" else ():
        if len(cells) != wanted and "".join(cells).strip():
            raise SourceError(
                f"{file}: line {number}: expected {wanted} cells, as many as columns, found {len(cells)}",
                _advice(source, file, number, cells),
            )
        if cells and cells[0].strip() == names[0] and [cell.strip() for cell in cells] == names:
            raise SourceError(
                f"{file}: line {number}: expected a row, found the names of the columns again",
                "Remove the line. (Files that were put together keep one header.)",
            )


def _advice(source: Source, file: Path, number: int, cells: list[str]) -> str:
    """What to do about a line of a wrong number of cells."""
    separator, wanted = SEPARATORS[source.separator], len(source.columns)
    with _text(file) as stream:
        below = [len(row) for row in islice(csv.reader(stream, delimiter=source.separator), 1, 50) if "".join(row)]
    if number <= LOOKED_AT and statistics.mode(below) == len(cells):  # the header is the odd one
        if start := _header_below(file, source.separator):
            return f"Line {start} looks like the header: remove what stands above it."
        if len(cells) == wanted + 1:
            more = f"end in a {separator}" if not cells[-1] else "begin with a name or a number of their own"
            quoted = f" A cell with a {separator} in it stands in double quotes." if cells[-1] else ""
            return f"Do the rows {more}? Remove it, or name its column in line 1.{quoted}"
        return "The rows have other cells than the header: correct line 1."
    if len(cells) > wanted:
        return f"A cell with a {separator} or a line break in it stands in double quotes."
    return (
        f"Where a value is not known, leave its cell empty, between two separators ({separator}). Totals, notes and "
        "further tables below the rows are removed."
    )


def _header_below(file: Path, separator: str) -> int | None:
    """The line that looks like the header, where a title or notes stand above it: the first of words alone that has as
    many cells as most lines have."""
    with _text(file) as stream:
        reader = csv.reader(stream, delimiter=separator)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in islice(reader, LOOKED_AT)]
    full = [(line, row) for line, row in rows if len(row) > 1 and all(row)]
    if not full:
        return None
    usual = statistics.mode(len(row) for _, row in full)
    line, row = next((line, row) for line, row in full if len(row) == usual)
    return None if line == 1 or any(map(NUMBER.fullmatch, row)) else line


def locate(source: Source, wanted: Mapping[str, str], space: str) -> dict[str, tuple[Path, int]]:
    """File and line of the first cell of each column that reads as `wanted` says; nothing for Parquet."""
    found: dict[str, tuple[Path, int]] = {}
    places = {name: source.columns.index(name) for name in wanted if name in source.columns}
    for file, line, cells in rows_of(source) if places else ():
        for name, place in places.items():
            if name not in found and len(cells) > place and cells[place].strip(space) == wanted[name]:
                found[name] = (file, line)
        if len(found) == len(places):
            break
    return found


def identifier(name: str) -> str:
    """The name by which a feature is known in the graph and in JSON: "fixed acidity" -> "fixed_acidity".

    Letters of every script are kept. A symbol outside ASCII becomes its code, so that two emoji stay two names.
    """
    return "".join(_plain(character) for character in unicodedata.normalize("NFC", name))


def _plain(character: str) -> str:
    if unicodedata.category(character)[0] in "LMN":
        return character
    return "_" if character.isascii() or character.isspace() else f"u{ord(character):x}"


def _files(place: str | list[str], renew: bool) -> tuple[tuple[Path, ...], str, dict[Path, str]]:
    """The files that a path, a glob, a folder, an address or a list of them names, the sheet, and the digests that are
    known already."""
    found: list[Path] = []
    known: dict[Path, str] = {}
    absent, sheet = "", ""
    for pattern in [place] if isinstance(place, str) else place:
        if is_address(pattern):
            folder = snapshots.take(pattern, renew)
            own = sorted(folder.iterdir())
            known |= {file: folder.name for file in own if len(own) == 1}
            found += own
            continue
        path = Path(pattern)
        if not path.exists() and (named := re.fullmatch(rf"(.*\.xlsx){SHEET}(.*)", pattern)):
            path, sheet = Path(named[1]), named[2]
        if path.is_dir():
            own = sorted(file for file in path.iterdir() if suffix(file) in FORMATS and not file.name.startswith("."))
            if not own:
                raise SourceError(f"{path}: the folder holds no table", f"Expected files such as {', '.join(FORMATS)}.")
        else:
            names = [str(path)] if path.is_file() else sorted(glob.glob(str(path)))  # noqa: PTH207  # absolute ones too
            own = [Path(name) for name in names if Path(name).is_file()]
        absent = absent or ("" if own else str(path))
        found += own
    if found and absent:
        raise SourceError(f"{absent}: no such file", "Take it out of data.source, or provide it.")
    return tuple(found), sheet, known


def suffix(file: Path) -> str:
    return ".csv.gz" if file.name.endswith(".csv.gz") else file.suffix.lower()


def _format(file: Path) -> str:
    return FORMATS.get(suffix(file), "csv")


def digest(files: Sequence[Path], known: Mapping[Path, str]) -> str:
    """SHA-256 of the content; of the sorted digests where there are several files. Those in `known` are not read."""
    digests = []
    for file in files:
        if file in known:
            digests.append(known[file])
            continue
        with file.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()


def _open(file: Path) -> IO[bytes]:
    return gzip.open(file) if file.name.endswith(".gz") else file.open("rb")  # type: ignore[return-value]


def _text(file: Path) -> io.TextIOWrapper:
    """A byte that is no UTF-8 becomes a lone surrogate."""
    return io.TextIOWrapper(_open(file), encoding="utf-8-sig", errors="surrogateescape", newline="")


def _sheet_rows(file: Path, sheet: str) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of the rows of a sheet (by default the first), as a CSV file would hold them; no empty ones."""
    try:
        book = CalamineWorkbook.from_path(str(file))
    except (CalamineError, OSError) as error:
        raise SourceError(f"{file}: expected an .xlsx workbook ({error})", "Save it again, or as CSV UTF-8.") from None
    if sheet and sheet not in book.sheet_names:
        names = ", ".join(book.sheet_names)
        raise SourceError(f"{file}: no sheet '{sheet}', found: {names}", f"Name one of them: {file.name}{SHEET}SHEET.")
    cells = book.get_sheet_by_name(sheet or book.sheet_names[0])
    first, _ = cells.start or (0, 0)
    for number, row in enumerate(cells.to_python(), first + 1):
        if any(cell != "" for cell in row):
            yield number, [_cell(value) for value in row]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _header(file: Path, form: str, sheet: str) -> tuple[tuple[str, ...], str, bool]:
    """Column names and separator (of a CSV file), and whether a quoted cell may hold a line break."""
    separator, multiline = "", False
    if form == "parquet":
        parquet.check(file)
        return (), separator, multiline
    if form == "xlsx":
        _, cells = next(_sheet_rows(file, sheet), (1, []))
    else:
        line, multiline = _first_line(file)
        separator = max(SEPARATORS, key=re.sub('"[^"]*"', "", line).count)
        cells = next(csv.reader(io.StringIO(line, newline=""), delimiter=separator))
    names = tuple(map(str.strip, cells))
    if len(names) > MOST_COLUMNS:
        hint = "Keep the columns that the model needs, or turn the table: one line per row, one column per feature."
        raise SourceError(f"{file}: expected at most {MOST_COLUMNS:,} columns, found {len(names):,}", hint)
    try:
        check_names(file, names, separator)
    except SourceError as error:
        starts = [start for sign in SEPARATORS if form == "csv" and (start := _header_below(file, sign))]
        if not starts or 2 * len(list(filter(None, names))) > len(names) > 1:
            raise
        raise SourceError(
            error.message, f"Line {starts[0]} looks like the header: remove what stands above it."
        ) from None
    return names, separator, multiline


def _first_line(file: Path) -> tuple[str, bool]:
    """The header of a CSV file, which is text and has rows below it; and whether a line has an odd number of quotes, so
    that a cell may go on in the next. Raises SourceError."""
    header, has_rows, odd = "", False, False
    try:
        with _open(file) as stream:
            start = stream.read(64).removeprefix(b"\xef\xbb\xbf")
        for mark, (what, hint) in NO_CSV.items():
            if re.match(mark, start):
                raise SourceError(f"{file}: expected UTF-8 text, found {what}", hint.format(file=file))
        with _text(file) as lines:
            for number, line in enumerate(lines, 1):
                _check_text(file, number, line)
                if number == 1 or (number <= LOOKED_AT and header.count('"') % 2):  # a name over several lines
                    header += line
                else:
                    has_rows = has_rows or not line.isspace()
                odd = odd or line.count('"') % 2 == 1
    except (gzip.BadGzipFile, EOFError) as error:
        raise SourceError(f"{file}: expected a gzip archive ({error})", "Pack it again: gzip FILE.csv.") from None
    if not header.strip() and not has_rows:
        raise SourceError(
            f"{file}: the file is empty", "Expected a header line with column names, then one line per row."
        )
    found = "nothing" if not header.strip() else ""
    if re.fullmatch(r'"?sep=.?"?\s*', header):
        found = f"Excel's note on the separator: {header.strip()[:80]!r}"
    elif header.startswith("#") and not any(map(header.count, SEPARATORS)):
        found = f"a comment: {header.strip()[:80]!r}"
    if found:
        hint = "Remove the line, and others like it: the file begins with its header."
        raise SourceError(f"{file}: line 1: expected the names of the columns, found {found}", hint)
    if not has_rows:
        raise SourceError(f"{file}: a header and no rows", "Expected one line per row below the header.")
    return header, odd


def _check_text(file: Path, number: int, line: str) -> None:
    if not line.isascii() and (wrong := re.search("[\udc80-\udcff]", line)):
        raise SourceError(
            f"{file}: line {number}: expected UTF-8 text, found byte 0x{ord(wrong[0]) - 0xDC00:02x}",
            f"If it is Western European (Excel's 'CSV'), convert: iconv -f cp1252 -t utf-8 '{file}' > converted.csv. "
            "Other languages have other encodings (cp1251, shift_jis, gb18030).",
        )
    if "\0" in line:
        raise SourceError(f"{file}: line {number}: not a text file", "Expected CSV text or a .parquet file.")
