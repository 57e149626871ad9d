"""The calls described: as OpenAPI, and for people as /docs, which is made from it.

The service's own calls follow the model that is live; other servers' protocols do not.
"""

import copy
import csv
import io
import re
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute

from prediction_api.errors import ModelRefused, RequestRefused, WrongKey
from prediction_api.http.access import is_open
from prediction_api.models.contract import Contract, Feature, Reading
from prediction_api.models.store import Catalog
from prediction_api.predicting.rows import FLOAT32_MAX, MOST_ROWS, describe
from prediction_api.protocols.native import Feedback
from prediction_api.protocols.routing import PlainRoute, catalog_of, problems
from prediction_api.protocols.v2 import DATATYPES, InferRequest
from prediction_api.web.files import PAGE_HEADERS, page, site_links
from prediction_api.web.reference import PROBLEM, html_of, key_page, reference_page, table

Json = dict[str, Any]
TITLE = "Prediction service"
page_router = APIRouter(route_class=PlainRoute, include_in_schema=False)
_HOME = "predict-form"


_COMPONENTS = "#/components/schemas/"
_KEY_SCHEMES = {
    "Bearer": {"type": "http", "scheme": "bearer"},
    "Key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_ROWS = {"type": "array", "minItems": 1, "maxItems": MOST_ROWS}
_OBJECTS = _ROWS | {"items": {"type": "object"}}
_LISTS = _ROWS | {"items": {"type": "array", "items": {}}}
_SPLIT = {
    "type": "object",
    "properties": {"columns": {"type": "array", "items": {"type": "string"}}, "data": _LISTS, "index": {}},
    "required": ["columns", "data"],
}
_INVOCATION = {  # MLflow's four forms
    "oneOf": [
        {"type": "object", "properties": {name: form, "params": {}}, "required": [name], "additionalProperties": False}
        for name, form in {
            "dataframe_split": _SPLIT,
            "dataframe_records": _OBJECTS,
            "instances": {"anyOf": [_OBJECTS, _LISTS]},
            "inputs": {"anyOf": [_OBJECTS, _LISTS, {"type": "object"}]},
        }.items()
    ]
}


def openapi_schema(app: FastAPI, catalog: Catalog, keyed: bool) -> Json:
    """The schema with the default model's features in the bodies of the calls, or any object before there is one.

    The calls of every other live model follow, under /models/{name}. `keyed`: the service asks for a key.
    """
    live = catalog.default.live if catalog.default else None
    version = f"{live.name} version {live.version}" if live else "no model"
    schema = get_openapi(title=TITLE, version=version, description=f"Serving {version}.", routes=app.routes)
    paths, known = schema["paths"], schema["components"]["schemas"]
    infer = InferRequest.model_json_schema(ref_template=_COMPONENTS + "{model}")
    known |= {**infer.pop("$defs"), "InferRequest": infer, "Problem": PROBLEM}
    if live:
        known["Features"] = row_schema(live.predictor.contract)
    for path, body in _bodies(live.predictor.contract if live else None).items():
        paths[path]["post"]["requestBody"] = body
    reachable = {route.path for route in app.routes if isinstance(route, APIRoute)}
    of_model = {path: calls for path, calls in paths.items() if f"/models/{{name}}{path}" in reachable}
    for name, model in catalog.models.items():
        if live and model.live and name != live.name:
            _add_model(schema, name, model.live.predictor.contract, of_model)
    if keyed:
        schema["components"]["securitySchemes"] = _KEY_SCHEMES
    in_path = {"name": {"enum": [live.name]}, "version": {"enum": [live.version]}} if live else {}
    for path, calls in paths.items():
        for call in calls.values():
            if keyed and not is_open(path):
                call["security"] = [{name: []} for name in _KEY_SCHEMES]
                call["responses"] |= {str(status): one for status, one in problems(401).items()}
            call["parameters"] = [
                {"name": name, "in": "path", "required": True, "schema": in_path.get(name, {"type": "string"})}
                for name in re.findall(r"{(\w+)}", path)
            ] + call.get("parameters", [])
    return schema


def _add_model(schema: Json, name: str, contract: Contract, of_model: Json) -> None:
    """Adds the calls of one more model, with its own features."""
    known = schema["components"]["schemas"]
    component = f"Features_{re.sub('[^A-Za-z0-9.-]', '_', name)}"
    while component in known:
        component += "_"
    known[component] = row_schema(contract) | {"title": component}
    bodies = _bodies(contract, component)
    for path, calls in copy.deepcopy(of_model).items():
        for method, call in calls.items():
            call["operationId"] = f"{component}_{method}_{path.replace('/', '_').strip('_')}"
            call["summary"] += f" ({name})"
            if path in bodies:
                call["requestBody"] = bodies[path]
        schema["paths"][f"/models/{quote(name)}{path}"] = calls


def _bodies(contract: Contract | None, component: str = "Features") -> dict[str, Json]:
    """The body of each call that takes one, with an example that fits the model."""
    features = contract.features if contract else []
    row = {feature.name: feature.example for feature in features}
    one = {"$ref": f"{_COMPONENTS}{component}"} if contract else {"type": "object"}
    predict = _json_body(one, row)
    rows = {"rows": _ROWS | {"items": one}}
    batch = {"type": "object", "properties": rows, "required": ["rows"], "additionalProperties": False}
    split = {"dataframe_split": {"columns": list(row), "data": [list(row.values())]}}
    tensors = [
        {"name": one.name, "shape": [1], "datatype": DATATYPES[one.type], "data": [one.example]} for one in features
    ]
    infer = _json_body({"$ref": f"{_COMPONENTS}InferRequest"}, {"inputs": tensors})
    feedback = Feedback.model_json_schema()
    if contract:
        feedback["properties"]["actual"] = {"enum": contract.labels} if contract.labels else {"type": "number"}
    truth = {"id": "0123456789abcdef-000001", "actual": contract.golden.predictions[0] if contract else 5.0}
    return {
        "/predict": predict,
        "/explain": predict,
        "/predict/batch": _json_body(batch, {"rows": [row, row]}, row),
        "/invocations": _json_body(_INVOCATION, split, row),
        "/v2/models/{name}/infer": infer,
        "/v2/models/{name}/versions/{version}/infer": infer,
        "/feedback": _json_body(feedback, truth),
    }


def _json_body(schema: Json, example: Json, csv_row: Json | None = None) -> Json:
    """A body of JSON; where a row is given, a CSV with such rows will do too."""
    content: Json = {"application/json": {"schema": schema, "example": example}}
    if csv_row is not None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([csv_row.keys(), csv_row.values(), csv_row.values()])
        content["text/csv"] = {"schema": {"type": "string"}, "example": text.getvalue()}
    return {"required": True, "content": content}


def row_schema(contract: Contract) -> Json:
    """One row, with the features' names of the table; their identifiers are read too."""
    properties = {
        one.name: {"title": one.name, "description": describe(one), "anyOf": _values(one, contract.reading)}
        for one in contract.features
    }
    return {
        "title": "Features",
        "description": f"Features of {contract.name}",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        "example": {feature.name: feature.example for feature in contract.features},
    }


def _values(feature: Feature, reading: Reading) -> list[Json]:
    """What the feature may be. A text is read as the cell of a CSV: here stand the plainest of these."""
    no_value = {"enum": ["", *reading.missing]}
    values: list[Json]
    if feature.type == "number":
        text = {"type": "string", "pattern": rf"^[+-]?[0-9]{{1,30}}({re.escape(reading.decimal)}[0-9]{{1,9}})?$"}
        values = [{"type": "number", "minimum": -FLOAT32_MAX, "maximum": FLOAT32_MAX}, text]
    elif feature.type == "category" and feature.unknown == "refuse":
        values = [{"enum": feature.categories}]
    elif feature.type == "category":
        values = [{"type": "string", "examples": feature.categories[:10]}]
        if not feature.nullable:  # then a text must not say that there is no value
            values[0] |= {"minLength": 1, "not": no_value}
    elif feature.type == "boolean":
        values = [{"type": "boolean"}, {"enum": [0, 1]}, {"enum": [*feature.true, *feature.false]}]
    elif feature.format == "iso":
        values = [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]
    else:
        values = [{"type": "string", "examples": [feature.example]}]
    # null by its type: generators of clients do not find it among the values of an enumeration
    return [*values, {"type": "null"}, no_value] if feature.nullable else values


def _links(request: Request, here: str = "") -> str:
    return site_links(catalog_of(request).settings.api_pages, request.url, here)


@page_router.get("/")
async def overview_page(request: Request) -> Response:
    return page("overview.html", _links(request, "Overview"))


@page_router.get("/predict-form")
async def predict_page(request: Request) -> Response:
    return page("predict.html", _links(request, "Predict"))


@page_router.get("/docs")
async def docs(request: Request) -> Response:
    links = _links(request)
    if not request.app.state.check_access.has_key(request.scope):
        return HTMLResponse(
            key_page(TITLE, links=links, home=_HOME), WrongKey.status, {**PAGE_HEADERS, **WrongKey.headers}
        )
    schema = request.app.openapi()
    apart = [name for name in schema["components"]["schemas"] if name.startswith("Features")]
    address = str(request.base_url).rstrip("/")
    html = reference_page(schema, address, links=links, home=_HOME, apart=apart, more=_errors())
    return HTMLResponse(html, headers=PAGE_HEADERS)


def _errors() -> str:
    """Every kind of error and of refused version; the problem documents link to them."""
    errors, refusals = RequestRefused.__subclasses__(), ModelRefused.__subclasses__()
    rows = [(str(one.status), html_of(one.title), html_of(one.hint)) for one in errors]
    kinds = table(("Status", "Title", "What to do"), rows, [f"error-{one.code()}" for one in errors])
    rows = [(html_of(one.code()), html_of(one.title), html_of(one.hint)) for one in refusals]
    reasons = table(("Code", "Title", "What to do"), rows, [f"refused-{one.code()}" for one in refusals])
    return (
        f'<section class="card"><h2>Kinds of errors</h2>{kinds}</section>'
        '<section class="card"><h2>Why a version is not served</h2><p>The one before it goes on serving.</p>'
        f"{reasons}</section>"
    )
