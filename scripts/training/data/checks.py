"""What each column of a table is, and all that is wrong or doubtful about it, from the summaries of `cells.survey`.

A table is refused with every complaint at once; each names the column, what was expected, what was found, what to do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import chisquare, norm

from training.config import Config
from training.data.cells import COMPACT_DATE, FALSE, MINUS, MOST_TEXTS, SPACE, TRUE, Summary, is_date
from training.data.files import Source, identifier, locate
from training.errors import DataError, TableProblems, ValueProblem

Kind = Literal["number", "category", "boolean", "date"]
MOSTLY = 0.5  # above this share of cells of a kind, a column is one of that kind with mistakes in it
MOST_LABELS = 100
FEW_TEXTS = 20  # up to this many different amounts with a unit may be meant as categories
ONE_EACH = 0.97  # from this share of different values on, a column names its rows
FEWEST_LOOKED_AT = 50  # rows; fewer say nothing of identifiers or leaks
MOST_LOCAL_ROWS = 1_000_000
NEARLY_ONE = 0.9995
SURELY = 1e-4  # chance that a random choice of rows moves the target as far as `duplicates: drop` may
ADVICE = {
    "infinite": ("a finite number", "Correct the cell, or leave it empty."),
    "thousands": (
        "a number without thousands separators",
        "Remove the separators, or name them: data.thousands (with data.decimal where the decimals follow a comma).",
    ),
    "decimal comma": ("a number with a decimal point", "Set data.decimal: ',' or write the numbers with a point."),
    "currency": ("a number without a currency", "Remove the currency sign; data.units can show it to users."),
    "percent": ("a number without %", "Remove the % sign; data.units can show it to users."),
    "hexadecimal": ("a decimal number", "Write the column as decimal numbers, or add it to data.ignore."),
    "unit": ("a number without its unit", "Remove the unit; data.units can show it to users."),
    "time of day": ("a number", "Write the time as hours (13.5), or together with its date as a timestamp."),
    "date": ("a number", "Correct the cell, or leave it empty."),
    "text": ("a number", "Correct the cell, or leave it empty if the value is not known."),
}


@dataclass
class Findings:
    """What is wrong (`problems` refuse the table) and what is doubtful (`warnings` do not)."""

    source: Source
    problems: list[DataError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    cells: list[tuple[str, str, str, int, str]] = field(default_factory=list)

    def refuse(self, what: str, hint: str) -> None:
        self.problems.append(DataError(f"{self.source.name}: {what}", hint))

    def refuse_cell(self, name: str, expected: str, cell: str, count: int, hint: str) -> None:
        self.cells.append((name, expected, cell, count, hint))

    def settle(self) -> None:
        """Raises what was found wrong: one DataError or ValueProblem, or TableProblems with all of them."""
        places = locate(self.source, {name: cell for name, _, cell, _, _ in self.cells}, SPACE)
        for name, expected, cell, count, hint in self.cells:
            file, row = places.get(name, (self.source.files[0], None))
            more = f" (and {count - 1:,} more in this column)" if count > 1 else ""
            self.problems.append(ValueProblem(str(file), row, name, expected, f"'{cell}'{more}", hint))
        self.cells.clear()
        if len(self.problems) > 1:
            raise TableProblems(self.source.name, self.problems)
        if self.problems:
            raise self.problems[0]


@dataclass(frozen=True)
class Column:
    """What a column of features is; `format` and `timed` are those of a date (see `cells.FORMATS`)."""

    name: str
    kind: Kind
    format: str = ""
    timed: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        if self.kind != "date":
            return ()
        return ("days", "month", "weekday", *(["seconds"] if self.timed else []))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the model that are made of it."""
        return tuple(f"{self.name} {part}" for part in self.parts) or (self.name,)


