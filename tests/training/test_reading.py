"""Scoring and `mlflow.pyfunc` read a value as the prediction service does, which has its own code for it."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter
from training.model import frame_model

sys.path.insert(0, str(Path(__file__).parents[2] / "api"))

from prediction_api.models import contract as service
from prediction_api.predicting.rows import reader_of

VALUES: list[Any] = [
    *[None, "", " ", "NA", "na", "-", "?", "nan", float("nan"), float("inf"), True, False, 0, 1, 2, 7, 7.0, 1.5, -999],
    *[
        "2024131",
        2024131,
        20240131,
        20240230,
        10**40,
        1e39,
        3.4028234663852886e38,
        [1],
        {"a": 1},
        "70.5",
        " 7e1\t",
        "+70.",
        ".5",
        "5d",
    ],
    *["1_0", "0x1p3", "inf", "1.234,5", "1,234.5", "12.34,5", "\u22127", "\u00a012\u00a0", "1.234.567", ",5", "\u0661"],
    *["red", "Red", " red", "dark blue", "true", "True", "YES", "no", "f", "7", "7.0", "07", "1", "0", "1.0", "maybe"],
    *["2024-01-31", "2024-02-30", "2024-1-3", "2024", "today", "31.01.2024", "1.3.2024", "31.1.24", "20240131"],
    *["2024-01-31T10", "2024-01-31T10:00", "2024-01-31 10:00:00 +0200", "2024-01-31T10:00:00.123456789Z"],
    *["2024-01-31T25:00:00Z", "2024-12-31T23:30:00-01", "1969-12-31T23:59:59,5Z", "2024-06-30T10:00:00-0330", "10:00"],
    *["9999-12-31T23:59:59-01:00", "31.01.2024 9:15", "31.1.2024 09:15", "-999", "-999.0"],
]
READINGS = [
    {"missing": ["na", "?", "nan"], "decimal": ".", "thousands": ""},
    {"missing": ["-", "-999"], "decimal": ",", "thousands": "."},
    {"missing": [], "decimal": ".", "thousands": ","},
]
DAY = [{"input": f"x_{part}", "part": part} for part in frame_model.PARTS]
KINDS: list[dict[str, Any]] = [
    {"type": "number"},
    {"type": "category", "categories": ["red", "dark blue", "7", "7.0", "True"], "unknown": "accept"},
    {"type": "category", "categories": ["red", "1.0", "true", "-999"], "unknown": "refuse"},
    {"type": "boolean", "true": ["true", "yes", "1"], "false": ["false", "no", "f", "0"]},
    {"type": "boolean", "true": ["7"], "false": ["2"]},
    *[{"type": "date", "format": form, "parts": DAY} for form in ("iso", "%d.%m.%Y", "%Y%m%d", "%d.%m.%Y %H:%M")],
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("reading", READINGS, ids=str)
@pytest.mark.parametrize("nullable", [True, False])
def test_a_value_is_read_alike(kind: dict[str, Any], reading: dict[str, Any], nullable: bool) -> None:
    feature = {"name": "x", "input": "x", "unit": None, "nullable": nullable, **kind}
    theirs: Any = TypeAdapter(service.Feature).validate_python(feature)
    read_there = reader_of(theirs, service.Reading(**reading))
    read_here = frame_model.reader(feature, reading)
    for value in VALUES:
        expected: Any = "refused"
        try:
            found = read_there(value)
            expected = theirs.numbers(found) if kind["type"] == "date" else [found]
        except (ValueError, TypeError):
            pass
        try:
            given = frame_model.inputs(feature, [read_here(value)])
            read: Any = [one[0] for one in given.values()]
        except frame_model.NO_VALUE:
            read = "refused"
        if expected == "refused" or read == "refused":
            assert read == expected, value
        elif kind["type"] == "category":
            assert read == [expected[0] or ""], value
        else:
            np.testing.assert_array_equal(read, np.array(expected, dtype=np.float32), str(value))


@pytest.mark.parametrize(
    ("kind", "value", "same"),
    [
        (KINDS[0], np.int64(3), "3"),
        (KINDS[0], pd.NA, None),
        (KINDS[3], np.True_, "true"),
        (KINDS[5], pd.Timestamp("2024-01-31 10:00", tz="UTC"), "2024-01-31T10:00Z"),
        (KINDS[6], pd.NaT, None),
        (KINDS[6], datetime(2024, 1, 31, tzinfo=UTC).date(), "31.01.2024"),
    ],
)
def test_pandas_own_values_are_read_as_their_text(kind: dict[str, Any], value: Any, same: str | None) -> None:
    feature = {"name": "x", "input": "x", "nullable": True, **kind}
    read = frame_model.reader(feature, READINGS[0])
    given, expected = (frame_model.inputs(feature, [read(one)]) for one in (value, same))
    for name, array in given.items():
        np.testing.assert_array_equal(array, expected[name])
