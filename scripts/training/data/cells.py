"""How a cell is read, and what the cells of each column look like: one pass over the table for all columns.

The contract carries `Reading`, so that serving, scoring and the monitor read a cell as training did.
"""

import pickle
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, reduce
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from training.config import Data
from training.data import parquet
from training.data.files import Source, rows_of
from training.data.spark import location, ship_code

SPACE = " \t\r\n\u00a0"  # trimmed from both ends of a cell
MINUS = "\u2212"  # the sign that typesetting uses in place of the hyphen
LARGEST = 3.4028234663852886e38  # float32, in which the model computes
MOST_TEXTS = 1000  # different texts of a column that are kept one by one; above, their number is estimated
TRUE = ("true", "t", "yes", "y", "on", "1")
FALSE = ("false", "f", "no", "n", "off", "0")
EXACT_NUMBERS = ("tinyint", "smallint", "int", "bigint", "double")  # types whose text, read as a double, is the number


@dataclass(frozen=True)
class Reading:
    """Words that mean "no value" (whatever their case) besides the empty cell, and how numbers are written."""

    missing: tuple[str, ...]
    decimal: str = "."
    thousands: str = ""

    @classmethod
    def of(cls, data: Data) -> Self:
        return cls(tuple(sorted({word.strip(SPACE).lower() for word in data.missing})), data.decimal, data.thousands)

    @property
    def number(self) -> str:
        """The regular expression of a number, for Python, RE2 and Java alike."""
        point, whole = re.escape(self.decimal), "[0-9]+"
        if self.thousands:
            whole = f"(?:[0-9]{{1,3}}(?:{re.escape(self.thousands)}[0-9]{{3}})+|[0-9]+)"
        return f"^[+{MINUS}-]?(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?$"

    def text(self, cell: Column, words: bool = True) -> Column:
        """The trimmed text of a cell; null where it is empty or, with `words`, one of the missing words."""
        trimmed = F.btrim(cell.cast("string"), F.lit(SPACE))
        words_too = ("", *self.missing) if words else ("",)
        return F.when(~F.lower(trimmed).isin(*words_too), trimmed)

    def value(self, text: Column, checked: bool = False) -> Column:
        """The double that a trimmed text stands for, null where it is no number; `checked` texts are all numbers."""
        # What has no counterpart is removed.
        plain = F.translate(text, f"{MINUS}{self.decimal}{self.thousands}", "-.").try_cast("double")
        return plain if checked else F.when(text.rlike(self.number), plain)

    def values(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """The same of texts that are all numbers."""
        table = str.maketrans({MINUS: "-", self.decimal: ".", **({self.thousands: ""} if self.thousands else {})})
        return np.array([text.translate(table) for text in texts], dtype=object).astype(np.float64)


_SIGN, _GAPS, _QUOTES, _DASH = f"[+{MINUS}-]?", "\u00a0\u202f\u2009 ", "'\u2019_", "\u2013"
_AMOUNT = rf"{_SIGN}(?:[1-9]\d{{0,2}}(?:[,.{_QUOTES}{_GAPS}]\d{{2,3}})+(?:[.,]\d+)?|\d+(?:[.,]\d*)?|[.,]\d+)"
_CODES = (
    "USD|EUR|GBP|CHF|JPY|CNY|INR|BRL|CAD|AUD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|RON|RUB|UAH|TRY|ZAR|MXN|KRW|SGD|HKD|THB|IDR|"
    r"MYR|PHP|ILS|AED|SAR|EGP|NGN|KES|\p{Lu}{0,3}\p{Sc}"
)
_BEFORE, _BEHIND = rf"(?:{_CODES}|kr\.?|Rs\.?)", rf"(?:{_CODES}|kr\.?|zł|Kč|Ft|lei|руб\.?|р\.|元|円|원)"
_PART = r"\d+\s?(?:d|days?|h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?)"


@cache
def shapes(decimal: str) -> dict[str, str]:
    """Of texts that are no numbers by a `Reading`, what they look like, as regular expressions of RE2: the first that
    fits counts. Numbers have this decimal sign."""
    point, comma = (".", ",") if decimal == "." else (",", ".")
    threes = "|".join(rf"(?:[{signs}]\d{{3}})+" for signs in (comma, _QUOTES, _GAPS))
    return {
        "infinite": "^[+-]?(?i:inf|infinity)$",
        "groups of two": rf"^{_SIGN}\d{{1,2}}(?:,\d\d)+,\d{{3}}(?:\.\d+)?$",
        "thousands": rf"^{_SIGN}[1-9]\d{{0,2}}(?:(?:{threes})(?:[{point}]\d+)?|(?:[{point}]\d{{3}}){{2,}})$",
        "other decimal": rf"^{_SIGN}(?:\d+|\d{{1,3}}(?:[{point}{_QUOTES}{_GAPS}]\d{{3}})+)[{comma}]\d+"
        r"(?:[eE][+-]?\d+)?$",
        "currency": rf"^\(?{_SIGN}{_BEFORE}\s?{_AMOUNT}\)?$|^\(?{_AMOUNT}\s?{_BEHIND}\)?$|^{_AMOUNT},[{_DASH}-]+$",
        "minus": rf"^(?:\({_AMOUNT}\)|{_AMOUNT}[{MINUS}-]|{_DASH}{_AMOUNT})$",
        "percent": rf"^{_AMOUNT}\s?[%‰]$|^%\s?{_AMOUNT}$",
        "hexadecimal": "^0[xX][0-9A-Fa-f]+$",
        "time of day": r"^(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:[.,]\d+)?)?(?:\s?[AaPp]\.?[Mm]\.?)?$",
        "duration": rf"^\d+(?: days?,?)?[ :]\d?\d:[0-5]\d(?::[0-5]\d)?(?:\.\d+)?$|^\d+:[0-5]\d(?::[0-5]\d)?(?:\.\d+)?$"
        rf"|^{_PART}(?:,?\s?{_PART})+$|^P(?:\d+[YMWD])*T(?:\d+(?:\.\d+)?[HMS])+$",
        "unit": rf"^{_AMOUNT}(?:\s[\p{{L}}/°²³]{{1,12}}|[\p{{L}}/]{{2,12}}[²³]?|\s?°[CFK]?|[cdkm]?m[23²³]|[kM]"
        r"|[\"′″])$",
    }


_DAY, _MONTH, _YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])", r"(?:1[5-9]|20|21)\d\d"
_TIMES = {"": ("", ""), " %H:%M": (" H:mm", r" \d{1,2}:\d\d"), " %H:%M:%S": (" H:mm:ss", r" \d{1,2}:\d\d:\d\d")}
_DATES = {
    "%d.%m.%Y": ("d.M.yyyy", rf"{_DAY}\.{_MONTH}\.{_YEAR}"),
    "%d/%m/%Y": ("d/M/yyyy", rf"{_DAY}/{_MONTH}/{_YEAR}"),
    "%m/%d/%Y": ("M/d/yyyy", rf"{_MONTH}/{_DAY}/{_YEAR}"),
    "%Y/%m/%d": ("yyyy/M/d", rf"{_YEAR}/{_MONTH}/{_DAY}"),
    "%d-%m-%Y": ("d-M-yyyy", rf"{_DAY}-{_MONTH}-{_YEAR}"),
}
COMPACT_DATE = "%Y%m%d"
_COMPACT = r"^(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])$"
_ISO = (
    r"^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
    r"(?:[T ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:\d\d)?)?$"
)
FORMATS = {"iso": ("", _ISO)} | {  # format: Java's pattern, the regular expression
    date + time: (java + java_time, f"^{shape}{time_shape}$")
    for date, (java, shape) in _DATES.items()
    for time, (java_time, time_shape) in _TIMES.items()
}
_WORD = r"\p{L}{3,12}\.?"
# Dates in other forms: 5 Jan 2024, January 5, 2024, 5. März 24, 1/31/24, 1/31/2024 10:15 AM, 2024-1-5, 2024年1月5日
_OTHER_DATE = (
    rf"^(?:\p{{L}}{{2,9}}[.,]*\s)?(?:{_DAY}\.?[\s./-]+(?:de )?{_WORD},?[\s./-]+(?:de )?(?:{_YEAR}|\d\d)|"
    rf"{_WORD}\s{_DAY}(?:st|nd|rd|th)?,?\s{_YEAR}|{_YEAR}[-/.]\s?{_MONTH}[-/.]\s?{_DAY}\.?|"
    rf"{_DAY}[./-]{_MONTH}[./-]{_YEAR}|{_MONTH}/{_DAY}/{_YEAR}|{_DAY}[/-]{_MONTH}[/-]\d\d|{_MONTH}[/-]{_DAY}[/-]\d\d|"
    rf"\d\d\.\d\d\.\d\d|{_YEAR}年{_MONTH}月{_DAY}日|(?:19|20)\d{{6}})(?:\sг\.?|[T ,]+\d.*)?$"
)
_PERIOD = (
    rf"^(?:{_YEAR}[-/ ]?(?:{_MONTH}|[QWM]\d\d?)|{_MONTH}[/-]{_YEAR}|Q[1-4][-/ ]{_YEAR}|\p{{L}}{{3,12}}\.?[- ]{_YEAR})$"
)
_JAVA = {COMPACT_DATE: "yyyyMMdd"} | {form: java for form, (java, _) in FORMATS.items()}


