"""MLflow's registry over its REST interface: which versions carry the alias, their files, and what was decided."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count, takewhile
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

import httpx
from pydantic import AliasPath, AwareDatetime, BaseModel, Field, ValidationError

from prediction_api.errors import ArtifactUnavailable, HistoryUnavailable, NotThere, RegistryAway, complaints_of
from prediction_api.models.copies import VersionRecord, now
from prediction_api.telemetry.metrics import Verdict

ARTIFACT = "model.onnx"
VERDICT_TAG, CHECK_TAG = "monitor.verdict", "monitor.check"  # of the registered model; the monitor writes them
LARGEST_ARTIFACT = 1_000_000_000  # bytes; a guard against filling the disk
MOST_ENTRIES = 20  # of the history
KEPT_SECONDS = 10.0  # the history, between two requests to the registry, however many people look at the page
_TIMEOUT = httpx.Timeout(2.0, read=10.0)  # the tracking server searches slowly while the machine trains a model
_DOWNLOAD_TIMEOUT = httpx.Timeout(2.0, read=30.0)  # the server may fetch from a slow object store first


@dataclass(frozen=True, slots=True)
class Promoted:
    """A registered model and the version of it that carries the alias. `created`: when it was registered, in ms;
    `verdict`: the monitor's on this version, if there is one."""

    name: str
    version: str
    created: int
    verdict: Verdict | None = field(default=None, compare=False)


class Reason(BaseModel):
    """One check of a decision, in plain words; `passed` is None for what was only noted."""

    text: str
    passed: bool | None = None
    code: Annotated[str, Field(exclude=True)] = ""


class LedgerEntry(BaseModel):
    """One decision about a version. `action`: promoted, refused, rolled_back and what else the training job writes."""

    action: str
    alias: str = ""  # empty in entries of before there were several
    version: str
    previous: str | None = None
    reasons: list[Reason] = []
    by: str = ""
    at: str = ""


@dataclass(frozen=True, slots=True)
class HistoryAnswer:
    """Decisions about the model, newest first, as of then. `away` says why they are not newer."""

    entries: list[LedgerEntry]
    as_of: datetime
    away: str | None


class MonitorCheck(BaseModel):
    """The monitor's last look at a model's traffic, and when it looks by itself: a cron expression or preset."""

    at: AwareDatetime
    text: str
    schedule: str = ""


class _Tag(BaseModel):
    key: str
    value: str = ""


class _Figure(BaseModel):
    key: str
    value: float


class _Alias(BaseModel):
    alias: str
    version: str = Field(pattern=r"^\d{1,18}$")  # it becomes a file's name


class _Model(BaseModel):
    name: str
    creation_timestamp: int = 0
    aliases: list[_Alias] = []
    tags: list[_Tag] = []

    def verdict_on(self, version: str) -> Verdict | None:
        """One that cannot be read counts as none: the tag is shown to people, and predictions do not depend on it."""
        for tag in self.tags:
            if tag.key == VERDICT_TAG:
                with suppress(ValidationError):
                    verdict = Verdict.model_validate_json(tag.value)
                    return verdict if verdict.version == version else None
        return None


class Run(BaseModel):
    """A run in MLflow; its moments are in ms."""

    id: str = Field("", validation_alias=AliasPath("info", "run_id"))
    experiment: str = Field("", validation_alias=AliasPath("info", "experiment_id"))
    status: str = Field("", validation_alias=AliasPath("info", "status"))
    start: int = Field(0, validation_alias=AliasPath("info", "start_time"))
    end: int = Field(0, validation_alias=AliasPath("info", "end_time"))
    tags: list[_Tag] = Field([], validation_alias=AliasPath("data", "tags"))
    metrics: list[_Figure] = Field([], validation_alias=AliasPath("data", "metrics"))

    def tag(self, name: str) -> str:
        """A text that the training job wrote as `name`, `name.1`, `name.2` and so on; empty where there is none."""
        tags = {tag.key: tag.value for tag in self.tags}
        return "".join(takewhile(bool, (tags.get(f"{name}.{i}" if i else name, "") for i in count())))

    def figures(self) -> dict[str, float]:
        return {one.key: one.value for one in self.metrics}


