"""pipeline.yaml becomes one frozen, checked object; every wrong key or value is an error that names its line."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, field_validator, model_validator

from training.errors import ConfigError

TRAINING_ROOMS = ("data", "evaluation", "fit", "model")
LOWER_IS_BETTER = frozenset({"mae", "rmse", "log_loss"})
METRICS = {
    "regression": ("mae", "rmse"),
    "classification": ("log_loss", "accuracy", "balanced_accuracy", "f1", "roc_auc", "average_precision"),
}
SMALLEST_GROUP = 30  # rows; the mean of fewer says too little to decide on
MEANS = ("mae", "rmse", "log_loss", "accuracy")  # of a loss over the rows: engine 'spark' adds them up on the executors


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Data(_Section):
    """Where the table is and what its columns mean."""

    source: str | list[str] = Field(
        description="CSV (comma, semicolon, tab or bar; also .csv.gz), .xlsx (file.xlsx#Sheet) or Parquet; a path, a "
        "glob, a folder, s3://bucket/key (a prefix, a glob), postgresql://user@host/database?table=schema.table (or "
        "?query=SELECT ...), or a list of them"
    )
    sample: str | None = Field(
        default=None, description="synthetic sample, used (and reported) while `source` does not exist"
    )
    target: str = Field(description="the column to predict")
    task: Literal["regression", "classification"] = Field(default="regression", description="a number, or a label")
    segment: str | None = Field(default=None, description="a column whose groups must not get worse")
    ignore: list[str] = Field(default=[], description="columns that are not features")
    units: dict[str, str] = Field(default={}, description="unit of a column, shown to the users of the model")
    missing: list[str] = Field(
        default=["na", "n/a", "nan", "null", "?"],
        description="words, in any case, that mean 'no value' besides the empty cell; not so in the target",
    )
    decimal: Literal[".", ","] = Field(default=".", description="what separates decimals")
    thousands: Literal["", ",", ".", "'", "\u2019", "_", " ", "\u00a0", "\u202f", "\u2009"] = Field(
        default="", description="what separates thousands"
    )
    unknown: Literal["accept", "refuse"] = Field(
        default="accept", description="what the service does with a category that the table does not have"
    )
    duplicates: Literal["drop", "keep"] = Field(
        default="keep", description="what happens to rows that repeat another exactly"
    )
    feedback: bool = Field(
        default=False, description="true: predictions with feedback (POST /feedback) become training rows too"
    )

    @field_validator("missing", mode="before")
    @classmethod
    def _null_is_a_word(cls, words: Any) -> Any:
        return ["null" if word is None else word for word in words] if isinstance(words, list) else words

    @model_validator(mode="after")
    def _marks_differ(self) -> Self:
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}")
        return self

    @property
    def place(self) -> str:
        """`source` as one text."""
        return self.source if isinstance(self.source, str) else ", ".join(self.source)


class Checks(_Section):
    """What a table must satisfy before anything is trained on it."""

    min_rows: PositiveInt = Field(
        default=200, description="rows with a target; with data.duplicates: drop, repeated ones count once"
    )
    max_missing: float = Field(default=0.2, ge=0, le=1, description="largest share of missing values in a column")
    ranges: dict[str, tuple[float, float]] = Field(default={}, description="column: [lowest, highest] allowed value")


class Split(_Section):
    """Shares of the rows held back, chosen by a hash of each row's features, by a group, or by time."""

    by: Literal["hash", "group", "time"] = Field(
        default="hash",
        description="hash: rows with equal features on one side; group: rows of one group on one side; time: the last "
        "rows are for the test, those before them for calibration",
    )
    column: str | None = Field(default=None, description="the group, or the date or number to order by; may be ignored")
    test: float = Field(default=0.2, gt=0, lt=0.5, description="for the gate")
    calibration: float = Field(default=0.1, gt=0, lt=0.5, description="for the prediction interval")
    seed: int = Field(default=7, description="another seed is another split")
    most_rows: PositiveInt = Field(
        default=50_000,
        description="at most this many rows of test and of calibration are used: those with the smallest hashes",
    )

    @model_validator(mode="after")
    def _column_fits(self) -> Self:
        if (self.by == "hash") != (self.column is None):
            raise ValueError("split.by: group and time need split.column, and hash has none")
        return self


