"""What a column is, and the one right advice on it: from its texts alone, without Spark."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from training.config import Config
from training.data import checks
from training.data.cells import LARGEST, Reading, Summary
from training.data.checks import Column, Findings
from training.data.files import Source, identifier
from training.errors import DataError, TableProblems

ROWS = 400
Texts = Sequence[str]


@dataclass(frozen=True)
class Seen:
    """What was found in a table, and what its columns are."""

    findings: Findings
    columns: dict[str, Column]

    def settled(self, name: str = "x") -> Column:
        """A column, where there is no complaint."""
        self.findings.settle()
        return self.columns[name]


Look = Callable[..., Seen]


def source(folder: Path, columns: dict[str, Texts]) -> Source:
    path = folder / "table.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return Source((path,), "csv", ",", tuple(columns), "", synthetic=False)


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Looks at a table with these columns of texts, one named x where there is one only, and a target of numbers."""

    def looking(given: Texts | dict[str, Texts], task: str = "regression", **data: object) -> Seen:
        columns = given if isinstance(given, dict) else {"x": given}
        columns = {**columns, "y": columns.get("y") or [f"{i}.5" for i in range(len(next(iter(columns.values()))))]}
        config = Config.model_validate({"name": "t", "data": {"source": "t.csv", "target": "y", "task": task, **data}})
        reading, findings = Reading.of(config.data), Findings(source(tmp_path, columns))
        summaries = {}
        for name, texts in columns.items():
            summaries[name] = Summary()
            labels = name == "y" and task == "classification"
            for part in (texts[:100], texts[100:]):
                other = Summary()
                other.add(pa.array(part, pa.string()), reading, labels, (-LARGEST, LARGEST))
                summaries[name].merge(other)
        return Seen(findings, checks.kinds(summaries, config, findings))

    return looking


def cells(form: str) -> list[str]:
    """As many cells as a table has rows; `i` counts them from 1, `d` the days of a month."""
    return [form.format(i=i + 1, d=i % 28 + 1) for i in range(ROWS)]


def with_one(texts: list[str], place: int, cell: str) -> list[str]:
    return [*texts[:place], cell, *texts[place + 1 :]]


DAYS = [str(pd.Timestamp("2000-01-01") + pd.Timedelta(days=i))[:10] for i in range(3000)]  # more than are kept
WITHOUT_THOUSANDS, WITHOUT_CURRENCY = "a number without thousands separators", "a number without a currency"
LIKE_A_DATE = "a date like 2024-01-31"


@pytest.mark.parametrize(
    ("texts", "row", "expected", "hint"),
    [
        (cells("{i},206"), 2, WITHOUT_THOUSANDS, "data.thousands"),
        (cells("1.{i:03}.000"), 2, WITHOUT_THOUSANDS, "data.thousands"),
        (cells("1 {i:03}"), 2, WITHOUT_THOUSANDS, "data.thousands"),
        (cells("1\u00a0{i:03}"), 2, WITHOUT_THOUSANDS, "data.thousands"),
        ([f"1,{i:03}" if i % 10 == 3 else str(i) for i in range(ROWS)], 5, WITHOUT_THOUSANDS, "data.thousands"),
        (cells("{i},5"), 2, "a number with a decimal point", "data.decimal: ','"),
        (cells("$1,{i:03}.00"), 2, WITHOUT_CURRENCY, "Remove the currency sign"),
        (cells("{i} EUR"), 2, WITHOUT_CURRENCY, "Remove the currency sign"),
        (cells("{i}.125%"), 2, "a number without %", "Remove the % sign"),
        (cells("{d}%"), 2, "a number without %", "Remove the % sign"),
        (cells("{i} kg"), 2, "a number without its unit", "data.units"),
        (cells("0x{i:x}"), 2, "a decimal number", "decimal numbers"),
        ([f"{i % 24}:{i % 60:02}" for i in range(ROWS)], 2, "a number", "as hours"),
        (with_one(cells("2024-01-{d:02}"), 7, "soon"), 9, LIKE_A_DATE, ""),
        (with_one(cells("2024-01-{d:02}"), 7, "1973"), 9, LIKE_A_DATE, ""),
        (with_one(cells("2024-01-{d:02}"), 7, "2024-02-30"), 9, LIKE_A_DATE, ""),
        (with_one(cells("2024-01-{d:02}"), 7, "31.12.2024"), 9, LIKE_A_DATE, ""),
        (with_one(DAYS, 2500, "31.12.2024"), 2502, LIKE_A_DATE, ""),
    ],
)
def test_what_is_written_otherwise_than_is_read_gets_its_advice(
    look: Look, texts: list[str], row: int, expected: str, hint: str
) -> None:
    with pytest.raises(DataError) as caught:
        look(texts).findings.settle()
    assert f"row {row}, column 'x': expected {expected}, found '{texts[row - 2]}'" in caught.value.message
    assert hint in caught.value.hint


