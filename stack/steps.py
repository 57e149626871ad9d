"""What a user does with the running stack, over HTTP: predict, give documents, ask. Each step says what came of it."""

import ssl
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from stack.errors import StepFailed

QUESTION = "What does a corked wine smell of?"


@dataclass
class Step:
    """One row of the table; `result` is set by the step itself."""

    name: str
    seconds: float = 0.0
    result: str = ""


@dataclass
class Report:
    """The steps so far, printed one by one as they end, and as a table at the end."""

    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    steps: list[Step] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Times what happens inside. A step that raises is reported as failed, and the error goes on."""
        step = Step(name)
        self.steps.append(step)
        start = time.monotonic()
        try:
            yield step
        except BaseException:  # Ctrl-C too: whatever ends a step, its line says so, and it goes on upwards
            step.result = "failed"
            raise
        finally:
            step.seconds = time.monotonic() - start
            self.print_step(step)

    def add(self, name: str, seconds: float, result: str) -> None:
        """A step that was timed elsewhere."""
        self.steps.append(Step(name, seconds, result))
        self.print_step(self.steps[-1])

    def say(self, line: str) -> None:
        """A line about the step that is under way."""
        self.console.print(line, markup=False)

    def print_step(self, step: Step) -> None:
        """One line, as soon as it is known."""
        self.say(f"{step.name:<24} {step.seconds:7.1f} s   {step.result}")

    def print_table(self, title: str) -> None:
        """All steps with their times and results."""
        table = Table(title=title, title_justify="left")
        table.add_column("step")
        table.add_column("seconds", justify="right")
        table.add_column("result", overflow="fold")
        for step in self.steps:
            table.add_row(step.name, f"{step.seconds:.1f}", step.result)
        self.console.print(table, markup=False)


def client(base_url: str, trust: ssl.SSLContext | bool = True) -> httpx.Client:
    """An HTTP client for a program on this machine: proxies of the environment do not apply."""
    return httpx.Client(base_url=base_url, timeout=120, trust_env=False, verify=trust)


def content(answer: httpx.Response) -> Any:
    """The answer's JSON. Raises StepFailed with the service's own words when it is an error."""
    if answer.is_success:
        return answer.json()
    try:
        problem = answer.json()
        said = f"{problem.get('title')}: {problem.get('detail')}"
        hint = str(problem.get("hint") or "")
    except (ValueError, AttributeError):
        said, hint = answer.text[:500], ""
    request = answer.request
    raise StepFailed(f"{request.method} {request.url.path} answered {answer.status_code}, {said}", hint)


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
    """Why no model serves although the run succeeded: a refusal is a result, with its reasons."""
    for entry in content(api.get("/history"))["entries"]:
        if entry["action"] == "refused":
            failed = "; ".join(reason["text"] for reason in entry["reasons"] if not reason["passed"])
            return StepFailed(
                f"nothing is served: the gate refused version {entry['version']}, {failed}",
                "give more rows or better columns; `gate` in the pipeline file has its rules (make keys)",
            )
    return StepFailed("no model is served after the DAG's success", "see var/log/api.log")


def give_documents(rag: httpx.Client, paths: list[Path]) -> str:
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
