"""What a column is, and the one right advice on it: from its texts alone, without Spark."""

from collections.abc import Sequence
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


def source(tmp_path: Path, columns: dict[str, Sequence[str]]) -> Source:
    path = tmp_path / "table.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return Source((path,), "csv", ",", tuple(columns), "", synthetic=False)


def looked_at(tmp_path: Path, columns: dict[str, Sequence[str]], task: str = "regression", **data: object) -> Findings:
    """Findings on a table with these columns of texts, and `columns` of it as an attribute."""
    columns = (
        columns if "y" in columns else {**columns, "y": [f"{i}.5" for i in range(len(next(iter(columns.values()))))]}
    )
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
    findings.columns = checks.kinds(summaries, config, findings)  # type: ignore[attr-defined]
    return findings


def kind(findings: Findings, name: str = "x") -> Column:
    findings.settle()
    found: Column = findings.columns[name]  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize(
    ("cell", "expected", "hint"),
    [
        ("{i},206", "a number without thousands separators", "data.thousands"),
        ("1.{i:03}.000", "a number without thousands separators", "data.thousands"),
        ("1 {i:03}", "a number without thousands separators", "data.thousands"),
        ("1\u00a0{i:03}", "a number without thousands separators", "data.thousands"),
        ("{i},5", "a number with a decimal point", "data.decimal: ','"),
        ("$1,{i:03}.00", "a number without a currency", "Remove the currency sign"),
        ("{i} EUR", "a number without a currency", "Remove the currency sign"),
        ("{i}.125%", "a number without %", "Remove the % sign"),
        ("{i} kg", "a number without its unit", "data.units"),
        ("0x{i:x}", "a decimal number", "decimal numbers"),
    ],
)
def test_a_number_with_something_around_it_gets_its_advice(tmp_path: Path, cell: str, expected: str, hint: str) -> None:
    texts = [cell.format(i=i + 1) for i in range(ROWS)]
    with pytest.raises(DataError) as caught:
        looked_at(tmp_path, {"x": texts}).settle()
    assert f"row 2, column 'x': expected {expected}, found '{texts[0]}' (and 399 more" in caught.value.message
    assert hint in caught.value.hint


def test_few_amounts_among_plain_numbers_get_the_same_advice(tmp_path: Path) -> None:
    texts = [f"1,{i:03}" if i % 10 == 3 else str(i) for i in range(ROWS)]
    with pytest.raises(DataError, match=r"row 5, column 'x': expected a number without thousands separators"):
        looked_at(tmp_path, {"x": texts}).settle()
    share = [f"{i % 50}%" for i in range(ROWS)]
    with pytest.raises(DataError, match="expected a number without %"):
        looked_at(tmp_path, {"x": share}).settle()


def test_keys_name_the_decimal_comma_and_the_thousands(tmp_path: Path) -> None:
    texts = [f"-1.{i:03},25" for i in range(ROWS)]
    found = looked_at(tmp_path, {"x": texts, "y": texts}, decimal=",", thousands=".")
    assert kind(found).kind == "number"


@pytest.mark.parametrize("cell", ["\u2212{i}", "+{i}.5", "{i}e-3", ".{i}", "{i}.", "\u00a0{i}\t"])
def test_numbers_as_people_write_them(tmp_path: Path, cell: str) -> None:
    assert kind(looked_at(tmp_path, {"x": [cell.format(i=i % 90 + 1) for i in range(ROWS)]})).kind == "number"


@pytest.mark.parametrize(
    ("cells", "form", "parts"),
    [
        (["2024-01-{d:02}"], "iso", ("days", "month", "weekday")),
        (["2024-01-{d:02}T10:00:00Z", "2024-02-{d:02} 11:30:00"], "iso", ("days", "month", "weekday", "seconds")),
        (["{d}.01.2024"], "%d.%m.%Y", ("days", "month", "weekday")),
        (["01/{d}/2024 9:15"], "%m/%d/%Y %H:%M", ("days", "month", "weekday", "seconds")),
        (["202401{d:02}"], "%Y%m%d", ("days", "month", "weekday")),
    ],
)
def test_dates_are_dates_however_few_or_many(
    tmp_path: Path, cells: list[str], form: str, parts: tuple[str, ...]
) -> None:
    texts = [cells[i % len(cells)].format(d=i % 28 + 1) for i in range(ROWS)]
    found = kind(looked_at(tmp_path, {"x": texts}))
    assert (found.kind, found.format, found.parts) == ("date", form, parts)
    assert found.columns[0] == "x days"


@pytest.mark.parametrize("cell", ["soon", "1973", "2024-02-30", "31.12.2024"])
def test_a_date_that_is_written_otherwise_is_named(tmp_path: Path, cell: str) -> None:
    texts = [f"2024-01-{i % 31 + 1:02}" for i in range(ROWS)]
    texts[7] = cell
    with pytest.raises(DataError, match=rf"row 9, column 'x': expected a date like 2024-01-31, found '{cell}'"):
        looked_at(tmp_path, {"x": texts}).settle()


