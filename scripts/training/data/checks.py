"""That a table and its configuration agree, and what is wrong or doubtful about its rows.

A table is refused with every complaint at once; each says what was expected, what was found, and what to do.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chisquare, norm

from training.config import SMALLEST_GROUP, Config
from training.data import parquet
from training.data.cells import SPACE, Summary
from training.data.files import Source, identifier, locate
from training.data.header import NUMBER
from training.errors import DataError, TableProblems, ValueProblem

MOST_LABELS = 100
FEWEST_LOOKED_AT = 50  # rows; fewer say nothing of identifiers or leaks
MOST_LOCAL_ROWS = 1_000_000
MOST_NAMED = 30  # columns in a message
OWN_NAMES = ("__hash", "__part", "__place", "__usable")
PLACES = {"hash": "rows", "group": "groups in split.column", "time": "times in split.column"}
NEARLY_ONE = 0.9995
SURELY = 1e-4  # chance that a random choice of rows moves the target as far as `duplicates: drop` may


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
        no_row = len(self.cells) > 1 and len(set(places.values())) == 1 and all(one[3] == 1 for one in self.cells)
        for name, expected, cell, count, hint in self.cells:
            file, row = places.get(name, (self.source.name, None))
            more = f" (and {count - 1:,} more in this column)" if count > 1 else ""
            advice = f"If row {row} holds units, names or totals, remove it. {hint}" if no_row else hint
            self.problems.append(ValueProblem(str(file), row, name, expected, f"'{cell}'{more}", advice))
        self.cells.clear()
        if len(self.problems) > 1:
            raise TableProblems(self.source.name, self.problems)
        if self.problems:
            raise self.problems[0]


def names(columns: Sequence[str], config: Config, findings: Findings) -> None:
    """That the configuration and the table's header agree."""
    data, splitter = config.data, config.split.column
    wanted: dict[str, Iterable[str | None]] = {
        **{"data.target": [data.target], "data.ignore": data.ignore, "data.segment": [data.segment]},
        **{"checks.ranges": config.checks.ranges, "data.units": data.units, "split.column": [splitter]},
    }
    for key, name in [(key, name) for key, named in wanted.items() for name in named if name is not None]:
        if name not in columns:
            _absent(name, key, columns, findings)
    if data.target in data.ignore or data.segment in data.ignore:
        findings.refuse("data.ignore names the target or the segment", "Take it out of data.ignore.")
    if splitter == data.target:
        findings.refuse("split.column names the target", "Name the column that says which group or when.")
    if data.feedback and splitter in data.ignore:
        findings.refuse(
            f"column '{splitter}' (split.column) is in data.ignore: rows from feedback have no value for it",
            "Take it out of data.ignore, or set data.feedback to false.",
        )
    _types(config, findings)
    features = [name for name in columns if name not in (data.target, *data.ignore)]
    if not features:
        findings.refuse(f"no column is left to predict '{data.target}' from", "Shorten data.ignore.")
    for name in columns:
        if "`" in name:  # Spark's own quotation mark for names
            findings.refuse(f"the name of column '{name}' has a backtick in it", "Rename the column.")
        if name.lower() in OWN_NAMES:
            findings.refuse(f"column '{name}' has the name of a column that training adds", "Rename the column.")
    seen: dict[str, str] = {}
    for name in features:
        other = seen.setdefault(identifier(name), name)
        if other != name:
            findings.refuse(
                f"columns '{other}' and '{name}' are alike: both are '{identifier(name)}' as an identifier",
                "Rename one of the two, or add it to data.ignore.",
            )
    findings.settle()


def _absent(name: str, key: str, columns: Sequence[str], findings: Findings) -> None:
    more = f" and {len(columns) - MOST_NAMED} more" if len(columns) > MOST_NAMED else ""
    hint = f"Add the column to the file, or change {key} in pipeline.yaml."
    if near := get_close_matches(name, columns, n=1):
        hint = f"Do you mean '{near[0]}'? {hint}"
    elif any(map(NUMBER.fullmatch, columns)):
        hint = f"Is there a header? Line 1 looks like data. {hint}"
    findings.refuse(f"expected a column '{name}' ({key}), found: {', '.join(columns[:MOST_NAMED])}{more}", hint)


def _types(config: Config, findings: Findings) -> None:
    source = findings.source
    for name, kind in parquet.unfit(source.files[0]).items() if source.format == "parquet" else ():
        if name not in config.data.ignore:
            hint = "Write it as numbers or as text, or add it to data.ignore."
            findings.refuse(f"column '{name}': expected numbers, text, dates or truth values, found {kind}", hint)


