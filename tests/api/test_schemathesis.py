"""The service beside its own OpenAPI schema: every check that Schemathesis has, over HTTP, with fixed seeds."""

import copy
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import httpx
import schemathesis
from conftest import wait_until
from model_files import bounded_model, classification_model
from prediction_api.settings import Settings
from registry_server import FakeRegistry
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from service_thread import serving

LEAST_ACCEPTED = 10
CONFIG = {
    "seed": 1,
    "continue-on-failure": True,
    "generation": {"max-examples": 25, "deterministic": True, "database": "none"},
    # Other servers' protocols are described as they are, for any model: what fits them need not fit this one.
    "operations": [
        {"include-path-regex": "/(invocations|infer)$", "checks": {"positive_data_acceptance": {"enabled": False}}}
    ],
}


@schemathesis.serializer("text/csv")
def as_text(_: Any, value: Any) -> bytes:
    return str(value).encode()


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Makes true what JSON schema cannot say: a CSV has the model's columns, and columns are equally long.

    Lists only grow, by their own values, so what is wrong with one of them stays wrong.
    """
    if case.media_type == "text/csv" and isinstance(case.body, str):
        content = case.operation.definition.raw["requestBody"]["content"]
        case.body = content["text/csv"]["example"] + "\n" * (len(case.body) % 3)
    elif isinstance(case.body, dict):
        case.body = copy.deepcopy(case.body)
        _even_out(case.body.get("inputs"))


def _even_out(inputs: Any) -> None:
    if isinstance(inputs, dict):
        _lengthen(list(inputs.values()))
    if not isinstance(inputs, list) or not all(isinstance(one, dict) for one in inputs):
        return
    _lengthen([one.get("data") for one in inputs])
    for tensor in inputs:
        shape, data = tensor.get("shape"), tensor.get("data")
        if isinstance(data, list) and isinstance(shape, list) and shape and _is_size(shape[0]):
            shape[0] = len(data)


def _lengthen(columns: list[Any]) -> None:
    if all(isinstance(column, list) and column for column in columns):
        most = max(map(len, columns), default=0)
        for column in columns:
            column.extend(column[place % len(column)] for place in range(len(column), most))


def _is_size(value: Any) -> bool:
    return type(value) in (int, float) and 1 <= value <= 10_000 and value == int(value)


def test_every_answer_is_as_the_schema_says(registry: FakeRegistry, settings: Settings) -> None:
    """Of a regression, the default model, and of a classification, which has calls of its own."""
    registry.add(bounded_model())
    registry.add(classification_model(), name="tumour")
    failures: Counter[str] = Counter()
    seen: dict[str, Counter[int]] = defaultdict(Counter)
    with serving(settings.model_copy(update={"poll_seconds": 1.0})) as address:
        for path in ("/readyz", "/models/tumour/readyz"):
            wait_until(lambda path=path: httpx.get(address + path, timeout=60).status_code == 200)
        schema = schemathesis.openapi.from_url(f"{address}/openapi.json", config=SchemathesisConfig.from_dict(CONFIG))
        for event in from_schema(schema).execute():
            if isinstance(event, events.NonFatalError | events.FatalError):
                failures[str(event.__dict__)] += 1
            if isinstance(event, events.ScenarioFinished):
                failures.update(_failures(event.recorder))
                for number, interaction in event.recorder.interactions.items():
                    case = event.recorder.cases[number].value
                    if interaction.response:
                        seen[f"{case.method} {case.path}"][interaction.response.status_code] += 1
    assert not failures
    # Of each call that takes a body enough were accepted, and not all: else nothing of it was tested.
    with_body = [path for path, calls in schema.raw_schema["paths"].items() if "requestBody" in calls.get("post", {})]
    statuses = {path: seen[f"POST {path}"] for path in with_body}
    assert {path: one for path, one in statuses.items() if one[200] + one[202] < LEAST_ACCEPTED or not one[422]} == {}
    assert {404, 405, 415} <= set().union(*seen.values())


def _failures(recorder: Any) -> Iterator[str]:
    for number, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                case = recorder.cases[number].value
                answer = recorder.interactions[number].response
                seen = f"{answer.status_code} {answer.content[:300]}" if answer else "no answer"
                yield f"{check.name}: {case.method} {case.path} {str(case.body)[:300]} -> {seen}"
