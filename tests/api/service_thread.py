"""The settings of a service in a test's folder, and the real service on a port of its own, in a thread of the test."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from prediction_api.__main__ import open_listener
from prediction_api.http.admission import LimitedConnection
from prediction_api.main import create_app
from prediction_api.settings import Settings
from registry_server import FakeRegistry, publish


def settings_for(registry: FakeRegistry, folder: Path) -> Settings:
    return Settings(
        mlflow_tracking_uri=registry.uri,
        api_port=0,  # a free one
        api_allowed_hosts="testserver",  # what the test client calls
        models_dir=folder / "models",
        signing_public_keys=publish(folder / "keys"),
        prediction_log_dir=folder / "predictions",
        api_max_body_bytes=3_000_000,
    ).model_copy(update={"poll_seconds": 0.02})


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """The running service; gives its address."""
    listener = open_listener(settings)
    config = uvicorn.Config(create_app(settings), http=LimitedConnection, ws="none", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive(), "the service ended at its start"
        assert time.monotonic() < deadline, "the service did not start"
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)
