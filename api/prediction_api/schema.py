"""The OpenAPI schema, which follows the model that is live."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from prediction_api.feedback import feedback_schema
from prediction_api.model_store import LiveModel
from prediction_api.rows import MOST_ROWS

TITLE = "Prediction service"


def openapi_schema(app: FastAPI, live: LiveModel | None) -> dict[str, Any]:
    """The schema with the live model's features as the bodies of both predict calls, or with any object before that."""
    version = f"{live.name} version {live.version}" if live else "no model"
    schema = get_openapi(title=TITLE, version=version, description=f"Serving {version}.", routes=app.routes)
    contract = live.predictor.contract if live else None
    row: dict[str, Any] = {"type": "object"}
    example: dict[str, Any] = {}
    if live:
        schema["components"]["schemas"]["Features"] = live.reader.model.model_json_schema()
        row = {"$ref": "#/components/schemas/Features"}
        example = {feature.name: feature.example for feature in live.predictor.contract.features}
    rows = {"type": "array", "items": row, "minItems": 1, "maxItems": MOST_ROWS}
    batch = {"type": "object", "properties": {"rows": rows}, "required": ["rows"], "additionalProperties": False}
    schema["paths"]["/predict"]["post"]["requestBody"] = _body(row, example)
    schema["paths"]["/explain"]["post"]["requestBody"] = _body(row, example)
    schema["paths"]["/predict/batch"]["post"]["requestBody"] = _body(batch, {"rows": [example, example]})
    told = {"id": "0123456789abcdef-000001", "actual": contract.golden.predictions[0] if contract else 5.0}
    schema["paths"]["/feedback"]["post"]["requestBody"] = _body(feedback_schema(contract), told)
    return schema


def _body(schema: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}