def names(columns: Sequence[str], config: Config, findings: Findings) -> None:
    """That the configuration and the table's header agree."""
    data = config.data
    wanted = {"data.target": [data.target], "data.ignore": data.ignore, "checks.ranges": list(config.checks.ranges)}
    wanted |= {"data.units": list(data.units), "data.segment": [data.segment] if data.segment else []}
    wanted["split.column"] = [config.split.column] if config.split.column else []
    for key, named in wanted.items():
        for name in named:
            if name not in columns:
                findings.refuse(
                    f"expected a column '{name}' ({key}), found: {', '.join(columns)}",
                    f"Add the column to the file, or change {key} in pipeline.yaml.",
                )
    if data.target in data.ignore or data.segment in data.ignore:
        findings.refuse("data.ignore names the target or the segment", "Take it out of data.ignore.")
    if config.split.column == data.target:
        findings.refuse("split.column names the target", "Name the column that says which group or when.")
    if data.feedback and config.split.column in data.ignore:
        findings.refuse(
            f"column '{config.split.column}' (split.column) is in data.ignore: rows from feedback have no value for it",
            "Take it out of data.ignore, or set data.feedback to false.",
        )
    features = [name for name in columns if name not in (data.target, *data.ignore)]
    if not features:
        findings.refuse(f"no column is left to predict '{data.target}' from", "Shorten data.ignore.")
    for name in columns:
        if "`" in name:  # Spark's own quotation mark for names
            findings.refuse(f"the name of column '{name}' has a backtick in it", "Rename the column.")
    seen: dict[str, str] = {}
    for name in features:
        other = seen.setdefault(identifier(name), name)
        if other != name:
            findings.refuse(
                f"columns '{other}' and '{name}' are alike: both are '{identifier(name)}' as an identifier",
                "Rename one of the two, or add it to data.ignore.",
            )
    findings.settle()


def kinds(summaries: Mapping[str, Summary], config: Config, findings: Findings) -> dict[str, Column]:
    """What each column is (the target of regression a number, that of classification a category)."""
    found = {}
    for name, summary in summaries.items():
        if name == config.data.target:
            _target(name, summary, config, findings)
            continue
        found[name] = _kind(name, summary, findings, name == config.data.segment)
        if summary.wrong and found[name].kind == "number":
            _wrong(name, summary, config, findings)
        if summary.present:
            _missing(name, summary, config, findings)
    return found


def _wrong(name: str, summary: Summary, config: Config, findings: Findings) -> None:
    expected, hint = ADVICE["infinite"]
    if name in config.checks.ranges:
        low, high = config.checks.ranges[name]
        expected, hint = f"{low:g} to {high:g}", "Correct the cell, or widen checks.ranges in pipeline.yaml."
    findings.refuse_cell(name, expected, summary.examples["wrong"], summary.wrong, hint)


def _target(name: str, summary: Summary, config: Config, findings: Findings) -> None:
    if config.data.task == "regression":
        if summary.numbers < summary.present:
            _not_numbers(name, summary, findings, "For labels set data.task: classification.")
        elif summary.wrong:
            _wrong(name, summary, config, findings)
        elif summary.present and summary.low == summary.high:
            findings.refuse(
                f"column '{name}': expected different values, found only {summary.low:g}", "Check data.target."
            )
        return
    if summary.distinct < 2:
        findings.refuse(
            f"column '{name}': expected at least two labels, found {summary.distinct}", "Check data.target."
        )
    elif summary.distinct > MOST_LABELS:
        findings.refuse(
            f"column '{name}': expected at most {MOST_LABELS} labels, found {_different(summary)}",
            "To predict a number, set data.task: regression; otherwise join rare labels to one.",
        )
    else:
        _spellings(name, summary, "labels", findings)


def _kind(name: str, summary: Summary, findings: Findings, segment: bool) -> Column:
    """The kind of a column of features; what is wrong with it goes to `findings`."""
    present = summary.present
    if not present:
        findings.refuse(f"column '{name}' is empty", "Remove it or add it to data.ignore.")
        return Column(name, "category")
    if summary.distinct == 1:
        cell = next(iter(summary.texts))
        findings.warnings.append(f"column '{name}' holds one value, '{cell}': it says nothing of the target")
    if summary.numbers == present:
        return _number(name, summary, findings)
    words = {text.casefold() for text in summary.texts}
    if not summary.many and words <= {*TRUE, *FALSE} and words & set(TRUE) and words & set(FALSE):
        if len(summary.texts) > 2:
            spelled = ", ".join(sorted(summary.texts))
            findings.warnings.append(f"column '{name}' holds booleans in several spellings ({spelled}): read as one")
        return Column(name, "category" if segment else "boolean")
    if summary.shapes["date"] > MOSTLY * present:
        return _date(name, summary, findings)
    if _amounts(name, summary, findings) or summary.numbers > MOSTLY * present:
        _not_numbers(name, summary, findings)
        return Column(name, "number")
    _category(name, summary, findings)
    return Column(name, "category")


def _number(name: str, summary: Summary, findings: Findings) -> Column:
    present, whole = summary.present, summary.whole == summary.present
    if whole and summary.compact == present and summary.distinct > 2:
        return Column(name, "date", COMPACT_DATE)
    if not whole or present < FEWEST_LOOKED_AT:
        return Column(name, "number")
    values = np.unique([float(text.replace(MINUS, "-")) for text in summary.texts if _plain(text)])
    kept = len(np.unique(values.astype(np.float32)))
    if kept < MOSTLY * len(values):
        findings.refuse(
            f"column '{name}' looks like an identifier: of {len(values):,} different whole numbers, {kept:,} are left "
            "in the float32 that the model computes with",
            "Add it to data.ignore, or write smaller numbers.",
        )
    elif summary.distinct >= ONE_EACH * present and summary.high - summary.low < 1.5 * present:
        findings.warnings.append(f"column '{name}' looks like an identifier or a row number: add it to data.ignore")
    elif summary.padded == present:
        findings.warnings.append(f"column '{name}' holds codes with leading zeros: they are read as numbers")
    return Column(name, "number")