def test_one_date_of_another_form_is_named_among_thousands(tmp_path: Path) -> None:
    """More different texts than are kept."""
    texts = [str(pd.Timestamp("2000-01-01") + pd.Timedelta(days=i))[:10] for i in range(3000)]
    texts[2500] = "31.12.2024"
    with pytest.raises(DataError, match=r"row 2502, column 'x': expected a date like 2024-01-31, found '31.12.2024'"):
        looked_at(tmp_path, {"x": texts}).settle()


def test_digits_are_a_date_only_where_the_calendar_has_it(tmp_path: Path) -> None:
    texts = [f"202401{i % 28 + 1:02}" for i in range(ROWS)]
    texts[7] = "20240230"
    assert kind(looked_at(tmp_path, {"x": texts})).kind == "number"


def test_a_time_of_the_day_is_told_how_to_be_written(tmp_path: Path) -> None:
    many, few = [f"{i % 24}:{i % 60:02}" for i in range(ROWS)], [f"{i % 4 + 8}:00" for i in range(ROWS)]
    found = looked_at(tmp_path, {"few": few})
    assert (kind(found, "few").kind, len(found.warnings)) == ("category", 1)
    with pytest.raises(DataError, match="row 2, column 'x': expected a number, found '0:00'") as caught:
        looked_at(tmp_path, {"x": many}).settle()
    assert "as hours" in caught.value.hint


@pytest.mark.parametrize("words", [["true", "TRUE", "False", "yes", "0", "1"], ["y", "n"], ["True", "False"]])
def test_booleans_in_any_spelling_are_one_feature(tmp_path: Path, words: list[str]) -> None:
    found = looked_at(tmp_path, {"x": [words[i % len(words)] for i in range(ROWS)]})
    assert kind(found).kind == "boolean"
    assert bool(found.warnings) == (len(words) > 2)


def test_zero_and_one_are_numbers_and_no_word_alone_is_a_boolean(tmp_path: Path) -> None:
    digits = looked_at(tmp_path, {"x": [str(i % 2) for i in range(ROWS)], "z": ["yes"] * ROWS})
    assert [kind(digits, name).kind for name in "xz"] == ["number", "category"]


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ([str(900000000 + i) for i in range(ROWS)], "looks like an identifier: of 400 different whole numbers"),
        ([f"C-{i:05}" for i in range(ROWS)], "looks like an identifier: expected at most"),
        ([f"a long text on thing {i} of many" for i in range(ROWS)], "looks like free text"),
    ],
)
def test_what_is_no_feature_is_refused(tmp_path: Path, cells: list[str], told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        looked_at(tmp_path, {"x": cells}).settle()
    assert "data.ignore" in caught.value.hint


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (["7"] * ROWS, "holds one value, '7'"),
        (["EU"] * ROWS, "holds one value, 'EU'"),
        ([str(i) for i in range(ROWS)], "looks like an identifier or a row number"),
        ([f"{i % 90:05}" for i in range(ROWS)], "codes with leading zeros"),
        ([["red", "Red", "blue"][i % 3] for i in range(ROWS)], "categories differ in spelling only: Red = red"),
    ],
)
def test_what_is_doubtful_is_a_warning(tmp_path: Path, cells: list[str], told: str) -> None:
    found = looked_at(tmp_path, {"x": cells})
    found.settle()
    assert [told in warning for warning in found.warnings] == [True]


def test_labels_that_differ_in_spelling_are_a_warning_and_words_are_labels(tmp_path: Path) -> None:
    numbers = [f"{i}.25" for i in range(ROWS)]
    labels = [["0", "0.0", "1", "none", ""][i % 5] for i in range(ROWS)]
    found = looked_at(tmp_path, {"x": numbers, "y": labels}, task="classification")
    found.settle()
    assert found.warnings == ["column 'y': labels differ in spelling only: 0 = 0.0"]


def test_words_that_counted_as_missing_are_named(tmp_path: Path) -> None:
    texts = [["none", "attached", "NA"][i % 3] for i in range(ROWS)]
    assert looked_at(tmp_path, {"x": texts}, missing=[]).problems == []
    with pytest.raises(DataError, match=r"found 33% \('NA' counted as missing in 133 cells\)"):
        looked_at(tmp_path, {"x": texts}).settle()


def test_all_complaints_come_at_once(tmp_path: Path) -> None:
    columns = {"price": [f"${i}" for i in range(ROWS)], "id": [f"C{i}" for i in range(ROWS)], "gone": [""] * ROWS}
    with pytest.raises(TableProblems) as caught:
        looked_at(tmp_path, columns).settle()
    named = [name for name in columns for problem in caught.value.problems if f"'{name}'" in problem.message]
    assert named == list(columns)
    assert len(caught.value.message.splitlines()) == 4


def test_the_number_of_different_texts_never_exceeds_the_rows(tmp_path: Path) -> None:
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
