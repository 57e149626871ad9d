"""The pages for people, and the calls that only they make."""

import asyncio

from fastapi import APIRouter, Request, Response

from prediction_api.http.problems import json_response
from prediction_api.predicting.explanation import explain
from prediction_api.predicting.responses import ExplanationAnswer, HistoryAnswer, explanation_answer
from prediction_api.protocols.routing import PROBLEM_STATUSES, PlainRoute, entry_of, live_model_of, read_row
from prediction_api.web.docs_page import docs_page
from prediction_api.web.files import PAGE_HEADERS, front_page

page_router = APIRouter(route_class=PlainRoute)
people_router = APIRouter(route_class=PlainRoute)  # of one model: also under /models/{name}


@page_router.get("/", include_in_schema=False)
async def page(_: Request) -> Response:
    """The page for people."""
    return front_page()


@page_router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """The calls and the live model's features, as a page that needs nothing from the internet."""
    return Response(docs_page(request.app.openapi()), headers=PAGE_HEADERS, media_type="text/html")


@people_router.post("/explain", response_model=ExplanationAnswer, responses=PROBLEM_STATUSES, tags=["predict"])
async def explanation(request: Request) -> Response:
    """What moved a prediction: each feature in turn replaced by its median or most frequent value of training.

    The body is that of `/predict`. This is no traffic: it is neither counted as a prediction nor logged.
    """
    live = live_model_of(request)
    row = await read_row(request, live)
    # As many predictions as there are features: in a thread, so that nobody else waits for a wide model's.
    found = await asyncio.to_thread(explain, live.predictor, row)
    return json_response(explanation_answer(live, found))


@people_router.get("/history", response_model=HistoryAnswer, responses={503: PROBLEM_STATUSES[503]}, tags=["model"])
async def history(request: Request) -> Response:
    """The last 20 decisions about the model, newest first: what was promoted, refused or rolled back, when and why."""
    return json_response(await entry_of(request).history.read())
