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
from training.data.checks import Findings
from training.data.columns import Column, columns_of
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
            for part in (texts[:-100], texts[-100:]):  # of the first, too many different texts are not kept
                other = Summary()
                other.add(pa.array(part, pa.string()), reading, labels, (-LARGEST, LARGEST))
                summaries[name].merge(other)
        return Seen(findings, columns_of(summaries, config, findings))

    return looking


def cells(form: str) -> list[str]:
    """As many cells as a table has rows; `i` counts them from 1, `d` the days of a month."""
    return [form.format(i=i + 1, d=i % 28 + 1) for i in range(ROWS)]


def with_one(texts: list[str], place: int, cell: str) -> list[str]:
    return [*texts[:place], cell, *texts[place + 1 :]]


DAYS = [str(pd.Timestamp("2000-01-01") + pd.Timedelta(days=i))[:10] for i in range(3000)]  # more than are kept
MANY = [f"{i}.5" for i in range(3000)]
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
        (cells("$1,{i:03}.00"), 2, WITHOUT_CURRENCY, "Remove the currency"),
        (cells("{i} EUR"), 2, WITHOUT_CURRENCY, "Remove the currency"),
        *[
            (cells(form), 2, WITHOUT_CURRENCY, "Remove the currency")
            for form in (
                "R$ {i},50",
                "US${i}",
                "₩{i},000",
                "kr {i}",
                "SEK {i}",
                "Rs. {i}",
                "{i} zł",
                "{i},-",
                "($ {i}.00)",
            )
        ],
        *[
            (cells(form), 2, "a number with its minus in front", "-12.5")
            for form in ("{i}.50-", "1,{i:03}.50-", "({i}.5)", "(1,{i:03})", "\u2013{i}")
        ],
        *[
            (cells(form), 2, WITHOUT_THOUSANDS, "data.thousands")
            for form in ("1’{i:03}.5", "1\u2009{i:03}", "1_{i:03}")
        ],
        (cells("1,10,{i:03}"), 2, "a number without separators", "Remove the commas"),
        (cells("1\u202f{i:03},5"), 2, "a number with a decimal point", "data.decimal: ','"),
        *[(cells(form), 2, "a number without %", "Remove the % sign") for form in ("%{i}", "{i}‰", "{i},5 %")],
        *[
            (cells(form), 2, "a number without its unit", "unit")
            for form in ("{i}°C", "{i} кг", "{i}m³", "{i}k", '{i}"')
        ],
        *[
            (cells(form), 2, "a number", "in one unit")
            for form in ("1{i:02}:30", "{i}h 5m", "{i} days 02:00:00", "PT{i}M", "1{i:02}:05:10.5")
        ],
        *[
            (cells(form), 2, LIKE_A_DATE, "ISO 8601")
            for form in (
                *[
                    "1/{d}/2024 10:15:00 AM",
                    "{d}-Jan-2024",
                    "Jan {d}, 2024",
                    "Friday, January {d}, 2024",
                    "{d}. März 2024",
                ],
                *[
                    "{d} de enero de 2024",
                    "{d} января 2024 г.",
                    "2024年1月{d}日",
                    "2024. 1. {d}.",
                    "1/{d}/24",
                    "{d:02}.01.24",
                ],
                *["2024-1-{d}", "202401{d:02}T101500", "2024-01-{d:02} 10:00:00 UTC", "2024-01-{d:02}T10:00:00+0100"],
            )
        ],
        *[
            (
                with_one(cells("{i}.5"), 7, word),
                9,
                "a number",
                f"data.missing: ['na', 'n/a', 'nan', 'null', '?', {quoted}]",
            )
            for word, quoted in (("-", "'-'"), ("#N/A", "'#N/A'"), ("\\N", "'\\N'"), ("don't know", "'don''t know'"))
        ],
        (with_one(MANY, 7, "#N/A"), 9, "a number", "data.missing: ['na', 'n/a', 'nan', 'null', '?', '#N/A']"),
        (with_one(cells("{i}.5"), 7, "12o"), 9, "a number", "Correct the cell"),
        ([f"{1000 + i}{'PASS' if i % 3 else 'FAIL'}" for i in range(ROWS)], 2, "a number without its unit", "letter"),
        ([["1", "2", "3", "4", "crew"][i % 5] for i in range(ROWS)], 6, "a number", "let each begin with a letter"),
        (with_one(cells("2024-01-{d:02}"), 7, "-"), 9, LIKE_A_DATE, "'?', '-']"),
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


def test_texts_that_are_too_many_to_be_kept_are_told_apart_all_the_same(look: Look) -> None:
    for form, what in (("the guest number {i} was pleased with all", "free text"), ("guest-{i}", "an identifier")):
        with pytest.raises(DataError, match=f"looks like {what}"):
            look([form.format(i=i) for i in range(3000)]).findings.settle()