def test_keys_name_the_decimal_comma_and_the_thousands(look: Look) -> None:
    texts = cells("-1.{i:03},25")
    assert look({"x": texts, "y": texts}, decimal=",", thousands=".").settled().kind == "number"


@pytest.mark.parametrize("cell", ["\u2212{d}", "+{d}.5", "{d}e-3", ".{d}", "{d}.", "\u00a0{d}\t"])
def test_numbers_as_people_write_them(look: Look, cell: str) -> None:
    assert look(cells(cell)).settled().kind == "number"


@pytest.mark.parametrize(
    ("texts", "form", "more"),
    [
        (cells("2024-01-{d:02}"), "iso", []),
        (cells("2024-01-{d:02}T10:00:00Z")[:200] + cells("2024-02-{d:02} 11:30:00")[:200], "iso", ["seconds"]),
        (cells("{d}.01.2024"), "%d.%m.%Y", []),
        (cells("01/{d}/2024 9:15"), "%m/%d/%Y %H:%M", ["seconds"]),
        (cells("202401{d:02}"), "%Y%m%d", []),
    ],
)
def test_dates_are_dates_however_few_or_many(look: Look, texts: list[str], form: str, more: list[str]) -> None:
    found = look(texts).settled()
    assert (found.kind, found.format, [*found.parts]) == ("date", form, ["days", "month", "weekday", *more])
    assert found.columns[0] == "x days"


def test_digits_are_a_date_only_where_the_calendar_has_it(look: Look) -> None:
    assert look(with_one(cells("202401{d:02}"), 7, "20240230")).settled().kind == "number"


def test_few_times_of_the_day_are_categories_with_a_warning(look: Look) -> None:
    found = look([f"{i % 4 + 8}:00" for i in range(ROWS)])
    assert (found.settled().kind, len(found.findings.warnings)) == ("category", 1)


@pytest.mark.parametrize("words", [["true", "TRUE", "False", "yes", "0", "1"], ["y", "n"], ["True", "False"]])
def test_booleans_in_any_spelling_are_one_feature(look: Look, words: list[str]) -> None:
    found = look([words[i % len(words)] for i in range(ROWS)])
    assert found.settled().kind == "boolean"
    assert bool(found.findings.warnings) == (len(words) > 2)


def test_zero_and_one_are_numbers_and_no_word_alone_is_a_boolean(look: Look) -> None:
    found = look({"x": [str(i % 2) for i in range(ROWS)], "z": ["yes"] * ROWS})
    assert [found.settled(name).kind for name in "xz"] == ["number", "category"]


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ([str(900000000 + i) for i in range(ROWS)], "looks like an identifier: of 400 different whole numbers"),
        (cells("C-{i:05}"), "looks like an identifier: expected at most"),
        (cells("a long text on thing {i} of many"), "looks like free text"),
    ],
)
def test_what_is_no_feature_is_refused(look: Look, texts: list[str], told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        look(texts).findings.settle()
    assert "data.ignore" in caught.value.hint


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["7"] * ROWS, "holds one value, '7'"),
        (["EU"] * ROWS, "holds one value, 'EU'"),
        ([str(i) for i in range(ROWS)], "looks like an identifier or a row number"),
        (cells("{d:05}"), "codes with leading zeros"),
        ([["red", "Red", "blue"][i % 3] for i in range(ROWS)], "categories differ in spelling only: Red = red"),
    ],
)
def test_what_is_doubtful_is_a_warning(look: Look, texts: list[str], told: str) -> None:
    found = look(texts)
    found.findings.settle()
    assert [told in warning for warning in found.findings.warnings] == [True]


