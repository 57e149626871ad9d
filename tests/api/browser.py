"""The real service for the tests of its page, and what they do there beyond clicking and typing."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from playwright.sync_api import Page
from prediction_api.__main__ import open_listener
from prediction_api.door_protocol import DoorProtocol
from prediction_api.main import create_app
from prediction_api.settings import Settings


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """The running service; gives its address."""
    listener = open_listener(settings)
    config = uvicorn.Config(create_app(settings), http=DoorProtocol, ws="none", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert thread.is_alive(), "the service ended at its start"
        assert time.monotonic() < deadline, "the service did not start"
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


def look_again(page: Page) -> None:
    """Lets the page ask the service now, and not only after its few seconds."""
    page.clock.fast_forward(3_000)


def drop(page: Page, name: str, text: str) -> None:
    """Drops a file from the desktop."""
    make = "([name, text]) => { const data = new DataTransfer(); data.items.add(new File([text], name)); return data; }"
    page.dispatch_event("#drop", "drop", {"dataTransfer": page.evaluate_handle(make, [name, text])})
