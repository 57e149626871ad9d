"""MLflow's scoring protocol: the four ways in which the body of POST /invocations may hold its rows.

What they mean is taken from mlflow.pyfunc.scoring_server (3.17). Stricter than there: a column that is no feature is
refused rather than dropped, a feature that may be missing is given as null, and a number is never given as text.
"""

from collections.abc import Callable, Iterator
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from prediction_api.errors import Complaint
from prediction_api.http.middleware import content_kind, json_response, read_json_body
from prediction_api.models.predictor import Prediction, Row
from prediction_api.predicting.rows import MOST_COMPLAINTS, MOST_ROWS, Place, RowReader, read_json, shown, wrong_content
from prediction_api.protocols.csv import INVOCATION_FORM, answer_csv
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
        return await answer_csv(request, live, INVOCATION_FORM)
    body = await read_json_body(request, settings_of(request).api_max_body_bytes)
    inference = inference_of(request)

    def answer() -> Response:
        rows = read_invocation(live.reader, body)
        return json_response(invocation_answer(inference.many(live, rows, inference.new_id())))

    return await worked(request, len(body), answer)


def invocation_answer(predictions: list[Prediction]) -> dict[str, Any]:
    return {"predictions": [one.value for one in predictions]}


def read_invocation(reader: RowReader, body: bytes) -> list[Row]:
    """The rows of a JSON body, in order. Raises NotJson or WrongContent."""
    given = read_json(body)
    ways = ", ".join(_READERS)
    if not isinstance(given, dict):
        raise _wrong((), f"expected a JSON object with one of {ways}, found {shown(given)}")
    kinds = [key for key in given if key in _READERS]
    if unknown := [key for key in given if key not in _READERS and key != "params"]:
        raise _wrong((unknown[0][:100],), f"expected one of {ways}, and params")
    if len(kinds) != 1:
        raise _wrong((), f"expected exactly one of {ways}, found {' and '.join(kinds) or 'none'}")
    if not isinstance(given.get("params"), dict | None):  # taken and not used, as by MLflow for a model that has none
        raise _wrong(("params",), f"expected an object, found {shown(given['params'])}")
    return _READERS[kinds[0]](reader, given[kinds[0]], (kinds[0],))


def _records(reader: RowReader, given: Any, place: Place) -> list[Row]:
    """[{feature: value}, ...]"""
    return reader.rows(_some_rows(given, place), place)


def _row_wise(reader: RowReader, given: Any, place: Place) -> list[Row]:
    """The same, or [[value, ...], ...] with the values in the order of the model's features."""
    names = [feature.name for feature in reader.features]
    rows = _some_rows(given, place)
    if any(isinstance(row, list) for row in rows):
        return reader.rows(_named(names, rows, place, "as the model has features"), place)
    return reader.rows(rows, place)


def _either_way(reader: RowReader, given: Any, place: Place) -> list[Row]:
    """The same, or {feature: [value, ...]}, or one row {feature: value}."""
    if not isinstance(given, dict):
        return _row_wise(reader, given, place)
    if complaints := reader.check_names(list(given), place):
        raise wrong_content(complaints)
    lengths = {name: len(column) if isinstance(column, list) else None for name, column in given.items()}
    if all(length is None for length in lengths.values()):
        return reader.rows([given], place)
    first, expected = next((name, length) for name, length in lengths.items() if length is not None)
    for name, length in lengths.items():
        if length != expected:
            found = f"{length}" if length is not None else shown(given[name])
            raise _wrong((*place, name), f"expected a list of {expected} values as for {first!r}, found {found}")
    _some_rows(given[first], place)
    return reader.rows((dict(zip(given, cells, strict=True)) for cells in zip(*given.values(), strict=True)), ("rows",))


def _split(reader: RowReader, given: Any, place: Place) -> list[Row]:
    """{"columns": [feature, ...], "data": [[value, ...], ...]}, and an index that says nothing."""
    if not isinstance(given, dict) or not {"columns", "data"} <= given.keys() <= {"columns", "data", "index"}:
        raise _wrong(place, f"expected an object of columns, data and perhaps index, found {shown(given)}")
    columns, rows = given["columns"], _some_rows(given["data"], (*place, "data"))
    if not isinstance(given.get("index"), list | None):
        raise _wrong((*place, "index"), f"expected a list, found {shown(given['index'])}")
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise _wrong((*place, "columns"), "expected a list of names")
    if complaints := reader.check_names(columns, (*place, "columns")):
        raise wrong_content(complaints)
    place = (*place, "data")
    return reader.rows(_named(columns, rows, place, "as there are columns"), place)


_READERS: dict[str, Callable[[RowReader, Any, Place], list[Row]]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _row_wise,
    "inputs": _either_way,
}


def _some_rows(given: Any, place: Place) -> list[Any]:
    if not isinstance(given, list):
        raise _wrong(place, f"expected a list of rows, found {shown(given)}")
    if not 1 <= len(given) <= MOST_ROWS:
        raise _wrong(place, f"expected 1 to {MOST_ROWS} rows, found {len(given)}; more fit into one call as CSV")
    return given


def _named(names: list[str], rows: list[Any], place: Place, why: str) -> Iterator[dict[str, Any]]:
    complaints = []
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            found = f"{len(row)}" if isinstance(row, list) else shown(row)
            complaints.append(
                Complaint((*place, number), f"expected a list of {len(names)} values {why}, found {found}")
            )
        if len(complaints) == MOST_COMPLAINTS:
            break
    if complaints:
        raise wrong_content(complaints)
    return (dict(zip(names, row, strict=True)) for row in rows)


def _wrong(place: Place, what: str) -> Exception:
    return wrong_content([Complaint(place, what)])
