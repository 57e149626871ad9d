"""What users do with the running stack, over HTTP, as processes or as containers. Each chapter says what came of it."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from stack import clients
from stack.airflow_client import DAG, Airflow
from stack.beside import Processes
from stack.containers import Containers
from stack.errors import StepFailed
from stack.http_client import content
from stack.report import Report

QUESTION = "What does a corked wine smell of?"
RUN_SECONDS = 3600.0
SERVED_SECONDS = 300.0


class Story:
    """One pass over a running stack. Every method is one chapter, and raises StackError when it does not end well."""

    def __init__(self, stack: Processes | Containers, report: Report) -> None:
        self.stack, self.settings, self.report = stack, stack.settings, report

    def client(self, service: str) -> httpx.Client:
        """A client of api, rag or mlflow, as users have it."""
        return clients.service(self.settings, self.stack.compose, service)

    @cached_property
    def api(self) -> httpx.Client:
        return self.client("api")

    @property
    def airflow(self) -> Airflow:
        """Signed in each time, because a token expires."""
        return clients.sign_in(self.settings, self.stack.compose)

    def train(self, name: str = "train", conf: Mapping[str, object] | None = None) -> str:
        """Triggers the DAG as the page's button does, and follows it. Gives the run's id."""
        with self.report.step(name) as step:
            run_id = self.airflow.trigger(conf or {})
            self.follow(run_id)
            step.result = f"{run_id}; {self.airflow.waited(run_id):.0f} s from queued to end"
        return run_id

    def follow(self, run_id: str, dag: str = DAG) -> None:
        """Follows a run to its success, and reports its tasks."""
        tell = self.report.add
        self.airflow.follow(run_id, RUN_SECONDS, lambda task: tell(f"  {task.name}", task.seconds, task.state), dag)

    def predict(self, name: str = "POST /predict", seconds: float = SERVED_SECONDS) -> dict[str, Any]:
        """One prediction by the promoted model, served within `seconds`, and why it was promoted; gives what `/model`
        says."""
        with self.report.step("served model") as step:
            model = wait_for_model(self.api, seconds)
            step.result = describe_model(model)
        with self.report.step(name) as step:
            step.result = describe_prediction(predict(self.api, model))
        with self.report.step("GET /history") as step:
            step.result = last_decision(self.api, model)
        return model

    def give_documents(self, paths: Sequence[Path]) -> None:
        """Uploads files."""
        with self.client("rag") as rag, self.report.step("POST /documents") as step:
            step.result = give_documents(rag, paths)

    def ask(self, name: str = "POST /ask", question: str = QUESTION, quoted: str = "") -> None:
        """Asks one question, which a quote with the words `quoted` answers."""
        with self.client("rag") as rag, self.report.step(name) as step:
            answer = ask(rag, question)
            quote = answer["citations"][0]["quote"]
            if quoted not in quote:
                raise StepFailed(f"the quote is not from the document: {quote!r}", "see the log of rag")
            step.result = f"{question} — {describe_answer(answer)}"


def wait_for_model(api: httpx.Client, seconds: float = SERVED_SECONDS) -> dict[str, Any]:
    """What `/model` says once a model is served. Raises StepFailed when none is after `seconds`."""
    deadline = time.monotonic() + seconds
    while (model := served_model(api)) is None:
        if time.monotonic() >= deadline:
            raise nothing_served(api)
        time.sleep(0.5)
    return model


def served_model(api: httpx.Client, name: str | None = None) -> dict[str, Any] | None:
    """What `/model` says, of the default model or of the one with this name; None while it is not served. Raises
    StepFailed."""
    answer = api.get(f"/models/{name}/model" if name else "/model")
    if answer.status_code in (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.NOT_FOUND):
        return None
    return dict(content(answer))


def example_row(model: dict[str, Any]) -> dict[str, Any]:
    """A row that the model can be asked about: each feature's own example."""
    return {feature["name"]: feature["example"] for feature in model["features"]}


