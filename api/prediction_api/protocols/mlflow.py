"""MLflow's scoring protocol: the four ways in which the body of POST /invocations may hold its rows.

What they mean is taken from mlflow.pyfunc.scoring_server (3.17). Stricter than there: a column that is no feature is
refused rather than dropped, and a feature that may be missing is null and not left out.
"""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from prediction_api.errors import MOST_COMPLAINTS, Complaint, Place, WrongContent
from prediction_api.http.bodies import content_kind, read_json_body
from prediction_api.http.problems import json_response
from prediction_api.models.predictor import Row
from prediction_api.predicting.cells import shown
from prediction_api.predicting.rows import MOST_ROWS, RowReader, read_json
from prediction_api.protocols.csv import INVOCATION_FORM, answer_csv
from prediction_api.protocols.routing import PROBLEM_STATUSES, PlainRoute, catalog_of, entry_of, live_model_of, worked

mlflow_router = APIRouter(route_class=PlainRoute, tags=["protocols"])


class InvocationAnswer(BaseModel):
    """As MLflow's scoring server gives it."""

    predictions: list[float | str]


@mlflow_router.post("/invocations", response_model=InvocationAnswer, responses=PROBLEM_STATUSES)
async def invocations(request: Request) -> Response:
    """MLflow's scoring protocol: dataframe_split, dataframe_records, instances or inputs, 1 to 10,000 rows; or CSV."""
    live = live_model_of(request)
    if content_kind(request) == "csv":
        return await answer_csv(request, live, lambda _: INVOCATION_FORM)
    body = await read_json_body(request, catalog_of(request).settings.api_max_body_bytes)
    inference = entry_of(request).inference

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
    return reader.rows(_some_rows(rows, place), place)


def _row_wise(reader: RowReader, rows: Any, place: Place) -> list[Row]:
    """The same, or [[value, ...], ...] with the values in the order of the model's features."""
    names = [feature.name for feature in reader.features]
    if any(isinstance(row, list) for row in _some_rows(rows, place)):
        return reader.rows(_lines(names, rows, place, "as the model has features"), place, names)
    return reader.rows(rows, place)


def _either_way(reader: RowReader, columns: Any, place: Place) -> list[Row]:
    """The same, or {feature: [value, ...]}, or one row {feature: value}."""
    if not isinstance(columns, dict):
        return _row_wise(reader, columns, place)
    if complaints := reader.check_names(columns, place):
        raise WrongContent(complaints)
    lengths = {name: len(column) if isinstance(column, list) else None for name, column in columns.items()}
    first, expected = next(((name, length) for name, length in lengths.items() if length is not None), ("", None))
    if expected is None:
        return reader.rows([columns], place)
    for name, length in lengths.items():
        if length != expected:
            found = f"{length}" if length is not None else shown(columns[name])
            what = f"expected a list of {expected} values as for {first!r}, found {found}"
            raise WrongContent.at((*place, name), what)
    _some_rows(columns[first], place)
    return reader.rows(zip(*columns.values(), strict=True), ("rows",), list(columns))


def _split(reader: RowReader, split: Any, place: Place) -> list[Row]:
    """{"columns": [feature, ...], "data": [[value, ...], ...]}, and an index that says nothing."""
    if not isinstance(split, dict) or not {"columns", "data"} <= split.keys() <= {"columns", "data", "index"}:
        raise WrongContent.at(place, f"expected an object of columns, data and perhaps index, found {shown(split)}")
    columns, data = split["columns"], (*place, "data")
    rows = _some_rows(split["data"], data)
    if not isinstance(split.get("index"), list | None):
        raise WrongContent.at((*place, "index"), f"expected a list, found {shown(split['index'])}")
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise WrongContent.at((*place, "columns"), "expected a list of names")
    if complaints := reader.check_names(columns, (*place, "columns")):
        raise WrongContent(complaints)
    return reader.rows(_lines(columns, rows, data, "as there are columns"), data, columns)


_READERS: dict[str, Callable[[RowReader, Any, Place], list[Row]]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _row_wise,
    "inputs": _either_way,
}


def _some_rows(rows: Any, place: Place) -> list[Any]:
    if not isinstance(rows, list):
        raise WrongContent.at(place, f"expected a list of rows, found {shown(rows)}")
    if not 1 <= len(rows) <= MOST_ROWS:
        what = f"expected 1 to {MOST_ROWS} rows, found {len(rows)}; more fit into one call as CSV"
        raise WrongContent.at(place, what)
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
        raise WrongContent(complaints)
    return rows
