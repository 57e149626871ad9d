"""Many rows in one call, as JSON or as CSV.

A CSV goes to a file, is checked to its end, predicted in chunks into a second file, then sent. So memory stays bounded,
a bad row anywhere refuses the whole before an answer begins, and so does a model that fails.
"""

import asyncio
import csv
import io
import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from itertools import chain, islice, repeat
from tempfile import SpooledTemporaryFile
from threading import Event
from typing import IO, Self

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from pydantic_core import to_json

from prediction_api.errors import MOST_COMPLAINTS, Complaint, NoRoom, WrongContent, WrongQuery
from prediction_api.http.bodies import content_kind, copy_body, read_body
from prediction_api.models.predictor import Prediction, Row, seven_digits
from prediction_api.models.store import LiveModel
from prediction_api.protocols.csv_table import CsvTable, Line
from prediction_api.protocols.routing import catalog_of, worked
from prediction_api.telemetry.prediction_log import new_id

MEMORY_BYTES = 1_000_000  # of a body or an answer that is kept as a file; what is beyond goes to the disk
_BLOCK_BYTES = 65_536


@dataclass(frozen=True)
class CsvOptions:
    """The query parameters of a call with CSV."""

    skip_invalid: bool = False
    passthrough: bool = False
    safe: bool = False

    @classmethod
    def of(cls, request: Request) -> Self:
        """Raises WrongQuery."""
        return cls(**{field.name: _flag(request, field.name) for field in fields(cls)})


def _flag(request: Request, name: str) -> bool:
    given = request.query_params.get(name, "false")
    if given not in ("1", "true", "0", "false"):
        raise WrongQuery(f"{name}: expected true or false, found {given[:40]!r}")
    return given in ("1", "true")


@dataclass(frozen=True)
class Checked:
    """What is known of a batch before the first prediction: its columns if it is a CSV, whether a row has a category
    that the training table does not have, how many rows are predicted and skipped, and the first lines of those."""

    unknown: bool
    names: Sequence[str] = ()
    predicted: int = 0
    skipped: int = 0
    skipped_lines: Sequence[int] = ()

    def headers(self) -> dict[str, str]:
        skipped = {
            "X-Skipped-Rows": str(self.skipped),
            "X-Skipped-Lines": ", ".join(map(str, self.skipped_lines)),
        }
        return {"X-Predicted-Rows": str(self.predicted)} | (skipped if self.skipped else {})


@dataclass(frozen=True)
class Form:
    """How an answer is written: what is before and after the rows, and the rows, the predictions numbered from `first`
    on; a skipped line has none."""

    media_type: str
    head: str
    rows: Callable[[Sequence[Line], Sequence[Prediction], str, int], str]
    tail: str


def csv_form(live: LiveModel, options: CsvOptions, checked: Checked) -> Form:
    """A line per row: the prediction, low and high or each label's probability, and the id that feedback names.

    Where a category is unknown, the next column names its features. With `skip_invalid`, a last column has the fault of
    a row that does not fit, whose other cells are empty. With `passthrough`, the table's own columns come first. With
    `safe`, a text that a spreadsheet would run as a formula begins with an apostrophe.
    """
    contract = live.predictor.contract
    interval = contract.interval if contract.task == "regression" else None
    details = ["low", "high"] if interval else [f"probability_{label}" for label in contract.labels]
    ends = ["unknown"] * checked.unknown + ["error"] * options.skip_invalid
    columns = ["prediction", *details, "id", *ends]
    names = checked.names if options.passthrough else ()
    given: list[object] = [f"input_{name}" if name in columns else name for name in names]

    def predicted(row: Row, one: Prediction, identifier: str) -> list[object]:
        measured = bounds(float(one.value), interval.half_width) if interval else (one.probabilities or {}).values()
        unknown = [" ".join(live.reader.unknown(row))] if checked.unknown else []
        return [one.value, *measured, identifier, *unknown, *[""] * options.skip_invalid]

    def skipped(faults: Sequence[Complaint]) -> list[object]:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        return [*[""] * (len(columns) - 1), f"{faults[0]}{more}"]

    def lines(rows: Sequence[Line], predictions: Sequence[Prediction], identifier: str, first: int) -> str:
        numbered = enumerate(predictions, first)
        made = []
        for line in rows:
            cells: list[object] = list(islice(chain(line.cells, repeat("")), len(given)))
            if line.row is None:
                cells += skipped(line.faults)
            else:
                number, one = next(numbered)
                cells += predicted(line.row, one, f"{identifier}.{number}")
            made.append([_harmless(cell) for cell in cells] if options.safe else cells)
        return _csv(made)

    head = [_harmless(name) for name in given] if options.safe else given
    return Form("text/csv; charset=utf-8", _csv([[*head, *columns]]), lines, "")


def bounds(value: float, half_width: float) -> tuple[float, float]:
    """The interval's ends around a prediction."""
    return seven_digits(value - half_width), seven_digits(value + half_width)


_NUMBER = re.compile(r"[+-][0-9.,]+([eE][+-]?[0-9]+)?")


def _harmless(cell: object) -> object:
    """https://owasp.org/www-community/attacks/CSV_Injection"""
    dangerous = isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{cell}" if dangerous and not _NUMBER.fullmatch(str(cell)) else cell