class Search(_Section):
    """Which models are tried, and for how long."""

    engine: Literal["local", "spark"] = Field(
        default="local",
        description="local: trials side by side, each in one process with all rows; spark: each trial on all "
        "executors, rows never leave them (xgboost only)",
    )
    candidates: list[Literal["extra_trees", "random_forest", "xgboost"]] = Field(
        default=["extra_trees", "random_forest", "xgboost"], min_length=1, description="kinds of model"
    )
    trials: PositiveInt = Field(default=20, description="number of trials")
    metric: str | None = Field(
        default=None,
        description="mae, rmse; log_loss, accuracy, balanced_accuracy, f1, "
        "roc_auc, average_precision. Default: mae or log_loss",
    )
    weights: Literal["none", "balanced"] = Field(
        default="none",
        description="balanced: each label weighs the same in fitting and in the choice of the served label, however "
        "rare it is; probabilities stay those of the table",
    )
    folds: int = Field(default=3, ge=2, le=20, description="parts of the cross-validation that judges a trial")
    timeout_s: PositiveInt = Field(default=600, description="seconds after which no further trial starts")

    @model_validator(mode="after")
    def _spark_trains_xgboost(self) -> Self:
        if self.engine == "spark" and self.candidates != ["xgboost"]:
            raise ValueError("engine 'spark' trains xgboost only: set candidates: [xgboost]")
        if self.engine == "spark" and self.metric not in (None, *MEANS):
            raise ValueError(f"engine 'spark' searches by one of {', '.join(MEANS)}; gate.metric is free")
        return self


class Gate(_Section):
    """What a new model must show before it serves."""

    mode: Literal["enforce", "dry_run", "off"] = Field(
        default="enforce", description="dry_run: judge and move nothing; off: promote always"
    )
    metric: str | None = Field(default=None, description="default: the metric of the search")
    min_gain: float = Field(
        default=0.0, ge=0, description="how much better than the champion it must be, in the metric's unit"
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="confidence that the gain is real")
    max_segment_loss: float = Field(default=0.02, ge=0, description="largest loss allowed in any group of data.segment")
    limits: dict[str, float] = Field(default={}, description="metric: worst value allowed, whatever the champion does")


class Cost(_Section):
    """What a wrong prediction costs, in any unit: only the ratio counts."""

    false_negative: float = Field(gt=0, description="another label was served, and this one was true")
    false_positive: float = Field(gt=0, description="this label was served, and another one was true")


class Threshold(_Section):
    """Of two labels, from which probability one is served; chosen on the calibration rows."""

    label: str = Field(description="the label that is served from the threshold on")
    cost: Cost | None = Field(default=None, description="the threshold of least cost")
    precision: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="the lowest threshold at which this share of the label's predictions holds",
    )

    @model_validator(mode="after")
    def _one_goal(self) -> Self:
        if (self.cost is None) == (self.precision is None):
            raise ValueError("give either cost or precision")
        return self


class Serving(_Section):
    """How the model is served."""

    alias: str = Field(
        default="production",
        max_length=255,
        description="the registry's name for the version that serves: letters, digits, _ and -; not `latest` nor `v1`",
    )
    coverage: float = Field(default=0.9, gt=0, lt=1, description="share of true values that the interval should hold")
    threshold: Threshold | None = Field(
        default=None,
        description="of two labels, from which probability one is served: {label, cost: {false_negative, "
        "false_positive}} or {label, precision}. Default: the more probable one",
    )

    @field_validator("alias")
    @classmethod
    def _alias_of_the_registry(cls, alias: str) -> str:
        if not re.fullmatch(r"[\w-]+", alias):
            raise ValueError(f"expected letters, digits, _ and -, found {alias!r}")
        if alias.lower() == "latest" or re.fullmatch(r"[vV]\d+", alias):
            raise ValueError(f"'{alias}' is a name of MLflow's own, like latest and v1; take another")
        return alias


class Monitor(_Section):
    """When live data calls for training again."""

    psi: float = Field(default=0.2, gt=0, description="population stability index above which a column has drifted")
    windows: PositiveInt = Field(default=3, description="this many alarming windows ...")
    of: PositiveInt = Field(default=5, description="... of the last this many, including the last, request training")
    min_rows: PositiveInt = Field(default=200, description="predictions in a window; with fewer the monitor waits")
    max_error_growth: float = Field(
        default=0.1,
        ge=0,
        description="largest relative growth of the live error over the test error, by the lower end of its interval",
    )
    cooldown_hours: float = Field(
        default=24, ge=0, description="no request for training within this time of the last one, or of a promotion"
    )

    @model_validator(mode="after")
    def _windows_fit(self) -> Self:
        if self.windows > self.of:
            raise ValueError(
                f"windows: {self.windows} of the last {self.of} windows can never be; lower it or raise of"
            )
        return self


