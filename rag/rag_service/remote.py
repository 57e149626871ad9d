"""The application as the command line sees it: a running service, or one that is made for this one command."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag_service.errors import RagError

if TYPE_CHECKING:
    import httpx2
    from fastapi import FastAPI


class Client:
    """Calls the application."""

    def __init__(self, http: httpx2.Client, where: str) -> None:
        self._http = http
        self._where = where

    def call(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        """The answer; empty where there is none. Raises RagError with the service's own words, or saying that it is not
        there."""
        import httpx2

        try:
            return content_of(self._http.request(method, path, **content))
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise RagError(
                f"{self._where} does not answer as expected ({error}).", "Is the service running there?"
            ) from error

    def follow(self, job: dict[str, Any], show: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Asks for a job until it has ended, and shows each answer. Raises RagError with the reason where it failed or
        was cancelled."""
        wait = 0.02  # most files are small; long work is asked for less often
        while job["state"] == "running":
            time.sleep(wait)
            wait = min(1.5 * wait, 0.5)
            job = self.call("GET", f"/jobs/{job['job']}")
            show(job)
        if job["state"] != "done":
            raise RagError(job["error"] or f"The job was {job['state']}.")
        return job


def content_of(response: httpx2.Response) -> dict[str, Any]:
    """The content of an answer; empty if it has none. Raises RagError with the sentence of a refusal, ValueError."""
    answer: dict[str, Any] = response.json() if response.content else {}
    if response.status_code >= 400:
        raise RagError(str(answer.get("detail")), str(answer.get("hint", "")))
    return answer


def first_key(file: Path | None) -> str | None:
    """The first key in a file of keys. Raises RagError."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines() if file else []
    except (OSError, UnicodeDecodeError) as error:
        raise RagError(f"RAG_API_KEY_FILE={file} cannot be read: {error}.") from error
    return next((line.split()[0] for line in lines if line.strip() and not line.lstrip().startswith("#")), None)


@contextmanager
def running(url: str, key: str | None = None) -> Iterator[Client]:
    """The service at this address, which may ask for a key."""
    import httpx2

    headers = {"X-API-Key": key} if key else {}
    with httpx2.Client(base_url=url.rstrip("/"), headers=headers, timeout=300) as http:
        yield Client(http, url)


@contextmanager
def in_process(app: FastAPI) -> Iterator[Client]:
    """The application in this process, once its models are loaded."""
    from starlette.testclient import TestClient

    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as http:
        app.state.service.loaded.wait()
        yield Client(http, "The application")
