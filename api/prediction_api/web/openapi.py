"""The OpenAPI schema, which follows the model that is live."""

import csv
import io
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from prediction_api.http.keys import is_open
from prediction_api.models.catalog import Catalog
from prediction_api.models.store import LiveModel
from prediction_api.predicting.rows import FLOAT32_MAX, MOST_ROWS
from prediction_api.protocols.routing import problems
from prediction_api.protocols.v2 import InferRequest
from prediction_api.telemetry.feedback import feedback_schema

Json = dict[str, Any]
ROW = {"$ref": "#/components/schemas/Features"}
_ANY_PARAMETERS = {"anyOf": [{"type": "object"}, {"type": "null"}]}
TITLE = "Prediction service"
_REQUEST_ID = {"description": "The id given, or one made here", "required": True, "schema": {"type": "string"}}


_KEY_SCHEMES = {
    "Bearer": {"type": "http", "scheme": "bearer"},
    "Key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def openapi_schema(app: FastAPI, catalog: Catalog, keyed: bool) -> dict[str, Any]:
    """The schema with the default model's features in the bodies of the calls, or any object before there is one.

    `keyed`: the service asks for a key.
    """
    live = catalog.default.live if catalog.default else None
    version = f"{live.name} version {live.version}" if live else "no model"
    schema = get_openapi(title=TITLE, version=version, description=f"Serving {version}.", routes=app.routes)
    contract = live.predictor.contract if live else None
    row: dict[str, Any] = {"type": "object"}
    example: dict[str, Any] = {}
    invocation = infer = json_body(row, example)
    if live:
        schema["components"]["schemas"]["Features"] = live.reader.model.model_json_schema()
        row, example = ROW, example_row(live)
        invocation, infer = invocation_body(live), infer_body(live)
    batch = {
        "type": "object",
        "properties": {"rows": rows_of(row)},
        "required": ["rows"],
        "additionalProperties": False,
    }
    told = {"id": "0123456789abcdef-000001", "actual": contract.golden.predictions[0] if contract else 5.0}
    bodies = {
        "/predict": json_body(row, example),
        "/explain": json_body(row, example),
        "/predict/batch": with_csv(json_body(batch, {"rows": [example, example]}), live),
        "/invocations": with_csv(invocation, live),
        "/v2/models/{name}/infer": infer,
        "/v2/models/{name}/versions/{version}/infer": infer,
        "/feedback": json_body(feedback_schema(contract), told),
    }
    for path, body in bodies.items():
        schema["paths"][path]["post"]["requestBody"] = body
    known = [("name", live.name if live else None), ("version", live.version if live else None)]
    if keyed:
        schema["components"]["securitySchemes"] = _KEY_SCHEMES
    for path, calls in schema["paths"].items():
        for call in calls.values():
            if keyed and not is_open(path):
                call["security"] = [{name: []} for name in _KEY_SCHEMES]
                call["responses"] |= {str(status): one for status, one in problems(401).items()}
            call["parameters"] = [_path_parameter(*one) for one in known if f"{{{one[0]}}}" in path]
            for response in call["responses"].values():
                response["headers"] = {"X-Request-ID": _REQUEST_ID}
    return schema


def _path_parameter(name: str, value: str | None) -> dict[str, Any]:
    known = {"enum": [value]} if value else {"type": "string"}
    return {"name": name, "in": "path", "required": True, "schema": known}


def rows_of(items: Json) -> Json:
    return {"type": "array", "items": items, "minItems": 1, "maxItems": MOST_ROWS}


def example_row(live: LiveModel) -> Json:
    return {feature.name: feature.example for feature in live.predictor.contract.features}


def json_body(schema: Json, example: Json) -> Json:
    return {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}


def with_csv(body: Json, live: LiveModel | None) -> Json:
    """The same body, or a CSV of the features."""
    row = example_row(live) if live else {}
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([row.keys(), row.values(), row.values()])
    table = {"schema": {"type": "string"}, "example": text.getvalue()}
    return body | {"content": body["content"] | {"text/csv": table}}


def invocation_body(live: LiveModel) -> Json:
    """MLflow's four forms."""
    names, cells = _names(live), _cells(live)
    by_position = rows_of(_tuple(list(cells.values())))
    columns = {name: rows_of(cell) for name, cell in cells.items()}
    split = _object(
        {
            "columns": _tuple([{"const": name} for name in names]),
            "data": by_position,
            "index": {"anyOf": [{"type": "array"}, {"type": "null"}]},
        },
        ["columns", "data"],
    )
    forms = {
        "dataframe_split": split,
        "dataframe_records": rows_of(ROW),
        "instances": {"anyOf": [rows_of(ROW), by_position]},
        "inputs": {"anyOf": [rows_of(ROW), by_position, _object(columns, names), ROW]},
    }
    schema = {"oneOf": [_object({name: form, "params": _ANY_PARAMETERS}, [name]) for name, form in forms.items()]}
    row = example_row(live)
    return json_body(schema, {"dataframe_split": {"columns": names, "data": [list(row.values())]}})


def infer_body(live: LiveModel) -> Json:
    """A tensor per feature, in any order; or one for all where all are numbers."""
    schema = InferRequest.model_json_schema()
    tensor = schema["$defs"].pop("InputTensor")
    output = schema["$defs"].pop("RequestedOutput")
    features, cells = live.predictor.contract.features, _cells(live)

    def of(name: Json, shape: Json, datatypes: list[str], data: Json) -> Json:
        own = {"name": name, "shape": shape, "datatype": {"enum": datatypes}, "data": data}
        return {**tensor, "properties": tensor["properties"] | own}

    numbers = [one for one in tensor["properties"]["datatype"]["enum"] if one != "BYTES"]
    sizes = {"type": "integer", "minimum": 1, "maximum": MOST_ROWS}
    inputs = []
    for feature in features:
        shape = {"anyOf": [_tuple([sizes]), _tuple([sizes, {"const": 1}])]}
        flat = {"type": "array", "items": cells[feature.name], "minItems": 1}
        nested = {"type": "array", "items": _tuple([cells[feature.name]]), "minItems": 1}
        datatypes = numbers if feature.type == "number" else ["BYTES"]
        inputs.append(of({"enum": sorted({feature.name, feature.input})}, shape, datatypes, {"anyOf": [flat, nested]}))
    given = [_tuple(inputs)]
    if all(feature.type == "number" and not feature.nullable for feature in features):
        number = {"type": "number", "minimum": -FLOAT32_MAX, "maximum": FLOAT32_MAX}
        flat = {"type": "array", "items": number, "minItems": len(features)}
        nested = rows_of(_tuple([number] * len(features)))
        shape = _tuple([sizes, {"const": len(features)}])
        given.append(_tuple([of({"type": "string"}, shape, numbers, {"anyOf": [flat, nested]})]))
    outputs = ["predict"] if live.predictor.contract.task == "regression" else ["predict", "predict_proba"]
    wanted = output | {"properties": output["properties"] | {"name": {"enum": outputs}}}
    schema["properties"] |= {
        "inputs": {"anyOf": given},
        "outputs": {"anyOf": [{"type": "array", "items": wanted}, {"type": "null"}]},
    }
    del schema["$defs"]
    kinds = {"number": "FP32", "category": "BYTES"}
    example = [{"name": one.name, "shape": [1], "datatype": kinds[one.type], "data": [one.example]} for one in features]
    return json_body(schema, {"inputs": example})


def _names(live: LiveModel) -> list[str]:
    return [feature.name for feature in live.predictor.contract.features]


def _cells(live: LiveModel) -> dict[str, Json]:
    """The schema of each feature's value."""
    properties: dict[str, Json] = live.reader.model.model_json_schema()["properties"]
    return properties


def _tuple(items: list[Json]) -> Json:
    return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}


def _object(properties: Json, required: list[str]) -> Json:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