def _csv(lines: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def _invocation_rows(_rows: Sequence[Line], predictions: Sequence[Prediction], _: str, first: int) -> str:
    return ("," if first else "") + to_json([one.value for one in predictions]).decode()[1:-1]


INVOCATION_FORM = Form("application/json", '{"predictions":[', _invocation_rows, "]}")  # as MLflow answers a CSV


async def answer_batch(
    request: Request,
    live: LiveModel,
    read: Callable[[bytes], list[Row]],
    form_for: Callable[[Checked], Form],
    in_json: Callable[[Sequence[Row], Sequence[Prediction], str], Response] | None = None,
    options: CsvOptions = CsvOptions(),
) -> Response:
    """The predictions for the rows of a CSV, or of a JSON body, which `read` parses. `form_for` returns the form of the
    answer; with `in_json`, the answer to JSON is JSON. Raises WrongContentType, BodyTooLarge, NoRoom, NotJson, NotCsv,
    WrongContent or PredictionFailed."""
    if content_kind(request) == "csv":
        return await _answer_csv(request, live, form_for, options)
    body = await read_body(request, catalog_of(request).settings.api_max_body_bytes)

    def answer() -> Response:
        rows, identifier = read(body), new_id()
        predictions = live.predict_batch(rows, identifier)
        if in_json:
            return in_json(rows, predictions, identifier)
        form = form_for(Checked(any(map(live.reader.unknown, rows))))
        lines = [Line(number, (), row) for number, row in enumerate(rows)]
        content = form.head + form.rows(lines, predictions, identifier, 0) + form.tail
        return Response(content, media_type=form.media_type)

    return await worked(request, len(body), answer)


async def _answer_csv(
    request: Request, live: LiveModel, form_for: Callable[[Checked], Form], options: CsvOptions
) -> Response:
    most, stopped = catalog_of(request).settings.max_csv_bytes, Event()

    def work(body: IO[bytes]) -> tuple[Checked, Form, IO[bytes]]:
        checked = _checked(live, body, stopped, options)
        form = form_for(checked)
        return checked, form, _predicted(live, body, stopped, options, form)

    try:
        async with request.app.state.tables:  # from the first byte on: no more bodies than that are kept at once
            with SpooledTemporaryFile(MEMORY_BYTES) as body:
                await copy_body(request, most, body)
                try:
                    checked, form, answer = await asyncio.to_thread(work, body)
                finally:
                    stopped.set()  # when the service stops, the thread goes on to the end of its chunk
    except OSError as error:
        raise NoRoom(f"the table or its answer cannot be stored: {error.strerror}") from None
    headers = {"Content-Length": str(answer.tell())} | checked.headers()
    answer.seek(0)
    return StreamingResponse(_blocks(answer), headers=headers, media_type=form.media_type)


def _checked(live: LiveModel, body: IO[bytes], stopped: Event, options: CsvOptions) -> Checked:
    """Reads every row. Raises NotCsv, or WrongContent naming lines and columns: for a row that does not fit, or with
    `skip_invalid` where none fits."""
    table = CsvTable(live.reader, body, options.passthrough)
    unknown, predicted, skipped = False, 0, 0
    lines: list[int] = []
    complaints: list[Complaint] = []
    for chunk in table.chunks():
        _go_on(stopped)
        rows = [line.row for line in chunk if line.row is not None]
        predicted += len(rows)
        unknown = unknown or any(map(live.reader.unknown, rows))
        if len(rows) < len(chunk):
            bad = [line for line in chunk if line.row is None]
            skipped += len(bad)
            lines += [line.number for line in bad[: MOST_COMPLAINTS - len(lines)]]
            complaints += [one for line in bad[:MOST_COMPLAINTS] for one in line.faults]
            del complaints[MOST_COMPLAINTS:]
            if len(complaints) == MOST_COMPLAINTS and not options.skip_invalid:
                break
    if complaints and not (options.skip_invalid and predicted):
        raise WrongContent(complaints)
    if not predicted:
        raise WrongContent.at(("line", 2), "expected a row under the header, found the end of the body")
    return Checked(unknown, table.names, predicted, skipped, lines)


def _predicted(live: LiveModel, body: IO[bytes], stopped: Event, options: CsvOptions, form: Form) -> IO[bytes]:
    """The whole answer in a file."""
    identifier, first = new_id(), 0
    with ExitStack() as on_failure:
        answer = on_failure.enter_context(SpooledTemporaryFile(MEMORY_BYTES))
        answer.write(form.head.encode())
        for chunk in CsvTable(live.reader, body, options.passthrough).chunks():
            _go_on(stopped)
            rows = [line.row for line in chunk if line.row is not None]
            predictions = live.predict_batch(rows, identifier, first) if rows else []
            answer.write(form.rows(chunk, predictions, identifier, first).encode())
            first += len(rows)
        answer.write(form.tail.encode())
        on_failure.pop_all()
    return answer


def _go_on(stopped: Event) -> None:
    if stopped.is_set():
        raise asyncio.CancelledError


async def _blocks(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while block := file.read(_BLOCK_BYTES):
            yield block
            await asyncio.sleep(0)  # a client that reads as fast as this is written would keep all others waiting
