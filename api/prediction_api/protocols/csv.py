"""Batches as CSV: the body goes to a file, is checked to its end, predicted in chunks into a second file, then sent.

So memory stays bounded, a bad row anywhere refuses the whole before an answer begins, and so does a model that fails.
"""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from threading import Event
from typing import IO

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from pydantic_core import to_json

from prediction_api.errors import NoRoom
from prediction_api.http.middleware import MEMORY_BYTES, spooled_body
from prediction_api.models.contract import Contract
from prediction_api.models.predictor import Prediction
from prediction_api.models.store import LiveModel
from prediction_api.predicting.answers import bounds
from prediction_api.protocols.calls import serving_of, settings_of
from prediction_api.protocols.csv_rows import CsvRows

_BLOCK_BYTES = 65_536


@dataclass(frozen=True)
class Form:
    """How an answer is written: what is before and after the rows, and the rows from number `first` on."""

    media_type: str
    head: str
    rows: Callable[[Sequence[Prediction], str, int], str]
    tail: str


def csv_form(contract: Contract) -> Form:
    """A line per row: the prediction, low and high or each label's probability, and the id that feedback names."""
    half_width = contract.interval.half_width if contract.interval else None
    names = [f"probability_{label}" for label in contract.labels]
    if half_width is not None:
        names = ["low", "high"]

    def details(one: Prediction) -> Iterable[float]:
        if half_width is not None and isinstance(one.value, float):
            return bounds(one.value, half_width)
        return (one.probabilities or {}).values()

    def rows(predictions: Sequence[Prediction], identifier: str, first: int) -> str:
        numbered = enumerate(predictions, first)
        return _csv([one.value, *details(one), f"{identifier}.{number}"] for number, one in numbered)

    return Form("text/csv; charset=utf-8", _csv([["prediction", *names, "id"]]), rows, "")


def _invocation_rows(predictions: Sequence[Prediction], _: str, first: int) -> str:
    return ("," if first else "") + to_json([one.value for one in predictions]).decode()[1:-1]


INVOCATION_FORM = Form("application/json", '{"predictions":[', _invocation_rows, "]}")  # as MLflow answers a CSV


async def answer_csv(request: Request, live: LiveModel, form: Form) -> Response:
    """The predictions for the CSV in the body. Raises BodyTooLarge, NoRoom, NotCsv, WrongContent, PredictionFailed."""
    try:
        async with request.app.state.tables:  # from the first byte on: so many bodies are kept at once, and no more
            with await spooled_body(request, settings_of(request).api_max_csv_bytes) as body:
                answer = await _predicted(request, live, form, body)
    except OSError as error:
        raise NoRoom(f"the table or its answer cannot be kept: {error.strerror}") from None
    headers = {"Content-Length": str(answer.tell())}
    answer.seek(0)
    return StreamingResponse(_blocks(answer), headers=headers, media_type=form.media_type)


async def _predicted(request: Request, live: LiveModel, form: Form, body: IO[bytes]) -> IO[bytes]:
    serving, stopped = serving_of(request), Event()

    def predict() -> IO[bytes]:
        table, identifier, first = CsvRows(live.reader, body), serving.new_id(), 0
        for _ in table.check():
            _go_on_unless(stopped)
        with ExitStack() as on_failure:
            answer = on_failure.enter_context(SpooledTemporaryFile(MEMORY_BYTES))
            answer.write(form.head.encode())
            for rows in table.chunks():
                _go_on_unless(stopped)
                predictions = serving.many(live, rows, identifier, first)
                answer.write(form.rows(predictions, identifier, first).encode())
                first += len(rows)
            answer.write(form.tail.encode())
            on_failure.pop_all()
        return answer

    try:
        return await asyncio.to_thread(predict)
    finally:
        stopped.set()  # when the service stops, the thread goes on to the end of its chunk


def whole(form: Form, predictions: Sequence[Prediction], identifier: str) -> Response:
    """All predictions in one answer of this form."""
    return Response(form.head + form.rows(predictions, identifier, 0) + form.tail, media_type=form.media_type)


async def _blocks(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while block := file.read(_BLOCK_BYTES):
            yield block
            await asyncio.sleep(0)  # a client that reads as fast as this is written would keep all others waiting


def _go_on_unless(stopped: Event) -> None:
    if stopped.is_set():
        raise asyncio.CancelledError


def _csv(lines: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