def _plain(text: str) -> bool:
    return re.fullmatch(f"[+{MINUS}-]?[0-9]+", text) is not None


def _date(name: str, summary: Summary, findings: Findings) -> Column:
    best = max(summary.formats, key=lambda one: summary.formats[one])
    if (count := summary.present - summary.formats[best]) > 0:
        found = (*summary.examples.values(), *summary.texts)
        other = next((cell for cell in found if not is_date(cell, best)), "")  # among many texts it may not be kept
        hint = "Write every date of the column in one way, best in ISO 8601 (2024-01-31)."
        findings.refuse_cell(name, f"a date like {best if best != 'iso' else '2024-01-31'}", other, count, hint)
    elif best.startswith("%d/%m") and summary.formats["%m/%d" + best[5:]] == summary.present:
        findings.warnings.append(f"column '{name}': no date says whether day or month comes first; read as day/month")
    return Column(name, "date", best, summary.timed > 0)


def _amounts(name: str, summary: Summary, findings: Findings) -> bool:
    """Whether the column holds numbers with something in or around them, which are not meant as categories."""
    shapes = {shape: count for shape, count in summary.shapes.items() if shape not in ("text", "date")}
    if not shapes or sum(shapes.values()) + summary.numbers < summary.present:
        return False
    if set(shapes) <= {"unit", "time of day"} and summary.distinct <= FEW_TEXTS:
        what = "times of the day" if "time of day" in shapes else "amounts with a unit"
        findings.warnings.append(f"column '{name}': {what} are read as categories, without order")
        return False
    units = {re.sub(r"^[^A-Za-z\u00b0\u00b5\u03bc]+", "", text) for text in summary.texts if not _plain(text)}
    return set(shapes) != {"unit"} or len(units) <= 3


def _not_numbers(name: str, summary: Summary, findings: Findings, more: str = "") -> None:
    """Refuses the first cell that is no number, with the advice for what most such cells are."""
    shapes = dict(summary.shapes)
    if shapes.keys() == {"thousands", "decimal comma"}:  # 1,5 among 63,206: the comma is the decimal one
        shapes = {"decimal comma": shapes["decimal comma"]}
    shape = max(shapes, key=lambda one: (one == "text", shapes[one]))
    expected, hint = ADVICE[shape]
    if shape == "text":
        hint = f"{more} {hint}".strip()
    findings.refuse_cell(name, expected, summary.examples[shape], summary.present - summary.numbers, hint)


def _category(name: str, summary: Summary, findings: Findings) -> None:
    distinct, present = summary.distinct, summary.present
    if distinct > MOST_LABELS and (distinct > MOST_TEXTS or distinct > MOSTLY * present):
        if np.mean([len(text.split()) for text in summary.texts]) > 3:
            what = "free text"
            hint = "Free text is no feature: add it to data.ignore, or replace it by columns of what it says."
        elif distinct >= ONE_EACH * present:
            what, hint = "an identifier", "A model learns nothing from it: add it to data.ignore."
        else:
            what, hint = "names of many things", "Join rare ones to groups, or add it to data.ignore."
        findings.refuse(
            f"column '{name}' looks like {what}: expected at most {MOST_TEXTS:,} categories that occur again and "
            f"again, found {_different(summary)} in {present:,} cells",
            hint,
        )
        return
    _spellings(name, summary, "categories", findings)


def _different(summary: Summary) -> str:
    return f"{'about ' if summary.many else ''}{summary.distinct:,} different texts"


def _spellings(name: str, summary: Summary, what: str, findings: Findings) -> None:
    """Warns of texts that differ in case or in how a number is written."""
    alike: dict[str, list[str]] = {}
    for text in summary.texts:
        try:
            key = f"{float(text):.12g}"
        except ValueError:
            key = " ".join(text.casefold().split())
        alike.setdefault(key, []).append(text)
    if several := [" = ".join(sorted(texts)) for texts in alike.values() if len(texts) > 1]:
        findings.warnings.append(f"column '{name}': {what} differ in spelling only: {'; '.join(several[:5])}")


