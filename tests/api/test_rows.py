"""Whatever is sent, the reader gives clean rows or says what is wrong; it never fails in another way."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_files import regression_contract
from prediction_api.errors import MOST_COMPLAINTS, NotJson, WrongContent
from prediction_api.models.contract import Contract
from prediction_api.predicting.rows import RowReader

READER = RowReader(Contract.model_validate_json(json.dumps(regression_contract())))
NUMBERS_IN_TEXT = (
    st.floats().map(str) | st.integers().map(str) | st.sampled_from([" 7.4", "+.5e1", "\u22121", "1_0", "n/a"])
)
WORDS = st.text() | st.sampled_from(["red", "white"])
SCALARS = NUMBERS_IN_TEXT | st.none() | st.booleans() | st.integers() | st.floats() | WORDS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=4)
KEYS = st.sampled_from(["fixed acidity", "fixed_acidity", "alcohol", "type"]) | st.text()


MISSING = {"", "na", "n/a", "nan", "null", "?", "none"}  # of a contract of version 1


def _clean(row: Any) -> list[Any] | None:
    """The row as the model reads it, or None: the rule, said a second time in plain Python."""
    if not isinstance(row, dict):
        return None
    names = ["fixed_acidity" if key == "fixed acidity" else key for key in row]
    if sorted(names) != ["alcohol", "fixed_acidity", "type"]:
        return None
    acidity, alcohol, kind = (row.get("fixed acidity", row.get("fixed_acidity")), row["alcohol"], row["type"])
    cells = [_number(acidity), _number(alcohol), kind.strip(" \t\r\n\u00a0") if isinstance(kind, str) else kind]
    if isinstance(kind, str) and cells[2].casefold() in MISSING:
        cells[2] = None
    fits = cells[0] is not None and cells[2] in ("red", "white", None) and not isinstance(kind, list | dict)
    return cells if fits and "no number" not in cells else None


def _number(value: object) -> float | str | None:
    if isinstance(value, str):
        value = value.strip(" \t\r\n\u00a0").replace("\u2212", "-")
        if value.casefold() in MISSING:
            return None
        if not re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", value):
            return "no number"
        value = float(value)
    if value is None or value != value:  # noqa: PLR0124  # NaN
        return None
    kind_fits = isinstance(value, int | float) and not isinstance(value, bool)
    fits = kind_fits and abs(value) <= 3.4028234663852886e38
    return float(value) if fits else "no number"  # type: ignore[arg-type]


NEAR_ROWS = st.fixed_dictionaries(
    {
        "fixed acidity": SCALARS | st.floats(allow_nan=False, allow_infinity=False, width=32),
        "alcohol": SCALARS | st.floats(0, 20),
        "type": SCALARS | st.sampled_from(["red", "white", None]),
    }
)


@given(st.dictionaries(KEYS, VALUES, max_size=5) | NEAR_ROWS | VALUES)
def test_exactly_the_clean_rows_are_read_alone_and_in_a_batch(row: Any) -> None:
    body = json.dumps(row).encode()
    expected = _clean(row)
    if expected is not None:
        assert READER.one(body) == expected
        assert READER.many(b'{"rows": [%s]}' % body) == [expected]
    else:
        with pytest.raises((WrongContent, NotJson)):
            READER.one(body)
        with pytest.raises((WrongContent, NotJson)):
            READER.many(b'{"rows": [%s]}' % body)


@given(st.binary())
def test_any_bytes_are_answered_with_one_of_two_refusals(body: bytes) -> None:
    with pytest.raises((WrongContent, NotJson)):
        READER.one(body)
    with pytest.raises((WrongContent, NotJson)):
        READER.many(body)


def test_of_many_unknown_columns_a_few_are_named() -> None:
    """For each the nearest feature is looked for, which takes longer than anything else about it."""
    asked: list[str] = []

    def names() -> Iterator[str]:
        for number in range(1_000):
            asked.append(f"acid{number}")
            yield asked[-1]

    assert len(READER.check_names(names(), ("line", 1))) == MOST_COMPLAINTS
    assert len(asked) == MOST_COMPLAINTS


def test_a_feature_may_have_any_name() -> None:
    contract = regression_contract()
    for name, feature in zip(["model_config", "copy", "_x"], contract["features"], strict=True):
        feature["name"] = feature["input"] = name
    contract["golden"]["rows"] = [{"model_config": 1.0, "copy": 1.0, "_x": "red"}]
    contract["golden"]["predictions"] = [1.0]
    reader = RowReader(Contract.model_validate_json(json.dumps(contract)))
    assert reader.one(b'{"model_config": 1, "copy": 2, "_x": "red"}') == [1.0, 2.0, "red"]
