"""Many rows in one call, as JSON or as CSV.

A CSV goes to a file, is checked to its end, predicted in chunks into a second file, then sent. So memory stays bounded,
a bad row anywhere refuses the whole before an answer begins, and so does a model that fails.
"""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, islice
from tempfile import SpooledTemporaryFile
from threading import Event
from typing import IO

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from pydantic_core import to_json

from prediction_api.errors import MOST_COMPLAINTS, Complaint, NoRoom, NotCsv, WrongContent
from prediction_api.http.bodies import content_kind, copy_body, read_body
from prediction_api.models.predictor import Prediction, Row, seven_digits
from prediction_api.models.store import LiveModel
from prediction_api.predicting.rows import RowReader
from prediction_api.protocols.routing import catalog_of, worked
from prediction_api.telemetry.prediction_log import new_id

CHUNK_ROWS = 500  # a few milliseconds of reading; predicting more at once is no faster
MEMORY_BYTES = 1_000_000  # of a body or an answer that is kept as a file; what is beyond goes to the disk
_MOST_LINE_BYTES = 1_000_000
_MOST_HEADER_LINES = 50
_BLOCK_BYTES = 65_536


@dataclass(frozen=True)
class Form:
    """How an answer is written: what is before and after the rows, and the rows from number `first` on."""

    media_type: str
    head: str
    rows: Callable[[Sequence[Row], Sequence[Prediction], str, int], str]
    tail: str


def csv_form(live: LiveModel, request: Request, unknown: bool) -> Form:
    """A line per row: the prediction, low and high or each label's probability, and the id that feedback names.

    With `unknown`, a last column names the features whose category the training table does not have. With `?safe=1`, a
    text that a spreadsheet would run as a formula begins with an apostrophe.
    """
    contract = live.predictor.contract
    interval = contract.interval if contract.task == "regression" else None
    names = ["low", "high"] if interval else [f"probability_{label}" for label in contract.labels]
    columns = ["prediction", *names, "id", *(["unknown"] if unknown else [])]
    safe = request.query_params.get("safe") == "1"

    def line(row: Row, one: Prediction, identifier: str) -> list[object]:
        details = bounds(float(one.value), interval.half_width) if interval else (one.probabilities or {}).values()
        cells = [one.value, *details, identifier, *([" ".join(live.reader.unknown(row))] if unknown else [])]
        return [_harmless(cell) for cell in cells] if safe else cells

    def lines(rows: Sequence[Row], predictions: Sequence[Prediction], identifier: str, first: int) -> str:
        numbered = enumerate(zip(rows, predictions, strict=True), first)
        return _csv(line(row, one, f"{identifier}.{number}") for number, (row, one) in numbered)

    return Form("text/csv; charset=utf-8", _csv([columns]), lines, "")


def bounds(value: float, half_width: float) -> tuple[float, float]:
    """The interval's ends around a prediction."""
    return seven_digits(value - half_width), seven_digits(value + half_width)


