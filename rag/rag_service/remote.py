"""A running service as the command line sees it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rag_service.errors import RagError


def call(url: str, method: str, path: str, **content: Any) -> dict[str, Any]:
    """The service's answer. Raises RagError with the service's own words, or saying that it is not there."""
    import httpx2

    try:
        response = httpx2.request(method, url.rstrip("/") + path, timeout=300, **content)
        answer: dict[str, Any] = response.json()
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        raise RagError(f"{url} does not answer as expected ({error}).", "Is the service running there?") from error
    if response.status_code >= 400:
        raise RagError(str(answer.get("detail")), str(answer.get("hint", "")))
    return answer


def follow(url: str, job: dict[str, Any], show: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Asks for a job until it has ended, and shows each answer. Raises RagError with the reason where it failed."""
    wait = 0.02  # most files are small; long work is asked for less often
    while job["state"] == "running":
        time.sleep(wait)
        wait = min(1.5 * wait, 0.5)
        job = call(url, "GET", f"/jobs/{job['job']}")
        show(job)
    if job["state"] == "failed":
        raise RagError(str(job["error"]))
    return job
