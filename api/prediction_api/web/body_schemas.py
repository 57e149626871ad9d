"""What the bodies of the calls that predict may hold: JSON schemas and examples, made from the live model's features.

JSON schema cannot say that lists are equally long, nor that one of two names is given: what is described here is read,
and a little more is (columns in another order, features by their identifiers).
"""

import csv
import io
from typing import Any

from prediction_api.models.store import LiveModel
from prediction_api.predicting.row_model import FLOAT32_MAX
from prediction_api.predicting.rows import MOST_ROWS
from prediction_api.protocols.v2_bodies import InferRequest

Json = dict[str, Any]
ROW = {"$ref": "#/components/schemas/Features"}
_ANY_PARAMETERS = {"anyOf": [{"type": "object"}, {"type": "null"}]}


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
