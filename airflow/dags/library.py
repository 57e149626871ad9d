"""The question-answering service as a task sees it: its calls over HTTP, and which of its refusals are final."""

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
    """The service refuses for good: trying again would not help."""

    def __init__(self, status: int, what: str) -> None:
        super().__init__(what)
        self.status = status


class Library:
    """One collection of the service at RAG_URL. Every call raises Refused, or httpx's errors where the service is away;
    where it is busy the call waits, as long as the task may run."""

    def __init__(self, collection: str) -> None:
        self.collection = collection
        self.address = os.environ.get("RAG_URL", "http://127.0.0.1:8001")

    def copy(self) -> "Library":
        """A copy to change beside the collection, in place of an earlier one; where there is no document yet, empty."""
        try:
            self._call("POST", f"/collections/{self.collection}/next")
        except Refused as refused:
            if refused.status != NOT_THERE:
                raise
        return Library(f"{self.collection}@next")

    def promote(self) -> None:
        """Lets the collection be what its copy is; what others changed meanwhile stays."""
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
        """Adds a file, in place of one of the same name, and returns its verdict. One that cannot be opened, or is
        larger than a request may be, has failed like any other that cannot be read."""
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
        """Has the service ask itself questions made from the collection, and returns its report. Raises
        AirflowFailException where it cannot, and AirflowException where the service was restarted meanwhile."""
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
            raise AirflowException(f"The service does not know job {job} any more: it was restarted.") from refused

    def _call(self, method: str, path: str, **content: Any) -> Any:
        url, headers = self.address + path, _key()
        while (response := httpx.request(method, url, headers=headers, timeout=TIMEOUT, **content)).status_code == BUSY:
            log.info("%s %s has to wait: %s", method, path, _reason(response))
            time.sleep(_seconds(response))
        if response.is_client_error:
            what = f"{method} {path} was refused ({response.status_code}): {_reason(response)}"
            raise Refused(response.status_code, what)
        response.raise_for_status()
        return response.json() if response.content else None


def _key() -> dict[str, str]:
    """The header with the first key of RAG_API_KEY_FILE, where the service asks for keys."""
    file = os.environ.get("RAG_API_KEY_FILE")
    lines = Path(file).read_text(encoding="utf-8").splitlines() if file else []
    key = next((line.split()[0] for line in lines if line.strip() and not line.lstrip().startswith("#")), None)
    return {"Authorization": f"Bearer {key}"} if key else {}


def _seconds(response: httpx.Response) -> float:
    """How long to wait: what the service asks for. A proxy in front may say a date instead of seconds, or nothing."""
    asked = response.headers.get("Retry-After", "")
    return float(asked) if asked.isdigit() else POLL_SECONDS


def _reason(response: httpx.Response) -> str:
    """What the service says: its errors are `application/problem+json`, with a hint."""
    try:
        problem = response.json()
        return f"{problem['detail']} {problem.get('hint') or ''}".strip()
    except (ValueError, KeyError, TypeError):
        return response.text[:500]
