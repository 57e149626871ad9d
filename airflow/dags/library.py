"""A client of the question-answering service for tasks: its calls over HTTP, and which refusals are final."""

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from airflow.sdk.exceptions import AirflowException, AirflowFailException

log = logging.getLogger(__name__)

# A file of the largest size is read within half a minute; its passages may take minutes to embed.
TIMEOUT = httpx.Timeout(900, connect=10)
POLL_SECONDS = 2
NOT_THERE, TOO_LARGE, BUSY = 404, 413, 429


class Refused(AirflowFailException):
    """A final refusal: trying again would not help."""

    def __init__(self, status: int, what: str) -> None:
        super().__init__(what)
        self.status = status


class Library:
    """One collection of the service at RAG_URL. Every call raises Refused, or httpx's errors if the service does not
    answer. If it is busy, the call waits, as long as the task may run."""

    def __init__(self, collection: str) -> None:
        self.collection = collection
        self.address = os.environ.get("RAG_URL", "http://127.0.0.1:8001")

    def copy(self) -> "Library":
        """Makes NAME@next, a copy to change, and replaces an earlier one. It is empty if there is no document yet."""
        try:
            self._call("POST", f"/collections/{self.collection}/next")
        except Refused as refused:
            if refused.status != NOT_THERE:
                raise
        return Library(f"{self.collection}@next")

    def promote(self) -> None:
        """Replaces the collection by its copy; changes that others made meanwhile are kept."""
        self._call("POST", f"/collections/{self.collection}/promote")

    def names(self) -> dict[str, str]:
        """The names of the documents in the collection, each with its id."""
        found: dict[str, str] = {}
        after: str | None = ""
        while after is not None:
            page = self._call("GET", "/documents", params={"collection": self.collection, "after": after})
            found |= {document["name"]: document["id"] for document in page["documents"]}
            after = page["next"]
        return found

    def give(self, name: str, file: Path) -> dict[str, Any]:
        """Adds a file or replaces the one of the same name, and returns its verdict: `failed` also if it cannot be
        opened or is too large for a request."""
        try:
            content = file.open("rb")
        except OSError as error:
            return {"verdict": "failed", "reason": f"It cannot be opened ({error.strerror})."}
        form: dict[str, Any] = {"data": {"collection": self.collection}, "files": {"files": (name, content)}}
        try:
            with content:
                added = self._call("POST", "/documents", **form)
        except Refused as refused:
            if refused.status != TOO_LARGE:
                raise
            return {"verdict": "failed", "reason": str(refused)}
        return dict(added["documents"][0])

    def remove(self, document: str) -> None:
        """Removes a document everywhere."""
        self._call("DELETE", f"/documents/{document}", params={"collection": self.collection})

    def evaluate(self, questions: int, gate: Mapping[str, float]) -> dict[str, Any]:
        """Has the service evaluate itself with questions made from the collection, and returns the report. Raises
        AirflowFailException if it fails, and AirflowException if the service was restarted meanwhile."""
        wanted = {"collection": self.collection, "count": questions, "gate": dict(gate)}
        job = self._call("POST", "/evaluations", json=wanted)
        logged = -1
        while job["state"] == "running":
            time.sleep(POLL_SECONDS)
            job = self._job(job["job"])
            tenth = 10 * job["done"] // max(1, job["total"])
            if tenth > logged:
                logged = tenth
                log.info("%s of %s questions asked", job["done"], job["total"])
        if job["state"] != "done":
            raise AirflowFailException(f"The evaluation was not finished ({job['state']}): {job['error']}")
        return dict(job["result"])

    def _job(self, job: str) -> Any:
        try:
            return self._call("GET", f"/jobs/{job}")
        except Refused as refused:
            if refused.status != NOT_THERE:
                raise
            raise AirflowException(f"The service was restarted and has lost job {job}.") from refused

    def _call(self, method: str, path: str, **content: Any) -> Any:
        url, headers = self.address + path, _key()
        while (response := httpx.request(method, url, headers=headers, timeout=TIMEOUT, **content)).status_code == BUSY:
            log.info("%s %s waits: %s", method, path, _reason(response))
            time.sleep(_seconds(response))
        if response.is_client_error:
            what = f"{method} {path} was refused ({response.status_code}): {_reason(response)}"
            raise Refused(response.status_code, what)
        response.raise_for_status()
        return response.json() if response.content else None


def _key() -> dict[str, str]:
    """The header with the first key of RAG_API_KEY_FILE, if the service requires keys."""
    file = os.environ.get("RAG_API_KEY_FILE")
    lines = Path(file).read_text(encoding="utf-8").splitlines() if file else []
    key = next((line.split()[0] for line in lines if line.strip() and not line.lstrip().startswith("#")), None)
    return {"Authorization": f"Bearer {key}"} if key else {}


def _seconds(response: httpx.Response) -> float:
    """How long to wait, by Retry-After. A proxy in front may send a date instead of seconds, or nothing."""
    asked = response.headers.get("Retry-After", "")
    return float(asked) if asked.isdigit() else POLL_SECONDS


def _reason(response: httpx.Response) -> str:
    """The service's sentence: its errors are `application/problem+json`, with a hint."""
    try:
        problem = response.json()
        return f"{problem['detail']} {problem.get('hint') or ''}".strip()
    except (ValueError, KeyError, TypeError):
        return response.text[:500]