def predict(api: httpx.Client, model: dict[str, Any]) -> dict[str, Any]:
    """Asks for one prediction. Raises StepFailed, also when another model answers than `model`."""
    answer = dict(content(api.post("/predict", json=example_row(model))))
    version = answer["model"]["version"]
    if version != model["version"]:
        raise StepFailed(f"/predict answered with version {version}, /model says {model['version']}", "")
    return answer


def describe_model(model: dict[str, Any]) -> str:
    """One line: name, version, metrics, and whether real data are behind it."""
    metrics = ", ".join(f"{name} {value:.3f}" for name, value in model["metrics"].items() if isinstance(value, float))
    origin = "synthetic sample" if model["data"]["synthetic"] else "real data"
    return f"{model['name']} version {model['version']} ({origin}, {model['data']['rows']} rows): {metrics}"


def describe_prediction(answer: dict[str, Any]) -> str:
    """One line: the prediction and how sure it is."""
    interval = answer.get("interval")
    if interval:
        between = f"{interval['low']:.2f} to {interval['high']:.2f} with {interval['coverage']:.0%} coverage"
        return f"{answer['prediction']:.2f} ({between})"
    return str(answer["prediction"])


def last_decision(api: httpx.Client, model: dict[str, Any]) -> str:
    """One line: the last decision in the ledger about what is served. Raises StepFailed where there is none."""
    for entry in content(api.get("/history"))["entries"]:
        if entry["version"] == model["version"]:
            reasons = "; ".join(reason["text"] for reason in entry["reasons"])
            return f"version {entry['version']} {entry['action']} by {entry['by']}: {reasons}"
    raise StepFailed(f"version {model['version']} is served, but the ledger has no entry for it", "see MLflow's page")


def nothing_served(api: httpx.Client) -> StepFailed:
    """Why no model serves although the run succeeded: a refusal is a result, with its reasons. Of a model that never
    served, the service knows nothing."""
    history = api.get("/history")
    for entry in history.json()["entries"] if history.is_success else []:
        if entry["action"] == "refused":
            failed = "; ".join(reason["text"] for reason in entry["reasons"] if not reason["passed"])
            return StepFailed(
                f"nothing is served: the gate refused version {entry['version']}, {failed}",
                "give more rows or better columns; `gate` in the pipeline file has its rules (make keys)",
            )
    hint = "`make history` has the gate's verdict and its reasons; `gate` in the pipeline file its rules (make keys)"
    return StepFailed(
        "no model is served although the run succeeded: none was promoted, or the service refused it", hint
    )


def give_documents(rag: httpx.Client, paths: Sequence[Path]) -> str:
    """Uploads `paths`; gives the verdicts counted. Raises StepFailed when one failed or there is none."""
    files = [("files", (path.name, path.read_bytes())) for path in paths]
    documents = content(rag.post("/documents", files=files))["documents"]
    failed = [document for document in documents if document["verdict"] == "failed"]
    if failed or not documents:
        raise StepFailed(f"documents that could not be indexed: {failed or 'none were given'}", "see the log of rag")
    counts = Counter(document["verdict"] for document in documents)
    return ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))


def ask(rag: httpx.Client, question: str = QUESTION) -> dict[str, Any]:
    """Asks one question. Raises StepFailed when it is not answered with at least one quote."""
    answer = dict(content(rag.post("/ask", json={"question": question})))
    if answer["abstained"] or not answer["citations"]:
        raise StepFailed(f"the documents answer {question!r}, but the service abstained", "see the log of rag")
    return answer


def describe_answer(answer: dict[str, Any]) -> str:
    """One line: the answer, who wrote it, and its first source."""
    source = answer["citations"][0]
    page = f", page {source['page']}" if source.get("page") else ""
    by = {"extractive": "quoted; no generator here", "generator": answer.get("model", "")}.get(
        answer["answered_by"], ""
    )
    return f"{answer['answer']} [{source['document']}{page}] ({by})"