def _missing(name: str, summary: Summary, config: Config, findings: Findings) -> None:
    allowed, rows = config.checks.max_missing, summary.present + summary.missing
    if summary.missing <= allowed * rows:
        return
    words = "; ".join(f"'{word}' counted as missing in {count:,} cells" for word, count in summary.words.most_common(3))
    findings.refuse(
        f"column '{name}': expected at most {allowed:.0%} missing values, found {summary.missing / rows:.0%}"
        + (f" ({words})" if words else ""),
        ("If the word is a value, take it out of data.missing. " if words else "")
        + "Add the column to data.ignore, or raise checks.max_missing.",
    )


def rows(report: Mapping[str, Any], config: Config, findings: Findings) -> None:
    if report["rows_used"] < config.checks.min_rows:
        findings.refuse(
            f"expected at least {config.checks.min_rows} usable rows, found {report['rows_used']} "
            f"({report['rows']} rows, {report['rows_without_target']} without a target, "
            f"{report['rows_repeated']} repeated)",
            "Give more rows, or lower checks.min_rows.",
        )
    elif not all(report["parts"].values()):
        findings.refuse(
            "there are too few different rows (with split.by: group, different groups) for three parts",
            "Give more of them: one at least for training, calibration and test.",
        )
    if config.search.engine == "local" and report["rows_used"] > MOST_LOCAL_ROWS:
        findings.refuse(
            f"expected at most {MOST_LOCAL_ROWS:,} usable rows for search.engine: local, found {report['rows_used']:,}",
            "Set search: {engine: spark, candidates: [xgboost]} in pipeline.yaml, or train on a sample of the rows.",
        )


def rare_labels(
    name: str, all_rows: Mapping[str, int], training: Mapping[str, int], folds: int, found: Findings
) -> None:
    """Each fold has to be fitted with rows of every label."""
    for label in sorted(all_rows):
        if training.get(label, 0) < folds:
            found.refuse(
                f"column '{name}': label '{label}' has {all_rows[label]} rows, {training.get(label, 0)} of them in the "
                f"training part; expected at least {folds} there, one for each fold (search.folds)",
                "Give more rows of it, join it to another label, or remove its rows.",
            )


def moved(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    """How leaving repeated rows out moved the labels' shares beyond chance (Pearson's chi-squared), or ""."""
    total, kept = sum(before.values()), sum(after.values())
    expected = [kept * count / total for count in before.values()]
    if len(before) < 2 or chisquare([after.get(label, 0) for label in before], expected).pvalue >= SURELY:
        return ""
    label = max(before, key=lambda one: abs(after.get(one, 0) / kept - before[one] / total))
    return f"the share of '{label}' from {before[label] / total:.0%} to {after.get(label, 0) / kept:.0%}"


def moved_mean(before: tuple[float, float], after: float, rows: int) -> str:
    """The same of a target's mean; `before` is its mean and standard deviation with all rows."""
    if abs(after - before[0]) <= norm.isf(SURELY / 2) * before[1] / rows**0.5:
        return ""
    return f"the target's mean from {before[0]:.4g} to {after:.4g}"


def leaks(frame: pd.DataFrame, features: Mapping[str, str], target: str, labels: bool) -> dict[str, str]:
    """Columns of which one alone gives the target away, with the reason. `features` names each column's feature."""
    found: dict[str, str] = {}
    actual = frame[target]
    values = pd.Series(pd.factorize(actual)[0] if labels else actual.to_numpy(np.float64))
    if len(frame) < FEWEST_LOOKED_AT or values.nunique() < 2:
        return found
    for name, feature in features.items():
        column = frame[name]
        if reason := _leak(column, values, labels):
            found.setdefault(feature, f"column '{feature}' alone gives '{target}' away: {reason}")
    return found


def _leak(column: pd.Series[Any], target: pd.Series[Any], labels: bool) -> str:
    distinct = column.nunique(dropna=False)
    if 1 < distinct <= len(column) / 10:
        groups = target.groupby(column.fillna(np.inf).to_numpy() if column.dtype != object else column.to_numpy())
        if groups.nunique().max() == 1:
            return "each of its values has one target value"
    if column.dtype == object or column.isna().any() or distinct < 3:
        return ""
    if labels:
        ordered = target.to_numpy()[np.argsort(column.to_numpy(), kind="stable")]
        runs = int((np.diff(ordered) != 0).sum()) + 1
        if runs == target.nunique() and target.value_counts().min() >= 10:
            return "a threshold on it separates the labels without an error"
        return ""
    for method, what in (("pearson", "correlation"), ("spearman", "rank correlation")):
        if abs(value := column.astype("float64").reset_index(drop=True).corr(target, method=method)) >= NEARLY_ONE:
            return f"{what} {value:.5f}"
    return ""