@dataclass
class Summary:
    """What the cells of one column hold. `examples` are the first cell of each shape and date format, "text" for any
    other, "number" for a number and "wrong" for one out of bounds; `texts` counts each different text,
    up to about MOST_TEXTS."""

    empty: int = 0
    words: Counter[str] = field(default_factory=Counter)
    numbers: int = 0
    whole: int = 0
    padded: int = 0  # numbers such as 00123
    compact: int = 0  # numbers that are dates: 20240131
    wrong: int = 0
    low: float = np.inf
    high: float = -np.inf
    shapes: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    timed: int = 0  # dates with a time of the day
    nines: Counter[str] = field(default_factory=Counter)  # -999 and the like
    furthest: float = 0.0  # from zero, of all other numbers
    examples: dict[str, str] = field(default_factory=dict)
    texts: Counter[str] = field(default_factory=Counter)
    many: bool = False
    smallest: np.ndarray[Any, Any] = field(default_factory=lambda: np.array([], dtype=np.uint64))

    @property
    def present(self) -> int:
        return self.numbers + self.shapes.total()

    @property
    def missing(self) -> int:
        return self.empty + self.words.total()

    @property
    def distinct(self) -> int:
        """Different values: exact up to MOST_TEXTS, then estimated from the smallest hashes (Bar-Yossef 2002)."""
        if not self.many:
            return len(self.texts)
        return min(self.present, int((MOST_TEXTS - 1) * 2.0**64 / float(self.smallest[-1])))

    def merge(self, other: Self) -> None:
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.furthest = max(self.furthest, other.furthest)
        self.many = self.many or other.many
        self.examples = other.examples | self.examples
        self._remember(other.smallest)
        counts = (
            "empty",
            "words",
            "numbers",
            "whole",
            "padded",
            "compact",
            "wrong",
            "shapes",
            "formats",
            "timed",
            "nines",
        )
        for name in counts:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self._count(other.texts)

    def _count(self, texts: Mapping[str, int]) -> None:
        if not self.many:
            self.texts.update(texts)
            self.many = len(self.texts) > MOST_TEXTS

    def _remember(self, hashes: np.ndarray[Any, Any]) -> None:
        self.smallest = np.unique(np.concatenate([self.smallest, hashes]))[:MOST_TEXTS]

    def add(self, cells: pa.Array, reading: Reading, labels: bool, bounds: tuple[float, float]) -> None:
        """Counts the texts of one batch. A label is missing only where it is empty."""
        self.empty += cells.null_count
        counted = pc.value_counts(pc.utf8_trim(cells.drop_null(), SPACE))
        texts, counts = counted.field("values"), counted.field("counts").to_numpy(zero_copy_only=False)
        gone = np.zeros(len(texts), dtype=bool)
        if reading.missing and not labels:
            gone = _true(pc.is_in(pc.utf8_lower(texts), pa.array(reading.missing)))
        empty = _true(pc.equal(texts, ""))
        self.empty += int(counts[empty].sum())
        for place in np.flatnonzero(gone & ~empty):
            self.words[texts[place].as_py()] += int(counts[place])
        kept = ~(gone | empty)
        texts, counts = texts.filter(pa.array(kept)), counts[kept]
        numeric = _matches(texts, reading.number)
        if numeric.any():
            self._numbers(texts.filter(pa.array(numeric)), counts[numeric], reading, bounds)
        if not numeric.all():
            self._shapes(texts.filter(pa.array(~numeric)), counts[~numeric], reading)
        values = texts.to_pylist()
        self._remember(pd.util.hash_array(np.array(values, dtype=object)))
        self._count(dict(zip(values, counts.tolist(), strict=True)))

    def _numbers(self, texts: pa.Array, counts: Any, reading: Reading, bounds: tuple[float, float]) -> None:
        words = texts.to_pylist()
        values = reading.values(words)
        self.numbers += int(counts.sum())
        self.whole += int(counts[values == np.floor(values)].sum())
        self.compact += int(counts[_real(texts, _matches(texts, _COMPACT), COMPACT_DATE)].sum())
        self.examples.setdefault("number", words[0])
        nines = _matches(texts, rf"^[{MINUS}-]?9+(?:[.,]0*)?$")
        for place in np.flatnonzero(nines):
            self.nines[words[place]] += int(counts[place])
        self.furthest = max(self.furthest, float(np.abs(values[~nines]).max(initial=0.0)))
        if (padded := _matches(texts, r"^0\d+$")).any():
            self.padded += int(counts[padded].sum())
            self.examples.setdefault("padded", words[int(np.argmax(padded))])
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        if (wrong := ~((values >= bounds[0]) & (values <= bounds[1]))).any():
            self.wrong += int(counts[wrong].sum())
            self.examples.setdefault("wrong", words[int(np.argmax(wrong))])

    def _shapes(self, texts: pa.Array, counts: Any, reading: Reading) -> None:
        left = np.ones(len(texts), dtype=bool)
        for shape, pattern in shapes(reading.decimal).items():
            found = left & _matches(texts, pattern)
            self._note(self.shapes, shape, texts, counts, found)
            left &= ~found
        dated = np.zeros(len(texts), dtype=bool)
        for name, (_, pattern) in FORMATS.items():
            found = _real(texts, left & _matches(texts, pattern), name)
            self._note(self.formats, name, texts, counts, found)
            dated |= found
        self.timed += int(counts[dated & _true(pc.match_substring(texts, ":"))].sum())
        self._note(self.shapes, "date", texts, counts, dated)
        left &= ~dated
        for shape, pattern in (("other date", _OTHER_DATE), ("period", _PERIOD)):
            found = left & _matches(texts, pattern)
            self._note(self.shapes, shape, texts, counts, found)
            left &= ~found
        self._note(self.shapes, "text", texts, counts, left)

    def _note(self, into: Counter[str], name: str, texts: pa.Array, counts: Any, found: np.ndarray[Any, Any]) -> None:
        if found.any():
            into[name] += int(counts[found].sum())
            self.examples.setdefault(name, texts[int(np.argmax(found))].as_py())