def _harmless(cell: object) -> object:
    """https://owasp.org/www-community/attacks/CSV_Injection"""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _csv(lines: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def _invocation_rows(_rows: Sequence[Row], predictions: Sequence[Prediction], _: str, first: int) -> str:
    return ("," if first else "") + to_json([one.value for one in predictions]).decode()[1:-1]


INVOCATION_FORM = Form("application/json", '{"predictions":[', _invocation_rows, "]}")  # as MLflow answers a CSV


async def answer_batch(
    request: Request,
    live: LiveModel,
    read: Callable[[bytes], list[Row]],
    form_for: Callable[[bool], Form],
    in_json: Callable[[Sequence[Row], Sequence[Prediction], str], Response] | None = None,
) -> Response:
    """The predictions for the rows of a CSV, or of a JSON body, which `read` parses. `form_for` returns the form of the
    answer, for rows with or without an unknown category; with `in_json`, the answer is JSON. Raises WrongContentType,
    BodyTooLarge, NoRoom, NotJson, NotCsv, WrongContent or PredictionFailed."""
    if content_kind(request) == "csv":
        return await _answer_csv(request, live, form_for)
    body = await read_body(request, catalog_of(request).settings.api_max_body_bytes)

    def answer() -> Response:
        rows, identifier = read(body), new_id()
        predictions = live.predict_batch(rows, identifier)
        if in_json:
            return in_json(rows, predictions, identifier)
        form = form_for(any(map(live.reader.unknown, rows)))
        content = form.head + form.rows(rows, predictions, identifier, 0) + form.tail
        return Response(content, media_type=form.media_type)

    return await worked(request, len(body), answer)


async def _answer_csv(request: Request, live: LiveModel, form_for: Callable[[bool], Form]) -> Response:
    most, stopped = catalog_of(request).settings.api_max_csv_bytes, Event()
    try:
        async with request.app.state.tables:  # from the first byte on: no more bodies than that are kept at once
            with SpooledTemporaryFile(MEMORY_BYTES) as body:
                await copy_body(request, most, body)
                try:
                    answer, media_type = await asyncio.to_thread(_predicted, live, body, stopped, form_for)
                finally:
                    stopped.set()  # when the service stops, the thread goes on to the end of its chunk
    except OSError as error:
        raise NoRoom(f"the table or its answer cannot be stored: {error.strerror}") from None
    headers = {"Content-Length": str(answer.tell())}
    answer.seek(0)
    return StreamingResponse(_blocks(answer), headers=headers, media_type=media_type)


def _predicted(
    live: LiveModel, body: IO[bytes], stopped: Event, form_for: Callable[[bool], Form]
) -> tuple[IO[bytes], str]:
    """The whole answer in a file, and its media type."""
    form, identifier, first = form_for(_has_unknown(live.reader, body, stopped)), new_id(), 0
    with ExitStack() as on_failure:
        answer = on_failure.enter_context(SpooledTemporaryFile(MEMORY_BYTES))
        answer.write(form.head.encode())
        for rows in _chunks(live.reader, body, stopped, []):
            predictions = live.predict_batch(rows, identifier, first)
            answer.write(form.rows(rows, predictions, identifier, first).encode())
            first += len(rows)
        answer.write(form.tail.encode())
        on_failure.pop_all()
    return answer, form.media_type


async def _blocks(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while block := file.read(_BLOCK_BYTES):
            yield block
            await asyncio.sleep(0)  # a client that reads as fast as this is written would keep all others waiting


def _has_unknown(reader: RowReader, body: IO[bytes], stopped: Event) -> bool:
    """Reads every row; returns whether one has a category that the training table does not have.

    Raises NotCsv, or WrongContent naming lines and columns.
    """
    complaints: list[Complaint] = []
    found, unknown = 0, False
    for rows in _chunks(reader, body, stopped, complaints):
        found += len(rows)
        unknown = unknown or any(map(reader.unknown, rows))
        if len(complaints) >= MOST_COMPLAINTS:
            break
    if complaints:
        raise WrongContent(complaints)
    if not found:
        raise WrongContent.at(("line", 2), "expected a row under the header, found the end of the body")
    return unknown


def _chunks(reader: RowReader, body: IO[bytes], stopped: Event, complaints: list[Complaint]) -> Iterator[list[Row]]:
    """The rows that fit in their order, up to 500 lines at a time; for the others `complaints` grows.

    A header has each feature's name once, in any order and spelling, then comes a line per row; blank lines say
    nothing. Lines are counted from 1, the header's; a row over several lines is named by its last. Reading ends with
    CancelledError once `stopped` is set.
    """
    body.seek(0)
    lines = _lines(body)
    header = _header(lines)
    table = csv.reader(chain(header, lines), delimiter=_separator("".join(header), reader), strict=True)
    try:
        names = [name.strip() for name in next(table, [])]
        layout = reader.layout(names, ("line", 1), f"{len(names)} cells as in the header", "an empty cell")
        numbered = ((table.line_num, cells) for cells in table if cells)
        while chunk := list(islice(numbered, CHUNK_ROWS)):
            if stopped.is_set():
                raise asyncio.CancelledError
            yield reader.read(chunk, ("line",), complaints, layout)
    except csv.Error as error:
        raise NotCsv(f"line {table.line_num}: {error}") from None


def _separator(header: str, reader: RowReader) -> str:
    """Comma, semicolon, tab or bar: the one with which the header names the most features."""
    cells = header.replace('"', "").strip()
    return max(",;\t|", key=lambda one: sum(name.strip() in reader.accepted for name in cells.split(one)))


def _header(lines: Iterator[str]) -> list[str]:
    """The first line, and those in which a quoted name goes on."""
    found: list[str] = []
    for line in islice(lines, _MOST_HEADER_LINES):
        found.append(line)
        if sum(one.count('"') for one in found) % 2 == 0:
            break
    return found


def _lines(file: IO[bytes]) -> Iterator[str]:
    number = 0
    while line := file.readline(_MOST_LINE_BYTES):
        number += 1
        if len(line) == _MOST_LINE_BYTES:
            raise NotCsv(f"line {number} is longer than {_MOST_LINE_BYTES} bytes")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise NotCsv(f"line {number} is not UTF-8: {error.reason} at byte {error.start}") from None
        yield from io.StringIO(text, newline="") if "\r" in text[:-2] else [text]  # lines may end in it alone