def test_labels_that_differ_in_spelling_are_a_warning_and_words_are_labels(look: Look) -> None:
    labels = [["0", "0.0", "1", "none", ""][i % 5] for i in range(ROWS)]
    found = look({"x": cells("{i}.25"), "y": labels}, task="classification")
    found.findings.settle()
    assert found.findings.warnings == ["column 'y': labels differ in spelling only: 0 = 0.0"]


def test_words_that_counted_as_missing_are_named(look: Look) -> None:
    texts = [["none", "attached", "NA"][i % 3] for i in range(ROWS)]
    assert look(texts, missing=[]).findings.problems == []
    with pytest.raises(DataError, match=r"found 33% \('NA' counted as missing in 133 cells\)"):
        look(texts).findings.settle()


def test_all_complaints_come_at_once(look: Look) -> None:
    columns = {"price": cells("${i}"), "id": cells("C{i}"), "gone": [""] * ROWS}
    with pytest.raises(TableProblems) as caught:
        look(columns).findings.settle()
    named = [name for name in columns for problem in caught.value.problems if f"'{name}'" in problem.message]
    assert named == list(columns)
    assert len(caught.value.message.splitlines()) == 4


def test_the_number_of_different_texts_never_exceeds_the_rows() -> None:
    summary = Summary()
    for start in range(0, 7000, 1000):
        texts = pa.array([f"{i}-customer" for i in range(start, start + 1000)])
        summary.add(texts, Reading(()), labels=False, bounds=(0, 1))
    assert 6000 < summary.distinct <= 7000


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_column_that_gives_the_target_away_is_named(task: str) -> None:
    generator = np.random.default_rng(2)
    actual = generator.integers(0, 3, ROWS)
    frame = pd.DataFrame({"noise": generator.normal(size=ROWS), "y": actual})
    frame["copy"] = frame["y"].map({0: "dead", 1: "alive", 2: "lost"})
    frame["scaled"] = frame["y"] * 2.54 + generator.normal(0, 1e-3, ROWS)
    if task == "classification":
        frame["y"] = frame["y"].astype(str)
    features = {name: name for name in ("noise", "copy", "scaled")}
    assert set(checks.leaks(frame, features, "y", task == "classification")) == {"copy", "scaled"}


def test_dropping_may_not_make_another_population() -> None:
    assert "'yes' from 10% to 50%" in checks.moved({"yes": 1200, "no": 10800}, {"yes": 376, "no": 376})
    assert checks.moved({"yes": 1200, "no": 10800}, {"yes": 1000, "no": 9100}) == ""
    assert checks.moved_mean((5.82, 0.87), 5.80, 5300) == ""
    assert checks.moved_mean((5.82, 0.87), 5.5, 5300) == "the target's mean from 5.82 to 5.5"


def test_rare_labels_are_named(tmp_path: Path) -> None:
    findings = Findings(source(tmp_path, {"y": ["a"]}))
    checks.rare_labels("y", {"fraud": 2, "fine": 398}, {"fraud": 1, "fine": 280}, 3, findings)
    with pytest.raises(
        DataError, match="label 'fraud' has 2 rows, 1 of them in the training part; expected at least 3"
    ):
        findings.settle()


def test_names_of_any_script_are_told_apart() -> None:
    names = ["酒精", "标签", "цена", "étiquette", "prix (€)", "prix ($)", "🍷", "🍺", "fixed acidity", "हिन्दी"]
    assert identifier("fixed acidity") == "fixed_acidity"
    assert identifier("酒精") == "酒精"
    assert len({identifier(name) for name in names}) == len(names)