class _Answer(BaseModel):
    """What is read of MLflow's answers, which leave out what is empty."""

    registered_models: list[_Model] = []
    next_page_token: str = ""
    run_id: str | None = Field(None, validation_alias=AliasPath("model_version", "run_id"))
    tags: list[_Tag] = Field([], validation_alias=AliasPath("model_version", "tags"))
    model: _Model | None = Field(None, validation_alias="registered_model")
    artifact_uri: str = ""
    experiment_id: str = Field("", validation_alias=AliasPath("experiment", "experiment_id"))
    runs: list[Run] = []
    error_code: str = ""
    message: str = ""


class Registry:
    """Read-only. What is asked in vain is asked again soon anyway."""

    def __init__(self, uri: str, alias: str) -> None:
        self._uri = uri.rstrip("/")
        self.alias = alias
        self._histories: dict[str, tuple[float, HistoryAnswer | str]] = {}  # when they were asked for; or why in vain
        self._asking = asyncio.Lock()
        self._client = httpx.AsyncClient(
            timeout=_TIMEOUT, transport=httpx.AsyncHTTPTransport(retries=2), trust_env=False, follow_redirects=False
        )

    async def promoted(self) -> list[Promoted]:
        """Every registered model that carries the alias, the first registered in front. Raises RegistryAway."""
        carriers, query, more = list[Promoted](), {"max_results": "1000"}, True
        while more:
            answer = await self._ask("GET", "registered-models/search", params=query)
            for model in answer.registered_models:
                versions = [one.version for one in model.aliases if one.alias == self.alias]
                carriers += [
                    Promoted(model.name, version, model.creation_timestamp, model.verdict_on(version))
                    for version in versions
                ]
            query["page_token"], more = answer.next_page_token, bool(answer.next_page_token)
        return sorted(carriers, key=lambda one: (one.created, one.name))

    async def champion(self, promoted: Promoted) -> VersionRecord:
        """What training registered with the version. Raises NotThere where it was deleted since, or RegistryAway."""
        name, version = promoted.name, promoted.version
        found = await self._ask("GET", "model-versions/get", params={"name": name, "version": version})
        tags = {tag.key: tag.value for tag in found.tags}
        return VersionRecord(
            name=name, version=version, alias=self.alias, run_id=found.run_id or None, registered=promoted.created,
            sha256=tags.get("model_sha256", ""), signature=tags.get("model_signature", ""),
        )  # fmt: skip

    async def history(self, model: str) -> HistoryAnswer:
        """The last decisions about a model, at most 10 s old, or of before the registry went away.

        Raises HistoryUnavailable where it never answered.
        """
        async with self._asking:
            asked_at, past = self._histories.get(model, (-KEPT_SECONDS, ""))
            if time.monotonic() - asked_at >= KEPT_SECONDS:
                try:
                    past = HistoryAnswer(await self._decisions(model), now(), None)
                except RegistryAway as error:
                    past = error.detail if isinstance(past, str) else replace(past, away=error.detail)
                self._histories[model] = time.monotonic(), past
        if isinstance(past, str):
            raise HistoryUnavailable(past)
        return past

    async def _decisions(self, model: str) -> list[LedgerEntry]:
        """The ledger's last entries, newest first; none where nothing was ever decided. Raises RegistryAway."""
        runs = await self.runs(f"{model}-ledger", 5 * MOST_ENTRIES)  # other aliases' are among them
        entries = [_entry(text) for run in runs if (text := run.tag("ledger.entry"))]
        return [entry for entry in entries if entry.alias in ("", self.alias)][:MOST_ENTRIES]

    async def runs(self, experiment: str, most: int, where: str = "") -> list[Run]:
        """The newest runs of an experiment that fit, newest first; none where it is not there. Raises RegistryAway."""
        try:
            found = await self._ask("GET", "experiments/get-by-name", params={"experiment_name": experiment})
        except NotThere:
            return []
        search: dict[str, Any] = {"experiment_ids": [found.experiment_id], "max_results": most}
        search |= {"order_by": ["attributes.start_time DESC"]} | ({"filter": where} if where else {})
        return (await self._ask("POST", "runs/search", json=search)).runs

    async def last_check(self, model: str) -> MonitorCheck | None:
        """The monitor's last look at this model's traffic; None before the first. Raises RegistryAway."""
        found = (await self._ask("GET", "registered-models/get", params={"name": model})).model
        for tag in found.tags if found else ():
            if tag.key == CHECK_TAG:
                with suppress(ValidationError):  # as with the verdict
                    return MonitorCheck.model_validate_json(tag.value)
        return None

    async def download(self, record: VersionRecord, target: Path) -> None:
        """Writes the version's file to `target`. Raises ArtifactUnavailable, also on a full disk, or RegistryAway."""
        version, query = record.version, {"name": record.name, "version": record.version}
        answer = await self._ask("GET", "model-versions/get-download-uri", params=query)
        location = urlsplit(answer.artifact_uri)
        if location.scheme != "mlflow-artifacts":
            raise ArtifactUnavailable(f"version {version} is at {location.scheme}:, not behind the tracking server")
        url = f"{self._uri}/api/2.0/mlflow-artifacts/artifacts/{quote(location.path.strip('/'))}/{ARTIFACT}"
        size = 0
        try:
            async with self._client.stream("GET", url, timeout=_DOWNLOAD_TIMEOUT) as response:
                if response.status_code == httpx.codes.NOT_FOUND:
                    raise ArtifactUnavailable(f"version {version} has no {ARTIFACT}")
                _require_success(response)
                with target.open("wb") as file:
                    async for block in response.aiter_bytes(1 << 20):
                        size += len(block)
                        if size > LARGEST_ARTIFACT:
                            raise ArtifactUnavailable(f"{ARTIFACT} is larger than {LARGEST_ARTIFACT} bytes")
                        file.write(block)
        except httpx.HTTPError as error:
            raise _away(error) from None
        except OSError as error:
            raise ArtifactUnavailable(f"cannot write to {target.parent}: {error.strerror}") from None

    async def close(self) -> None:
        await self._client.aclose()

    async def _ask(self, method: str, path: str, **content: Any) -> _Answer:
        try:
            response = await self._client.request(method, f"{self._uri}/api/2.0/mlflow/{path}", **content)
            if not response.is_client_error:
                _require_success(response)
            answer = _Answer.model_validate_json(response.content)
        except httpx.HTTPError as error:
            raise _away(error) from None
        except ValidationError:
            raise RegistryAway(f"{path} answered {response.status_code} and not in MLflow's protocol") from None
        # MLflow answers 404 for what it does not have and 400 for what it does not take
        if answer.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise NotThere(f"{path} was refused: {answer.message[:200]}")
        _require_success(response)
        return answer


def _entry(text: str) -> LedgerEntry:
    """An entry that cannot be read is shown as one: leaving it out would hide a decision."""
    try:
        return LedgerEntry.model_validate_json(text)
    except ValidationError as error:
        [first, *_] = complaints_of(error, ("entry",))
        return LedgerEntry(action="unreadable", version="?", reasons=[Reason(text=str(first))])


def _require_success(response: httpx.Response) -> None:
    if not response.is_success:
        raise RegistryAway(f"{response.request.url.path} answered {response.status_code}")


def _away(error: httpx.HTTPError) -> RegistryAway:
    return RegistryAway(f"{type(error).__name__}: {str(error)[:200]}".removesuffix(": "))