def before_split(target: Summary, config: Config, findings: Findings) -> None:
    """What is known of the rows already, so that it is reported together with the faults of the columns."""
    rows = {"rows": target.present + target.missing, "rows_without_target": target.missing}
    _enough(rows | {"rows_used": target.present, "rows_dropped": 0}, config, findings)
    if config.data.task == "classification" and len(target.texts) <= MOST_LABELS:
        counts = pd.DataFrame({"part": "train", "label": [*target.texts], "rows": [*target.texts.values()]})
        rare_labels(config.data.target, counts, config.search.folds, findings)


def _enough(report: Mapping[str, Any], config: Config, findings: Findings) -> None:
    if report["rows_used"] < config.checks.min_rows:
        findings.refuse(
            f"expected at least {config.checks.min_rows} usable rows, found {report['rows_used']} "
            f"({report['rows']} rows, {report['rows_without_target']} without a target, "
            f"{report['rows_dropped']} dropped because they repeat another one)",
            "Give more rows, or lower checks.min_rows.",
        )


def rows(report: Mapping[str, Any], config: Config, findings: Findings) -> None:
    _enough(report, config, findings)
    used, repeated, test = report["rows_used"], report["rows_repeated"], report["parts"]["test"]
    if not findings.problems and not all(report["parts"].values()):
        findings.refuse(
            f"there are too few different {PLACES[config.split.by]} for three parts",
            "Give more of them: one at least for training, calibration and test.",
        )
    if config.search.engine == "local" and report["rows_used"] > MOST_LOCAL_ROWS:
        findings.refuse(
            f"expected at most {MOST_LOCAL_ROWS:,} usable rows for search.engine: local, found {report['rows_used']:,}",
            "Set search: {engine: spark, candidates: [xgboost]} in pipeline.yaml, or train on a sample of the rows.",
        )
    if repeated > report["rows_dropped"] and used - repeated < config.checks.min_rows:
        findings.warnings.append(
            f"{repeated:,} of {used:,} rows repeat another one, which leaves {used - repeated:,} different rows: if "
            "they repeat by accident, set data.duplicates: drop"
        )
    if test < SMALLEST_GROUP and config.gate.mode != "off":
        findings.warnings.append(
            f"{test} test rows: the gate promotes no version that was tested on fewer than {SMALLEST_GROUP}. Give more "
            "rows or raise split.test; gate.mode: off promotes without a comparison"
        )


def rare_labels(name: str, counts: pd.DataFrame, folds: int, found: Findings) -> None:
    """Each fold has to be fitted with rows of every label. `counts` are the `rows` of each `part` and `label`."""
    for label, own in counts.groupby("label"):
        training = own.loc[own["part"] == "train", "rows"].sum()
        if training < folds:
            rows = own["rows"].sum()
            elsewhere = f", {training} of them in the training part" if training < rows else ""
            found.refuse(
                f"column '{name}': label '{label}' has {rows} rows{elsewhere}; expected at least {folds} for training, "
                "one for each fold (search.folds)",
                "Give more rows of it, join it to another label, or remove its rows.",
            )


def moved(before: pd.DataFrame, after: pd.DataFrame) -> str:
    """How leaving repeated rows out moved the shares of the labels (Pearson's chi-squared) or the mean of the target
    beyond chance, or "". Both have, for each `part` and `label` ("" for regression), the `rows`, the target's `mean`
    and its mean `square`."""
    rows = pd.DataFrame({at: of.groupby("label")["rows"].sum() for at, of in enumerate((before, after))}).fillna(0)
    shares, kept = rows / rows.sum(), rows[1].sum()
    if len(rows) > 1 and chisquare(rows[1], shares[0] * kept).pvalue < SURELY:
        label = (shares[1] / shares[0] - 1).abs().idxmax()
        return f"the share of '{label}' from {shares[0][label]:.0%} to {shares[1][label]:.0%}"
    mean, square = (np.average(before[name], weights=before["rows"]) for name in ("mean", "square"))
    left = np.average(after["mean"], weights=after["rows"])
    if abs(left - mean) > norm.isf(SURELY / 2) * max(0.0, square - mean**2) ** 0.5 / kept**0.5:
        return f"the target's mean from {mean:.4g} to {left:.4g}"
    return ""


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


def _leak(column: "pd.Series[Any]", target: "pd.Series[Any]", labels: bool) -> str:
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