def test_advice_follows_the_decimal_sign_of_the_configuration_and_of_other_columns(look: Look) -> None:
    for texts, hint in ((cells("1.{i:03},5"), "data.thousands"), (cells("{i}.5"), "as data.decimal says")):
        with pytest.raises(DataError) as caught:
            look({"x": texts, "y": cells("{i},5")}, decimal=",").findings.settle()
        assert hint in caught.value.hint
    with pytest.raises(TableProblems) as several:
        look({"x": cells("{i},125"), "z": cells("{i},5")}).findings.settle()
    assert [problem.hint[:18] for problem in several.value.problems] == ["Set data.decimal: "] * 2


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
        ([str(2**53 + i) for i in range(ROWS)], "looks like an identifier: of 400 different whole numbers"),
        ([str(1_700_000_000 + i) for i in range(ROWS)], "looks like an identifier: of 400 different whole numbers"),
        (cells("C-{i:05}"), "looks like an identifier: expected texts that occur again"),
        (cells("C{i}")[:20], "looks like an identifier: .* found 20 different texts in 20 cells"),
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
        ([str(i * 2**54) for i in range(1, ROWS + 1)], "looks like an identifier or a row number"),
        (cells("{d:05}"), "codes with leading zeros (00001)"),
        ([["02134", "90210"][i % 2] for i in range(ROWS)], "codes with leading zeros (02134)"),
        ([str(i * 37) if i < 28 else f"{i * 37 / 1000:.3f}" for i in range(ROWS)], "if its point separates thousands"),
        ([["-999", f"{i % 50}.5"][i % 10 > 0] for i in range(ROWS)], "holds -999 in 40 cells"),
        ([f"20{i % 20:02}-{i % 12 + 1:02}" for i in range(ROWS)], "months, quarters or weeks are read as categories"),
        (with_one(cells("202401{d:02}"), 7, "20240230"), "numbers that look like dates (20240101)"),
        (cells("10{d:02}2018"), "numbers that look like dates (10012018)"),
        (cells("{d}102018"), "numbers that look like dates (1102018)"),
        ([["caf\u00e9", "cafe\u0301", "tea"][i % 3] for i in range(ROWS)], "differ in spelling only"),
        ([["a", "a\u200b", "tea", "tea."][i % 4] for i in range(ROWS)], "differ in spelling only"),
        ([["red", "Red", "blue"][i % 3] for i in range(ROWS)], "categories differ in spelling only: Red = red"),
    ],
)
def test_what_is_doubtful_is_a_warning(look: Look, texts: list[str], told: str) -> None:
    found = look(texts)
    found.findings.settle()
    assert [told in warning for warning in found.findings.warnings] == [True]


def test_a_few_texts_that_all_differ_may_be_categories(look: Look) -> None:
    assert look(cells("C{i}")[:19]).settled().kind == "category"


def test_months_that_never_occur_again_are_to_be_written_as_dates(look: Look) -> None:
    with pytest.raises(DataError, match="looks like an identifier") as caught:
        look([f"{1949 + i // 12}-{i % 12 + 1:02}" for i in range(144)]).findings.settle()
    assert "the date of its first day (1949-01-01)" in caught.value.hint


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


def test_words_for_no_value_fit_in_any_case(look: Look) -> None:
    texts = [["Weiß nicht", "weiß nicht", "ja", "nein"][i % 4] for i in range(ROWS)]
    found = look(texts, missing=["WEIß NICHT"])
    assert "'weiß nicht' counted as missing in 100 cells" in found.findings.problems[0].message


def test_a_feature_of_gaps_and_one_value_says_something(look: Look) -> None:
    assert look([["x", ""][i % 8 == 0] for i in range(ROWS)]).findings.warnings == []


def test_a_row_of_units_is_told_apart_from_bad_cells(look: Look) -> None:
    with pytest.raises(TableProblems, match="If row 2 holds units, names or totals, remove it"):
        look({"x": ["mm", *cells("{i}.5")], "z": ["kg", *cells("{i}")]}).findings.settle()


def test_parts_of_a_date_and_other_columns_have_names_of_their_own(look: Look) -> None:
    with pytest.raises(DataError, match="column 'x days' is also made of the date in column 'x'"):
        look({"x": cells("2024-01-{d:02}"), "x days": cells("{d}")}).findings.settle()
    look({"x": cells("2024-01-{d:02}"), "x days": cells("{d}")}, ignore=["x days"]).findings.settle()


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
    def counts(rows: dict[str, int], mean: float = 0.0, deviation: float = 0.0) -> pd.DataFrame:
        square = mean**2 + deviation**2
        return pd.DataFrame(
            {"part": "train", "label": [*rows], "rows": [*rows.values()], "mean": mean, "square": square}
        )

    before = counts({"yes": 1200, "no": 10800})
    assert "'yes' from 10% to 50%" in checks.moved(before, counts({"yes": 376, "no": 376}))
    assert "'yes' from 10% to 0%" in checks.moved(before, counts({"no": 10800}))
    assert checks.moved(before, counts({"yes": 1000, "no": 9100})) == ""
    before = counts({"": 6500}, 5.82, 0.87)
    assert checks.moved(before, counts({"": 5300}, 5.80)) == ""
    assert checks.moved(before, counts({"": 5300}, 5.5)) == "the target's mean from 5.82 to 5.5"


def test_rare_labels_are_named(tmp_path: Path) -> None:
    findings = Findings(source(tmp_path, {"y": ["a"]}))
    parts = [("train", "fraud", 1), ("test", "fraud", 1), ("train", "fine", 280), ("test", "fine", 118)]
    checks.rare_labels("y", pd.DataFrame(parts, columns=["part", "label", "rows"]), 3, findings)
    with pytest.raises(
        DataError, match="label 'fraud' has 2 rows, 1 of them in the training part; expected at least 3"
    ):
        findings.settle()


def test_names_of_any_script_are_told_apart() -> None:
    names = ["酒精", "标签", "цена", "étiquette", "prix (€)", "prix ($)", "🍷", "🍺", "fixed acidity", "हिन्दी"]
    assert identifier("fixed acidity") == "fixed_acidity"
    assert identifier("酒精") == "酒精"
    assert len({identifier(name) for name in names}) == len(names)
