"""MLflow's scoring protocol: the four ways in which the body of POST /invocations may hold its rows.

What they mean is taken from mlflow.pyfunc.scoring_server (3.17). Stricter than there: a column that is no feature is
refused rather than dropped, and a feature that may be missing is null and not left out.
"""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from prediction_api.errors import Complaint
from prediction_api.http.bodies import content_kind, read_json_body
from prediction_api.http.problems import json_response
from prediction_api.models.predictor import Row
from prediction_api.predicting.cells import shown
from prediction_api.predicting.rows import MOST_COMPLAINTS, MOST_ROWS, Place, RowReader, read_json, wrong_content
from prediction_api.protocols.csv import answer_csv, invocation_form
from prediction_api.protocols.routing import (
    PROBLEM_STATUSES,
    PlainRoute,
    inference_of,
    live_model_of,
    settings_of,
    worked,
)

mlflow_router = APIRouter(route_class=PlainRoute)


class InvocationAnswer(BaseModel):
    """As MLflow's scoring server gives it."""

    predictions: list[float | str]


@mlflow_router.post("/invocations", response_model=InvocationAnswer, responses=PROBLEM_STATUSES, tags=["protocols"])
async def invocations(request: Request) -> Response:
    """MLflow's scoring protocol: dataframe_split, dataframe_records, instances or inputs, 1 to 10,000 rows; or CSV."""
    live = live_model_of(request)
    if content_kind(request) == "csv":
        return await answer_csv(request, live, invocation_form)
    body = await read_json_body(request, settings_of(request).api_max_body_bytes)
    inference = inference_of(request)

    def answer() -> Response:
        rows = read_invocation(live.reader, body)
        predictions = inference.many(live, rows, inference.new_id())
        return json_response({"predictions": [one.value for one in predictions]})

    return await worked(request, len(body), answer)


def read_invocation(reader: RowReader, body: bytes) -> list[Row]:
    """The rows of a JSON body, in order. Raises NotJson or WrongContent."""
    document = read_json(body)
    forms = ", ".join(_READERS)
    if not isinstance(document, dict):
        raise _wrong((), f"expected a JSON object with one of {forms}, found {shown(document)}")
    found = [key for key in document if key in _READERS]
    if unknown := [key for key in document if key not in _READERS and key != "params"]:
        raise _wrong((unknown[0][:100],), f"expected one of {forms}, and params")
    if len(found) != 1:
        raise _wrong((), f"expected exactly one of {forms}, found {' and '.join(found) or 'none'}")
    if not isinstance(document.get("params"), dict | None):  # read and not used, as by MLflow for a model without any
        raise _wrong(("params",), f"expected an object, found {shown(document['params'])}")
    return _READERS[found[0]](reader, document[found[0]], (found[0],))


def _records(reader: RowReader, rows: Any, place: Place) -> list[Row]:
    """[{feature: value}, ...]"""
    return reader.rows(_some_rows(rows, place), place)


def _row_wise(reader: RowReader, rows: Any, place: Place) -> list[Row]:
    """The same, or [[value, ...], ...] with the values in the order of the model's features."""
    names = [feature.name for feature in reader.features]
    if any(isinstance(row, list) for row in _some_rows(rows, place)):
        return reader.table(names, _lines(names, rows, place, "as the model has features"), place)
    return reader.rows(rows, place)


def _either_way(reader: RowReader, columns: Any, place: Place) -> list[Row]:
    """The same, or {feature: [value, ...]}, or one row {feature: value}."""
    if not isinstance(columns, dict):
        return _row_wise(reader, columns, place)
    if complaints := reader.check_names(columns, place):
        raise wrong_content(complaints)
    lengths = {name: len(column) if isinstance(column, list) else None for name, column in columns.items()}
    if all(length is None for length in lengths.values()):
        return reader.rows([columns], place)
    first, expected = next((name, length) for name, length in lengths.items() if length is not None)
    for name, length in lengths.items():
        if length != expected:
            found = f"{length}" if length is not None else shown(columns[name])
            raise _wrong((*place, name), f"expected a list of {expected} values as for {first!r}, found {found}")
    _some_rows(columns[first], place)
    return reader.table(list(columns), zip(*columns.values(), strict=True), ("rows",))


def _split(reader: RowReader, split: Any, place: Place) -> list[Row]:
    """{"columns": [feature, ...], "data": [[value, ...], ...]}, and an index that says nothing."""
    if not isinstance(split, dict) or not {"columns", "data"} <= split.keys() <= {"columns", "data", "index"}:
        raise _wrong(place, f"expected an object of columns, data and perhaps index, found {shown(split)}")
    columns, rows = split["columns"], _some_rows(split["data"], (*place, "data"))
    if not isinstance(split.get("index"), list | None):
        raise _wrong((*place, "index"), f"expected a list, found {shown(split['index'])}")
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise _wrong((*place, "columns"), "expected a list of names")
    if complaints := reader.check_names(columns, (*place, "columns")):
        raise wrong_content(complaints)
    place = (*place, "data")
    return reader.table(columns, _lines(columns, rows, place, "as there are columns"), place)


_READERS: dict[str, Callable[[RowReader, Any, Place], list[Row]]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _row_wise,
    "inputs": _either_way,
}


def _some_rows(rows: Any, place: Place) -> list[Any]:
    if not isinstance(rows, list):
        raise _wrong(place, f"expected a list of rows, found {shown(rows)}")
    if not 1 <= len(rows) <= MOST_ROWS:
        raise _wrong(place, f"expected 1 to {MOST_ROWS} rows, found {len(rows)}; more fit into one call as CSV")
    return rows


def _lines(names: list[str], rows: list[Any], place: Place, why: str) -> list[Any]:
    """The rows, each of them a list of a value for each name. Raises WrongContent."""
    complaints = []
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            found = f"{len(row)}" if isinstance(row, list) else shown(row)
            what = f"expected a list of {len(names)} values {why}, found {found}"
            complaints.append(Complaint((*place, number), what))
        if len(complaints) == MOST_COMPLAINTS:
            break
    if complaints:
        raise wrong_content(complaints)
    return rows


def _wrong(place: Place, what: str) -> Exception:
    return wrong_content([Complaint(place, what)])