def _with_cells(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The rows that have a cell: spreadsheets leave others below a table."""
    if not all(column.null_count for column in batch.columns):
        return batch
    return batch.filter(pc.invert(reduce(pc.and_, map(pc.is_null, batch.columns))))


def is_date(text: str, form: str) -> bool:
    """Whether a text has the form, one of FORMATS, and the calendar has its day: no 30th of February."""
    return re.search(FORMATS[form][1], text) is not None and _exists(text, form)


def _exists(text: str, form: str) -> bool:
    try:
        _ = datetime.fromisoformat(text[:10]) if form == "iso" else datetime.strptime(text, form)
    except ValueError:
        return False
    return True


def _real(texts: pa.Array, found: np.ndarray[Any, Any], form: str) -> np.ndarray[Any, Any]:
    """Of the found texts, which have the form, those whose day the calendar has."""
    doubtful = np.flatnonzero(found & _matches(texts, "29|30|31"))
    found[doubtful] = [_exists(text, form) for text in texts.take(pa.array(doubtful)).to_pylist()]
    return found


def _matches(texts: pa.Array, pattern: str) -> np.ndarray[Any, Any]:
    return _true(pc.match_substring_regex(texts, pattern))


def _true(mask: Any) -> np.ndarray[Any, Any]:
    return np.asarray(mask.to_numpy(zero_copy_only=False), dtype=bool)


def boolean(text: Column, true: Sequence[str] = TRUE, false: Sequence[str] = FALSE) -> Column:
    """1 or 0, null where the text is no word for either."""
    word = F.lower(text)
    return F.when(word.isin(*map(str.casefold, true)), 1.0).when(word.isin(*map(str.casefold, false)), 0.0)


def date(text: Column, form: str) -> dict[str, Column]:
    """The parts of a date, null where the text is none of the format; without a zone it is UTC."""
    if form == "iso":
        shape = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?( ?(Z|[+-]\d\d(:?\d\d)?))?)?$"
        plain = F.translate(F.regexp_replace(text, " (?=Z|[+-])", ""), ",", ".")
        # Spark wants seconds before a zone, and a colon in it.
        plain = F.regexp_replace(plain, r"([T ]\d\d:\d\d)(?=$|Z|[+-])", "$1:00")
        plain = F.regexp_replace(plain, r"(:\d\d[.\d]*[+-]\d\d)(\d\d)$", "$1:$2")
        moment = F.when(text.rlike(shape), plain.try_cast("timestamp"))
    else:
        shape = re.sub("%(.)", lambda found: r"\d{4}" if found[1] == "Y" else r"\d{1,2}", re.escape(form))
        moment = F.when(text.rlike(f"^{shape}$"), F.try_to_timestamp(text, F.lit(_JAVA[form])))
    micros = F.unix_micros(moment)
    second = (micros - F.pmod(micros, F.lit(1_000_000))) / 1_000_000  # Spark's own rounds towards 1970
    days = F.floor(second / 86400)
    parts = {"days": days, "month": F.month(moment), "weekday": F.weekday(moment), "seconds": second - days * 86400}
    return {part: value.cast("double") for part, value in parts.items()}


@dataclass(frozen=True)
class Cells:
    """The columns of a table as it is read, and which are numbers by their type; all others are text."""

    table: DataFrame
    typed: frozenset[str]
    reading: Reading

    def text(self, name: str, words: bool = True) -> Column:
        return self.reading.text(F.col(f"`{name}`"), words)

    def number(self, name: str, summary: Summary | None) -> Column:
        """As double; `summary` is that of a column which the survey found to hold numbers only."""
        if name in self.typed:
            cell = F.col(f"`{name}`")
            return F.when(~F.isnan(cell.cast("double")), cell.cast("double"))
        if summary is None or summary.words or self.reading.decimal != "." or self.reading.thousands:
            return self.reading.value(self.text(name), checked=summary is not None)
        # The cast trims spaces itself. One text for Spark to parse: calls to it add up over a thousand columns.
        return F.expr(f"try_cast(translate(`{name}`, '{MINUS}\u00a0', '- ') AS double)")


def read(spark: SparkSession, source: Source, malformed: str | None = None) -> DataFrame:
    """The rows as they are: cells of CSV and of spreadsheets as text, columns of Parquet as they are typed.

    With `malformed`, a column of that name holds the line of a CSV row that has too few or too many cells.
    """
    files = [location(file) for file in source.files]
    if source.format == "parquet":
        table = spark.read.parquet(*files)
        types, times = dict(table.dtypes), parquet.nanosecond_times(source.files[0])
        times = [name for name in times if types[name] == "bigint"]  # not those of INT96, which Spark itself writes
        return table.withColumns({name: F.expr(f"timestamp_micros(`{name}` div 1000)") for name in times})
    names = [*source.columns, malformed] if malformed else source.columns
    schema = T.StructType([T.StructField(name, T.StringType()) for name in names])
    if source.format == "xlsx":
        rows = [cells for _, _, cells in rows_of(source)]
        frame = pd.DataFrame(rows, columns=list(source.columns), dtype=object)
        return spark.createDataFrame(frame.assign(**{malformed: None}) if malformed else frame, schema)
    options: dict[str, Any] = {"sep": source.separator, "header": True, "quote": '"', "escape": '"'}
    return spark.read.csv(files, schema, multiLine=source.multiline, columnNameOfCorruptRecord=malformed, **options)


def survey(
    cells: Cells, names: list[str], labels: str | None, ranges: Mapping[str, tuple[float, float]]
) -> dict[str, Summary]:
    """What each column holds, from one pass over the table in Python: its cost grows with the cells, and not, as that
    of Spark's expressions does, with the square of the columns. `labels` names the target of classification."""
    reading, typed = cells.reading, cells.typed
    ship_code(cells.table.sparkSession)

    def summarize(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        found = [Summary() for _ in names]
        for batch in map(_with_cells, batches):
            for name, summary, column in zip(names, found, batch.columns, strict=True):
                own = Reading(("nan",)) if name in typed else reading
                summary.add(column, own, name == labels, ranges.get(name, (-LARGEST, LARGEST)))
        yield pa.RecordBatch.from_pydict({"summaries": pa.array([pickle.dumps(found)], pa.binary())})

    # By their places: Spark takes a point in a name for a path where a function of Python's is to get the column.
    text = cells.table.selectExpr(*[f"CAST(`{name}` AS string) AS c{i}" for i, name in enumerate(names)])
    whole = {name: Summary() for name in names}
    for row in text.mapInArrow(summarize, "summaries binary").collect():
        for name, summary in zip(names, pickle.loads(row["summaries"]), strict=True):  # noqa: S301  # our own
            whole[name].merge(summary)
    return whole
