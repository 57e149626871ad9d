"""The calls of other servers' protocols, MLflow's scoring and the Open Inference Protocol: same rows, same answers."""

from fastapi import APIRouter, Request, Response

from prediction_api.errors import UnknownModel
from prediction_api.http.middleware import content_kind, json_response, read_json_body
from prediction_api.models.store import LiveModel
from prediction_api.predicting.rows import read_envelope
from prediction_api.protocols.calls import (
    PROBLEM_STATUSES,
    PlainRoute,
    live_model_of,
    problems,
    serving_of,
    settings_of,
    worked,
)
from prediction_api.protocols.csv import INVOCATION_FORM, answer_csv
from prediction_api.protocols.mlflow import InvocationAnswer, invocation_answer, read_invocation
from prediction_api.protocols.v2 import check_outputs, infer_answer, model_shape, read_tensors
from prediction_api.protocols.v2_bodies import (
    InferAnswer,
    InferRequest,
    ModelReadyAnswer,
    ModelShape,
    ServerAnswer,
    ServerLiveAnswer,
    ServerReadyAnswer,
)

protocol_router = APIRouter(route_class=PlainRoute)
_OF_MODEL = problems(404, 503)
_INFERS = {**problems(404), **PROBLEM_STATUSES}


@protocol_router.post("/invocations", response_model=InvocationAnswer, responses=PROBLEM_STATUSES, tags=["protocols"])
async def invocations(request: Request) -> Response:
    """MLflow's scoring protocol: dataframe_split, dataframe_records, instances or inputs, 1 to 10,000 rows; or CSV."""
    live = live_model_of(request)
    if content_kind(request) == "csv":
        return await answer_csv(request, live, INVOCATION_FORM)
    body = await read_json_body(request, settings_of(request).api_max_body_bytes)
    serving = serving_of(request)

    def answer() -> Response:
        rows = read_invocation(live.reader, body)
        return json_response(invocation_answer(serving.many(live, rows, serving.new_id())))

    return await worked(request, len(body), answer)


@protocol_router.get("/v2", response_model=ServerAnswer, tags=["protocols"])
async def v2(_: Request) -> Response:
    """Open Inference Protocol: what this server is."""
    return json_response({"name": "prediction_api", "version": "1", "extensions": []})


@protocol_router.get("/v2/health/live", response_model=ServerLiveAnswer, tags=["protocols"])
async def v2_live(_: Request) -> Response:
    """Open Inference Protocol: the process answers."""
    return json_response({"live": True})


@protocol_router.get("/v2/health/ready", response_model=ServerReadyAnswer, responses=problems(503), tags=["protocols"])
async def v2_ready(request: Request) -> Response:
    """Open Inference Protocol: a model is loaded."""
    live_model_of(request)
    return json_response({"ready": True})


@protocol_router.get("/v2/models/{name}", response_model=ModelShape, responses=_OF_MODEL, tags=["protocols"])
@protocol_router.get(
    "/v2/models/{name}/versions/{version}", response_model=ModelShape, responses=_OF_MODEL, tags=["protocols"]
)
async def v2_model(request: Request) -> Response:
    """Open Inference Protocol: the model's inputs and outputs."""
    return json_response(model_shape(_named_model(request)))


@protocol_router.get(
    "/v2/models/{name}/ready", response_model=ModelReadyAnswer, responses=_OF_MODEL, tags=["protocols"]
)
@protocol_router.get(
    "/v2/models/{name}/versions/{version}/ready",
    response_model=ModelReadyAnswer,
    responses=_OF_MODEL,
    tags=["protocols"],
)
async def v2_model_ready(request: Request) -> Response:
    """Open Inference Protocol: this model can predict."""
    return json_response({"name": _named_model(request).name, "ready": True})


@protocol_router.post("/v2/models/{name}/infer", response_model=InferAnswer, responses=_INFERS, tags=["protocols"])
@protocol_router.post(
    "/v2/models/{name}/versions/{version}/infer", response_model=InferAnswer, responses=_INFERS, tags=["protocols"]
)
async def v2_infer(request: Request) -> Response:
    """Open Inference Protocol: a tensor per feature of shape [n] or [n, 1], or one of shape [n, features]."""
    live = _named_model(request)
    body = await read_json_body(request, settings_of(request).api_max_body_bytes)
    serving = serving_of(request)

    def answer() -> Response:
        asked = read_envelope(InferRequest, body)
        check_outputs(live.predictor.contract, asked)
        identifier = serving.new_id()
        predictions = serving.many(live, read_tensors(live.reader, asked), identifier)
        return json_response(infer_answer(live, predictions, identifier, asked))

    return await worked(request, len(body), answer)


def _named_model(request: Request) -> LiveModel:
    """The live model, if the path names it. Raises UnknownModel for any other, NoModel where none is live yet."""
    name, version = request.path_params["name"], request.path_params.get("version")
    if name != settings_of(request).model_name:
        raise UnknownModel(f"the model served here is {settings_of(request).model_name!r}, not {name[:100]!r}")
    live = live_model_of(request)
    if version not in (None, live.version):
        raise UnknownModel(f"version {live.version} of {name!r} is live, not {version[:100]!r}")
    return live
