"""The OpenAPI schema, which follows the model that is live."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from prediction_api.http.keys import is_open
from prediction_api.models.store import LiveModel
from prediction_api.protocols.calls import problems
from prediction_api.telemetry.feedback import feedback_schema
from prediction_api.web.body_schemas import (
    ROW,
    example_row,
    infer_body,
    invocation_body,
    json_body,
    rows_of,
    with_csv,
)

TITLE = "Prediction service"
_REQUEST_ID = {"description": "The id given, or one made here", "required": True, "schema": {"type": "string"}}


_KEY_SCHEMES = {
    "Bearer": {"type": "http", "scheme": "bearer"},
    "Key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def openapi_schema(app: FastAPI, live: LiveModel | None, keyed: bool) -> dict[str, Any]:
    """The schema with the live model's features in the bodies of the calls, or with any object before there is one.

    `keyed`: the service asks for a key.
    """
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
