"""What the services have acknowledged, and whether it is still true."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any, Generic, Protocol, TypeVar

import httpx

from stack.airflow_client import Airflow
from stack.chapters import served_model
from stack.errors import NoAnswer
from stack.http_client import content

SETTLE_SECONDS = 60.0
PAUSE_SECONDS = 0.1
SYLLABLES = ("hal", "den", "berg", "wies", "lo", "stein", "mar", "bach", "tor", "ulm", "fel", "gar", "nau", "ris")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class Violation(Exception):
    """A promise that did not hold."""


@dataclass
class Document:
    """A document that answers one question with one weekday."""

    name: str
    place: str
    day: str

    @classmethod
    def made(cls, choose: Random) -> "Document":
        """A document about a place that no other speaks of."""
        place = "".join(choose.choice(SYLLABLES) for _ in range(4)).capitalize() + f"{choose.randrange(1000)}"
        return cls(f"{place}.txt", place, choose.choice(DAYS))

    @property
    def text(self) -> str:
        """Long enough to make several passages."""
        filler = " ".join(f"The cellar of {self.place} keeps row {row} at {row % 7 + 9} degrees." for row in range(120))
        return f"The cellar book of {self.place} says: racking takes place on a {self.day}, never later.\n\n{filler}\n"

    @property
    def question(self) -> str:
        """What the document answers."""
        return f"When does racking take place at {self.place}?"


class Target(Protocol):
    """What is broken. `answers`: how many answers of a service, one after the other, come from all that run of it;
    `follow_seconds`: until all know what one has acknowledged; `lost`: what could not be started again, and why."""

    answers: int
    follow_seconds: float
    lost: list[str]

    def client(self, service: str) -> httpx.Client:
        """A client of api, rag or mlflow."""

    def airflow(self) -> Airflow:
        """Signed in."""

    def wait_healthy(self, service: str) -> None:
        """Returns once all that run of a service can answer. Raises ProgramFailed."""

    def feedback(self) -> str:
        """All lines of feedback in the prediction log."""


T = TypeVar("T", bound=Target)


@dataclass
class Truth(Generic[T]):
    """`versions`: what each version of the model answers for the row. `documents`: those that were acknowledged, by
    name; `unsure`: those of requests that got no answer; `deleted`: those whose deletion was acknowledged."""

    target: T
    model: str
    row: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, float] = field(default_factory=dict)
    feedback: set[str] = field(default_factory=set)
    documents: dict[str, Document] = field(default_factory=dict)
    unsure: dict[str, Document] = field(default_factory=dict)
    deleted: dict[str, Document] = field(default_factory=dict)
    asked: int = 0

    def __post_init__(self) -> None:
        self._excused: set[str] = set()
        self._faults: list[str] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self.api, self.rag, self.mlflow = (self.target.client(name) for name in ("api", "rag", "mlflow"))

    # The traffic of users, which goes on all the time.

    def begin_traffic(self) -> None:
        """Predictions with feedback, and questions, until `end`; each failure is a violation, unless excused."""
        for ask in (self._predict, self._ask_one):
            threading.Thread(target=self._keep_asking, args=(ask,), daemon=True).start()

    def end(self) -> None:
        """No more traffic."""
        self._ended.set()

    @contextmanager
    def excused(self, *services: str, until_healthy: bool = True) -> Iterator[None]:
        """These services may fail for as long as the `with` lasts, and until they are healthy again."""
        with self._lock:
            self._excused |= set(services)
        try:
            yield
            for service in services if until_healthy else ():
                self.target.wait_healthy(service)
        finally:
            time.sleep(PAUSE_SECONDS)  # what was sent while it was broken has its answer
            with self._lock:
                self._excused -= set(services)

    def _keep_asking(self, ask: Any) -> None:
        while not self._ended.wait(PAUSE_SECONDS):
            ask()

    def _predict(self) -> None:
        answer = self._send("api", lambda: self.api.post("/predict", json=self.row))
        if answer is None:
            return
        said = answer.json()
        version = said["model"]["version"]
        if said["prediction"] != self.versions.get(version, said["prediction"]):
            self._fault(f"version {version} predicted {said['prediction']}, and before {self.versions[version]}")
        told = self._send("api", lambda: self.api.post("/feedback", json={"id": said["id"], "actual": 6}), {503})
        if told is not None and told.status_code == httpx.codes.ACCEPTED:
            self.feedback.add(said["id"])

    def _ask_one(self) -> None:
        known = list(self.documents.values())
        if not known:
            return
        self.asked += 1
        document = known[self.asked % len(known)]
        answer = self._send("rag", lambda: self.rag.post("/ask", json={"question": document.question}))
        if answer is None or document.name not in self.documents:
            return
        said = answer.json()
        if said["abstained"] or document.day not in said["citations"][0]["quote"]:
            self._fault(f"{document.question} was answered {said['answer']!r}")

    def _send(self, service: str, call: Any, allowed: Sequence[int] | set[int] = ()) -> httpx.Response | None:
        with self._lock:
            excused = service in self._excused
        try:
            answer: httpx.Response = call()
        except NoAnswer as error:
            said = f"{service}: {error.kind}"
        else:
            if answer.is_success:
                return answer
            if answer.status_code in allowed:
                return None
            said = f"{service}: {answer.status_code} {answer.text[:200]}"
        with self._lock:
            excused = excused or service in self._excused
        if not excused:
            self._fault(said)
        return None

    def _fault(self, said: str) -> None:
        self._faults.append(f"{time.strftime('%H:%M:%S')} {said}")

    # What a trial gives the services.

    def give(self, document: Document) -> None:
        """Adds a document. Without an answer, it may be there or not."""
        self.unsure[document.name] = document
        files = [("files", (document.name, document.text.encode()))]
        try:
            answer = self.rag.post("/documents", files=files)
        except NoAnswer:
            return
        if answer.is_success and answer.json()["documents"][0]["verdict"] in ("indexed", "unchanged"):
            time.sleep(self.target.follow_seconds)
            self.documents[document.name] = self.unsure.pop(document.name)

    def forget(self, document: Document) -> None:
        """Deletes a document. Without an answer, it may be there or not."""
        listed = {one["name"]: one["id"] for one in self.listed()}
        self.documents.pop(document.name)
        self.unsure[document.name] = document
        try:
            answer = self.rag.delete(f"/documents/{listed[document.name]}")
        except NoAnswer:
            return
        if answer.is_success:
            time.sleep(self.target.follow_seconds)
            self.deleted[document.name] = self.unsure.pop(document.name)

    def listed(self) -> list[dict[str, Any]]:
        """The documents as the service lists them."""
        return list(content(self.rag.get("/documents", params={"collection": "default", "limit": 1000}))["documents"])

    def alias(self) -> str:
        """The version that the registry's alias names."""
        asked = {"name": self.model, "alias": "production"}
        said = content(self.mlflow.get("/api/2.0/mlflow/registered-models/alias", params=asked))
        return str(said["model_version"]["version"])

    def move_alias(self, version: str) -> None:
        """Lets another version serve."""
        body = {"name": self.model, "alias": "production", "version": version}
        content(self.mlflow.post("/api/2.0/mlflow/registered-models/alias", json=body))

    # Whether it is all true.

    def check(self) -> None:
        """Raises Violation for the first promise that does not hold."""
        for service in ("mlflow", "api", "rag"):
            self.target.wait_healthy(service)
        self._check_model()
        self._check_feedback()
        self._check_documents()
        time.sleep(2 * PAUSE_SECONDS)
        if self._faults:  # of users
            faults, self._faults = self._faults, []
            raise Violation(f"{len(faults)} requests failed: {faults[0]}")
        if self.target.lost:
            raise Violation(self.target.lost[0])

    def _check_model(self) -> None:
        """The service serves what the alias names, and predicts as it always did."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            wanted = self.alias()
            served = [served_model(self.api) for _ in range(self.target.answers)]
            found = {one and one["version"] for one in served}
            if found == {wanted}:
                break
            if time.monotonic() > deadline:
                raise Violation(f"version {found} is served, the registry names {wanted}")
            time.sleep(0.2)
        said = content(self.api.post("/predict", json=self.row))["prediction"]
        if said != self.versions.setdefault(wanted, said):
            raise Violation(f"version {wanted} predicts {said}, and before {self.versions[wanted]}")

    def _check_feedback(self) -> None:
        """Each feedback that was acknowledged is a line of the log, which is read as the monitor reads it."""
        kept = set()
        told = set(self.feedback)
        for line in self.target.feedback().splitlines():
            with suppress(ValueError):  # the line at which it was killed
                kept.add(json.loads(line)["id"])
        if told - kept:
            raise Violation(f"{len(told - kept)} of {len(told)} acknowledged feedbacks are not in the log")

    def _check_documents(self) -> None:
        """All that was acknowledged is listed and answers; what was deleted is neither listed nor quoted."""
        listed = {one["name"] for one in self.listed()}
        for name in list(self.unsure):
            document = self.unsure.pop(name)
            (self.documents if name in listed else self.deleted)[name] = document
        if listed != set(self.documents):
            raise Violation(
                f"not listed: {sorted(set(self.documents) - listed)}; listed: {sorted(listed - set(self.documents))}"
            )
        for document in (*list(self.documents.values())[-3:], *list(self.deleted.values())[-2:]):
            answer = content(self.rag.post("/ask", json={"question": document.question}))
            cited = {one["document"] for one in answer["citations"]}
            if (document.name in cited) != (document.name in self.documents):
                raise Violation(f"{document.name}: deleted={document.name in self.deleted}, cited={sorted(cited)}")
