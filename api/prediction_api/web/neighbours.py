"""What the services beside this one say of themselves: question answering, Airflow, Prometheus."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import httpx
from prometheus_client.parser import text_string_to_metric_families
from pydantic import AliasPath, BaseModel, Field, ValidationError

from prediction_api.errors import SourceAway
from prediction_api.settings import Settings
from prediction_api.web.tiles import Link, Tile, counted

_Answer = TypeVar("_Answer", bound=BaseModel)
_KEY_ASKED = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
_HOW = "start it (make up, make run), or see its log"
_ANSWERS, _FILES = ("rag_answers_total", "answered_by"), ("rag_files_total", "verdict")
_OTHER_PROTOCOL = "{} answers in another protocol: is its address right?"
_TIMEOUT = httpx.Timeout(2.0)  # below that of the whole tile, so that it says which source it was


class _Ready(BaseModel):
    """Of question answering: `sent_to` is where the generator runs, if not here."""

    status: str | int = "ready"  # of an error's document it is a number
    generator: str | None = None
    without_generator: str | None = None
    sent_to: str | None = None
    detail: str = ""
    hint: str = ""


class _Collection(BaseModel):
    name: str
    documents: int


class _Collections(BaseModel):
    collections: list[_Collection]


class _Estimate(BaseModel):
    value: float


class _Result(BaseModel):
    figures: dict[str, _Estimate | None] = {}  # null: it could not be measured
    missed: list[str] = []


class _Job(BaseModel):
    kind: str
    state: str
    ended_at: str | None = None
    error: str | None = None
    result: _Result | None = None


class _Jobs(BaseModel):
    jobs: list[_Job]


class _Part(BaseModel):
    status: str | None = None


class _Health(BaseModel):
    metadatabase: _Part = _Part()
    scheduler: _Part = _Part()
    dag_processor: _Part = _Part()


class _Alert(BaseModel):
    name: str = Field("alert", validation_alias=AliasPath("labels", "alertname"))
    summary: str = Field("", validation_alias=AliasPath("annotations", "summary"))
    action: str = Field("", validation_alias=AliasPath("annotations", "action"))
    state: str


class _Alerts(BaseModel):
    alerts: list[_Alert] = Field(validation_alias=AliasPath("data", "alerts"))


class Neighbours:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False, follow_redirects=False)

    async def close(self) -> None:
        await self._client.aclose()

    async def airflow(self, tile: Tile) -> None:
        """Whether it can run DAGs; the runs themselves are for those who log in there. Raises SourceAway."""
        tile.links.append(Link(text="DAGs and their last runs", page="Airflow", path="dags"))
        address = _configured(self._settings.airflow_url, "AIRFLOW_URL")
        health = await self._read(_Health, "Airflow", f"{address}/api/v2/monitor/health")
        parts = {"Scheduler": health.scheduler, "DAG files": health.dag_processor, "Database": health.metadatabase}
        for name, part in parts.items():
            tile.add(name, part.status or "unknown", bad=part.status != "healthy")
        tile.add("Runs", "on Airflow's page, for those who log in; make status prints the last ones")

    async def alerts(self, tile: Tile) -> None:
        """What Prometheus' rules say now. Raises SourceAway."""
        how = "start it with COMPOSE_PROFILES=monitoring (docs/how-to/alerts.md)"
        address = _configured(self._settings.prometheus_url, "PROMETHEUS_URL", f", and {how}")
        found = await self._read(_Alerts, "Prometheus", f"{address}/api/v1/alerts", how)
        for one in found.alerts:
            if one.state == "firing":
                tile.add(one.name, f"{one.summary} {one.action}".strip(), bad=True)
        if not tile.facts:
            tile.add("Firing", "none")

    async def documents(self, tile: Tile) -> None:
        """The question-answering service. Raises SourceAway."""
        tile.links.append(Link(text="Ask", page="Ask", path=""))
        address, what = _configured(self._settings.rag_url, "RAG_URL"), "Question answering"
        state = await self._read(_Ready, what, f"{address}/readyz")
        if state.status != "ready":
            tile.add("Not ready", f"{state.detail} {state.hint}".strip(), bad=True)
            return
        why = (state.without_generator or "").partition(" (")[0]  # without what the network said
        quoting = f"quotation. {why}".strip()
        where = state.sent_to or "on this machine"
        tile.add("Answers by", f"{state.generator}, {where}" if state.generator else quoting)
        headers = _key(self._settings.api_rag_key_file)
        held = await self._read(_Collections, what, f"{address}/collections", headers=headers)
        names = ", ".join(f"{one.documents:,} in {one.name}" for one in held.collections)
        tile.add("Documents", names or "none yet: add some on the page Ask")
        jobs = (await self._read(_Jobs, what, f"{address}/jobs?limit=1000", headers=headers)).jobs
        metrics = await self._get(what, f"{address}/metrics", headers=headers)
        try:
            files, answers = (_counts(metrics.text, *one) for one in (_FILES, _ANSWERS))
        except ValueError:
            raise SourceAway(_OTHER_PROTOCOL.format(what)) from None
        _add_work(jobs, files["failed"], tile)
        _add_answers(answers, tile)

    async def _read(
        self, kind: type[_Answer], what: str, url: str, how: str = _HOW, headers: Mapping[str, str] | None = None
    ) -> _Answer:
        response = await self._get(what, url, how, headers)
        try:
            return kind.model_validate_json(response.content)
        except ValidationError:
            raise SourceAway(_OTHER_PROTOCOL.format(what)) from None

    async def _get(
        self, what: str, url: str, how: str = _HOW, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        try:
            response = await self._client.get(url, headers=headers)
        except httpx.HTTPError as error:
            raise SourceAway(f"{what} does not answer ({type(error).__name__}): {how}.") from None
        if response.status_code in _KEY_ASKED:
            raise SourceAway(f"{what} asks for a key: API_RAG_KEY_FILE names the file with one that may read.")
        if not response.is_success and response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            raise SourceAway(f"{what} answered {response.status_code}: see its log.")
        return response


def _configured(address: str | None, variable: str, how: str = "") -> str:
    if not address:
        raise SourceAway(f"Not asked: set {variable} to its address{how}.")
    return address.rstrip("/")


def _key(file: Path | None) -> dict[str, str]:
    """The header with the first key of the file."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines() if file else []
    except (OSError, UnicodeDecodeError) as error:
        raise SourceAway(f"API_RAG_KEY_FILE={file} cannot be read: {error}.") from None
    keys = [line.split()[0] for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return {"Authorization": f"Bearer {keys[0]}"} if keys else {}


def _counts(metrics: str, name: str, label: str) -> Counter[str]:
    """A counter of Prometheus by one of its labels. Raises ValueError."""
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            if sample.name == name:
                found[sample.labels[label]] += int(sample.value)
    return found


def _add_work(jobs: list[_Job], unread: int, tile: Tile) -> None:
    """What failed: files since the service's start, jobs that it still knows. And the last evaluation."""
    failed = [job for job in jobs if job.state == "failed"]
    text = f"{counted(unread, 'file')} could not be read since its start, {counted(len(failed), 'job')} failed"
    tile.add("Failures", f"{text}: {failed[0].error}" if failed else text if unread else "none", bad=bool(failed))
    result = next((job.result for job in jobs if job.kind == "evaluate" and job.result), None)
    figures = [(name, one) for name, one in result.figures.items() if one] if result else []
    shown = ", ".join(f"{name.replace('_', ' ')} {one.value:.2f}" for name, one in figures[:3])
    missed = result.missed if result else []
    text = "; ".join([shown, *missed]) or "none since its start (POST /evaluations)"
    tile.add("Last evaluation", text, bad=bool(missed))


def _add_answers(answers: Counter[str], tile: Tile) -> None:
    """How many questions were answered since the service's start, and how many it declined for want of a source."""
    asked = answers.total()
    share = f", {answers['none'] / asked:.0%} without an answer" if asked else ""
    tile.add("Questions", f"{asked:,} since its start{share}")
