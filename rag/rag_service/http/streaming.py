"""An answer as server-sent events, while it is being made."""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse

from rag_service.answering.answerer import CheckedText, Completed, Draft, Retrieved, Tell
from rag_service.http.problems import problem_of
from rag_service.types import Answer

Event = Completed | Retrieved | Draft | CheckedText | Answer

# Proxies such as nginx would otherwise hold the events back until the answer is whole.
_HEADERS = {"X-Accel-Buffering": "no"}

log = logging.getLogger(__name__)


def event_stream(
    request: Request, work: Callable[[Tell], Answer], lines: Callable[[Event], Iterator[str]]
) -> StreamingResponse:
    """A response that sends the lines of each event of `work`. What goes wrong before the first event is raised, and so
    becomes an ordinary refusal; after it, the problem is the last event, named `error`."""
    events = follow(work)
    first = next(events)

    def sent() -> Iterator[str]:
        try:
            for event in chain([first], events):
                yield from lines(event)
        except Exception as error:  # whatever it is: the reader has a 200 already, and would only see the stream end
            log.exception("request %s failed during its answer", request.scope["request_id"])
            yield event_line(json.loads(bytes(problem_of(request, error).body)), "error")

    return StreamingResponse(sent(), media_type="text/event-stream", headers=_HEADERS)


def follow(work: Callable[[Tell], Answer]) -> Iterator[Event]:
    """Yields what `work` reports, at once, and at the end its answer; raises what it raises. The work runs in a
    separate thread and always completes there, so it releases its resources even if the client disconnects."""
    reported: queue.SimpleQueue[Event | Exception] = queue.SimpleQueue()

    def run() -> None:
        try:
            reported.put(work(reported.put))
        except Exception as error:  # whatever it is, it is raised again where the reader is
            reported.put(error)

    threading.Thread(target=run, name="streamed-answer", daemon=True).start()
    while True:
        event = reported.get()
        if isinstance(event, Exception):
            raise event
        yield event
        if isinstance(event, Answer):
            return


def event_line(data: Any, name: str | None = None) -> str:
    """One server-sent event. JSON has no bare line break, so the data is always one line."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n"
