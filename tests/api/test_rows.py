"""Whatever is sent, the reader gives clean rows or says what is wrong; it never fails in another way."""

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_files import regression_contract
from prediction_api.errors import NotJson, WrongContent
from prediction_api.models.contract import Contract
from prediction_api.predicting.rows import MOST_COMPLAINTS, RowReader

READER = RowReader(Contract.model_validate_json(json.dumps(regression_contract())))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["red", "white"])
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=4)
KEYS = st.sampled_from(["fixed acidity", "fixed_acidity", "alcohol", "type"]) | st.text()


def _is_clean(row: dict[str, Any]) -> bool:
    """The rule, said a second time in plain Python."""
    if not isinstance(row, dict):
        return False
    names = ["fixed_acidity" if key == "fixed acidity" else key for key in row]
    if sorted(names) != ["alcohol", "fixed_acidity", "type"]:
        return False
    acidity, alcohol, kind = (row.get("fixed acidity", row.get("fixed_acidity")), row["alcohol"], row["type"])
    return _is_number(acidity) and (alcohol is None or _is_number(alcohol)) and kind in ("red", "white", None)


def _is_number(value: object) -> bool:
    kind_fits = isinstance(value, int | float) and not isinstance(value, bool)
    return kind_fits and math.isfinite(value) and abs(value) <= 3.4028234663852886e38


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
    if _is_clean(row):
        acidity = row.get("fixed acidity", row.get("fixed_acidity"))
        expected = [float(acidity), None if row["alcohol"] is None else float(row["alcohol"]), row["type"]]
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

    class Names(list[str]):
        def __iter__(self) -> Iterator[str]:
            for number in range(1_000):
                asked.append(f"acid{number}")
                yield asked[-1]

    assert len(READER.check_names(Names(), ("line", 1))) == MOST_COMPLAINTS
    assert len(asked) == MOST_COMPLAINTS


def test_a_feature_may_have_any_name() -> None:
    contract = regression_contract()
    for name, feature in zip(["model_config", "copy", "_x"], contract["features"], strict=True):
        feature["name"] = feature["input"] = name
    contract["golden"]["rows"] = [{"model_config": 1.0, "copy": 1.0, "_x": "red"}]
    contract["golden"]["predictions"] = [1.0]
    reader = RowReader(Contract.model_validate_json(json.dumps(contract)))
    assert reader.one(b'{"model_config": 1, "copy": 2, "_x": "red"}') == [1.0, 2.0, "red"]