class Config(_Section):
    """The whole of pipeline.yaml."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="the experiment, the registered model")
    data: Data
    checks: Checks = Checks()
    split: Split = Split()
    search: Search = Search()
    gate: Gate = Gate()
    serving: Serving = Serving()
    monitor: Monitor = Monitor()

    @model_validator(mode="after")
    def _metrics_fit_the_task(self) -> Self:
        known = METRICS[self.data.task]
        named = {"search.metric": self.search.metric, "gate.metric": self.gate.metric}
        named |= {f"gate.limits.{metric}": metric for metric in self.gate.limits}
        faults = [
            f"{key}: '{metric}' is not one of {', '.join(known)} ({self.data.task})"
            for key, metric in named.items()
            if metric not in (None, *known)
        ]
        if self.data.task == "regression" and (self.search.weights != "none" or self.serving.threshold):
            faults.append("search.weights and serving.threshold are for data.task: classification")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def search_metric(self) -> str:
        return self.search.metric or ("mae" if self.data.task == "regression" else "log_loss")

    @property
    def gate_metric(self) -> str:
        return self.gate.metric or self.search_metric

    def training_key(self, data_digest: str) -> str:
        """Names a training run by all that decides its outcome: data, code, and the sections that training reads.

        By this key a repeated task finds what it did before.
        """
        read = self.model_dump(include={"name", "data", "checks", "split", "search", "serving"}, mode="json")
        read["data"].pop("source"), read["data"].pop("sample")  # a moved file is the same data
        text = json.dumps([data_digest, code_version(), read], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def code_version() -> str:
    """Digest of the source that decides what a training gives; how it is shown or promoted does not count."""
    digest, package = hashlib.sha256(), Path(__file__).parent
    files = [package / "train.py", *(file for room in TRAINING_ROOMS for file in (package / room).glob("*.py"))]
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


class _Texts(yaml.SafeLoader):  # type: ignore[misc]  # without stubs
    """Leaves what is written as it is, for `Config` to read by its types: no, 1 and 2024-01-31 may be labels or column
    names. Only null is nothing."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {
        first: [pair for pair in pairs if pair[0].endswith((":null", ":merge"))]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def load(path: Path, overrides: dict[str, Any] | None = None) -> Config:
    """Reads `path`; `overrides` maps dotted keys (``search.trials``) to values that win over the file.

    Relative data paths in the file are taken from the folder of the file. Raises ConfigError.
    """
    try:
        loader = _Texts(path.read_text(encoding="utf-8"))
        root = loader.get_single_node()
        content = loader.construct_document(root) if root else None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})", "Give a YAML file in UTF-8 with --config.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}", "Fix the line that is named.") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected sections such as 'data:', found none", "Start from the project's own.")
    data: Any = content.get("data")
    for key in {"source", "sample"} & data.keys() if isinstance(data, dict) else ():
        if isinstance(data[key], str):
            data[key] = _from(path.parent, data[key])
        elif isinstance(data[key], list):
            data[key] = [_from(path.parent, str(name)) for name in data[key]]
    for dotted, value in (overrides or {}).items():
        section, _, key = dotted.rpartition(".")
        target = content.setdefault(section, {}) if section else content
        if isinstance(target, dict):
            target[key] = value
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        faults = [*error.errors(), *_between_sections(content, error.errors())]
        raise ConfigError(_explain(path, root, faults), "`make keys` (or --schema) prints every key.") from None


def is_address(source: str | list[str]) -> bool:
    """Whether a source is no path but at an address: s3://…, postgresql://…"""
    return isinstance(source, str) and "://" in source


def _from(folder: Path, name: str) -> str:
    return name if is_address(name) else os.path.normpath(folder / name)


def _between_sections(content: dict[str, Any], faults: Sequence[Any]) -> list[Any]:
    """What is wrong between the task and the metrics, where pydantic did not get to it because of other faults."""
    faulty = {fault["loc"][:2] for fault in faults}
    reduced: dict[str, Any] = {"name": "any", "data": content.get("data")}
    for section, keys in {"search": ("metric", "weights"), "gate": ("metric", "limits")}.items():
        given = content.get(section)
        kept = {key: given[key] for key in keys if key in given} if isinstance(given, dict) else {}
        reduced[section] = {key: value for key, value in kept.items() if (section, key) not in faulty}
    try:
        Config.model_validate(reduced)
    except ValidationError as error:
        return [fault for fault in error.errors() if not fault["loc"] and () not in faulty]
    return []


def _explain(path: Path, root: yaml.Node, faults: Sequence[Any]) -> str:
    sentences = []
    for problem in faults:
        where = ".".join(map(str, problem["loc"])) or "(file)"
        found = "" if problem["type"] in ("missing", "value_error") else f", found {problem['input']!r}"
        message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
        if problem["type"] == "extra_forbidden":
            near = get_close_matches(where, _keys(Config), n=1)
            message, found = "unknown key", f"; did you mean {near[0]}?" if near else ""
        sentences.append(f"{path}:{_line(root, problem['loc'])}: {where}: {message}{found}")
    return "\n".join(sentences)


def _keys(section: type[BaseModel], before: str = "") -> Iterator[str]:
    """Every key of a section and of those inside it, dotted."""
    for name, field in section.model_fields.items():
        yield before + name
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _keys(kind, f"{before}{name}.")


def _line(node: yaml.Node, location: tuple[int | str, ...]) -> int:
    """The line (from 1) of the key at `location`, or of the nearest section around it."""
    line: int = node.start_mark.line + 1
    for step in location:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(step)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
    return line
