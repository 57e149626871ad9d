"""MLflow's scoring protocol: the four forms of the body of POST /invocations.

They are those of mlflow.pyfunc.scoring_server (3.17), with two stricter rules: an unknown column is refused rather than
dropped, and a missing value has to be null.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from prediction_api.errors import Place, WrongContent
from prediction_api.models.predictor import Row
from prediction_api.predicting.rows import RowReader, read_json, shown, some_rows
from prediction_api.protocols import routing
from prediction_api.protocols.batches import INVOCATION_FORM, answer_batch

mlflow_router = APIRouter(route_class=routing.PlainRoute, tags=["protocols"])


class InvocationAnswer(BaseModel):
    """As MLflow's scoring server gives it."""

    predictions: list[float | str]


@mlflow_router.post("/invocations", response_model=InvocationAnswer, responses=routing.PROBLEM_STATUSES)
async def invocations(request: Request) -> Response:
    """MLflow's scoring protocol: dataframe_split, dataframe_records, instances or inputs, 1 to 10,000 rows; or CSV."""
    live = routing.live_model_of(request)
    return await answer_batch(request, live, partial(_read_invocation, live.reader), lambda _: INVOCATION_FORM)


def _read_invocation(reader: RowReader, body: bytes) -> list[Row]:
    """The rows of a JSON body, in order. Raises NotJson or WrongContent."""
    document = read_json(body)
    forms = ", ".join(_READERS)
    if not isinstance(document, dict):
        raise WrongContent.at((), f"expected a JSON object with one of {forms}, found {shown(document)}")
    found = [key for key in document if key in _READERS]
    if unknown := [key for key in document if key not in _READERS and key != "params"]:
        raise WrongContent.at((unknown[0][:100],), f"expected one of {forms}, and params")
    if len(found) != 1:
        raise WrongContent.at((), f"expected exactly one of {forms}, found {' and '.join(found) or 'none'}")
    if not isinstance(document.get("params"), dict | None):  # read and not used, as by MLflow for a model without any
        raise WrongContent.at(("params",), f"expected an object, found {shown(document['params'])}")
    return _READERS[found[0]](reader, document[found[0]], (found[0],))


def _records(reader: RowReader, rows: Any, place: Place) -> list[Row]:
    """[{feature: value}, ...]"""
    return reader.rows(some_rows(rows, place), place)


def _row_wise(reader: RowReader, rows: Any, place: Place) -> list[Row]:
    """The same, or [[value, ...], ...] with the values in the order of the model's features."""
    if not any(isinstance(row, list) for row in some_rows(rows, place)):
        return reader.rows(rows, place)
    each = f"a list of {len(reader.names)} values as the model has features"
    return reader.rows(rows, place, reader.layout(reader.names, place, each))


def _either_way(reader: RowReader, columns: Any, place: Place) -> list[Row]:
    """The same, or {feature: [value, ...]}, or one row {feature: value}."""
    if not isinstance(columns, dict):
        return _row_wise(reader, columns, place)
    layout = reader.layout(list(columns), place)
    first = next((name for name, column in columns.items() if isinstance(column, list)), None)
    if first is None:
        return reader.rows([columns], place)
    some_rows(columns[first], place)
    for name, column in columns.items():
        if not isinstance(column, list) or len(column) != len(columns[first]):
            found = len(column) if isinstance(column, list) else shown(column)
            what = f"expected a list of {len(columns[first])} values as for {first!r}, found {found}"
            raise WrongContent.at((*place, name), what)
    return reader.rows(zip(*columns.values(), strict=True), ("rows",), layout)


def _split(reader: RowReader, split: Any, place: Place) -> list[Row]:
    """{"columns": [feature, ...], "data": [[value, ...], ...]}, and an index that says nothing."""
    if not isinstance(split, dict) or not {"columns", "data"} <= split.keys() <= {"columns", "data", "index"}:
        raise WrongContent.at(place, f"expected an object of columns, data and perhaps index, found {shown(split)}")
    names, data = split["columns"], (*place, "data")
    rows = some_rows(split["data"], data)
    if not isinstance(split.get("index"), list | None):
        raise WrongContent.at((*place, "index"), f"expected a list, found {shown(split['index'])}")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise WrongContent.at((*place, "columns"), "expected a list of names")
    each = f"a list of {len(names)} values as there are columns"
    return reader.rows(rows, data, reader.layout(names, (*place, "columns"), each))


_READERS: dict[str, Callable[[RowReader, Any, Place], list[Row]]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _row_wise,
    "inputs": _either_way,
}
