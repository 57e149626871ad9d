"""MLflow's registry over its REST interface: which versions carry the alias, their files, and what was decided."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from pydantic import AliasPath, BaseModel, Field, ValidationError

from prediction_api.errors import ArtifactUnavailable, NotThere, RegistryAway

ARTIFACT = "model.onnx"
LARGEST_ARTIFACT = 1_000_000_000  # bytes; a guard against filling the disk
_VERSION = r"^\d{1,18}$"  # it becomes a file's name
_SEARCH_TIMEOUT = httpx.Timeout(2.0, read=10.0)  # the tracking server searches slowly while the machine trains a model
_DOWNLOAD_TIMEOUT = httpx.Timeout(2.0, read=30.0)  # the server may fetch from a slow object store first


@dataclass(frozen=True, slots=True)
class Promoted:
    """A registered model and the version of it that carries the alias. `created`: when it was registered, in ms."""

    name: str
    version: str
    created: int


@dataclass(frozen=True, slots=True)
class Champion:
    """The version that carries the alias. `sha256` and `signature` are as training registered them, or None.

    Two equal values mean that nothing changed in the registry.
    """

    created: int
    version: str
    sha256: str | None
    signature: str | None
    run_id: str | None
    changed: int


class Reason(BaseModel):
    """One check of a decision, in plain words; `passed` is None for what was only noted."""

    text: str
    passed: bool | None = None


class LedgerEntry(BaseModel):
    """One decision about a version. `action`: promoted, refused, rolled_back and what else the training job writes."""

    action: str
    alias: str = ""  # empty in entries of before there were several
    version: str
    previous: str | None = None
    reasons: list[Reason] = []
    by: str = ""
    at: str = ""


class _Tag(BaseModel):
    key: str
    value: str = ""


class _Version(BaseModel):
    version: str = Field(pattern=_VERSION)
    run_id: str | None = None
    tags: list[_Tag] = []
    last_updated_timestamp: int = 0


class _VersionAnswer(BaseModel):
    model_version: _Version


class _Alias(BaseModel):
    alias: str
    version: str = Field(pattern=_VERSION)


class _Model(BaseModel):
    name: str
    creation_timestamp: int = 0
    aliases: list[_Alias] = []


class _ModelsAnswer(BaseModel):
    registered_models: list[_Model] = []
    next_page_token: str = ""


class _LocationAnswer(BaseModel):
    artifact_uri: str


class _ExperimentAnswer(BaseModel):
    experiment_id: str = Field(validation_alias=AliasPath("experiment", "experiment_id"))


class _Run(BaseModel):
    tags: list[_Tag] = Field([], validation_alias=AliasPath("data", "tags"))


class _RunsAnswer(BaseModel):
    runs: list[_Run] = []


class _Trouble(BaseModel):
    error_code: str
    message: str = ""


Answer = TypeVar("Answer", bound=BaseModel)


class Registry:
    """Read-only. Short timeouts: the caller asks again soon anyway."""

    def __init__(self, uri: str, alias: str) -> None:
        self._uri = uri.rstrip("/")
        self.alias = alias
        self._client = httpx.AsyncClient(
            timeout=2.0, transport=httpx.AsyncHTTPTransport(retries=2), trust_env=False, follow_redirects=False
        )

    async def promoted(self) -> list[Promoted]:
        """Every registered model that carries the alias, the first registered in front. Raises RegistryAway."""
        found, query = list[_Model](), {"max_results": "1000"}
        while True:
            answer = await self._search("GET", "registered-models/search", _ModelsAnswer, params=query)
            found += answer.registered_models
            if not answer.next_page_token:
                break
            query["page_token"] = answer.next_page_token
        carriers = [
            Promoted(model.name, one.version, model.creation_timestamp)
            for model in found
            for one in model.aliases
            if one.alias == self.alias
        ]
        return sorted(carriers, key=lambda one: (one.created, one.name))

    async def champion(self, promoted: Promoted) -> Champion:
        """The version's details. Raises NotThere where it was deleted meanwhile, or RegistryAway."""
        query = {"name": promoted.name, "version": promoted.version}
        found = (await self._ask("GET", "model-versions/get", _VersionAnswer, params=query)).model_version
        tags = {tag.key: tag.value for tag in found.tags}
        sha256, signature = tags.get("model_sha256"), tags.get("model_signature")
        changed = found.last_updated_timestamp
        return Champion(promoted.created, found.version, sha256, signature, found.run_id or None, changed)

    async def decisions(self, model: str, most: int) -> list[LedgerEntry]:
        """The ledger's last entries, newest first; none where nothing was ever decided. Raises RegistryAway."""
        query = {"experiment_name": f"{model}-ledger"}
        try:
            found = await self._ask("GET", "experiments/get-by-name", _ExperimentAnswer, params=query)
        except NotThere:
            return []
        search: dict[str, Any] = {"experiment_ids": [found.experiment_id], "order_by": ["attributes.start_time DESC"]}
        search["max_results"] = 5 * most  # other aliases' are among them
        answer = await self._search("POST", "runs/search", _RunsAnswer, json=search)
        texts = [tag.value for run in answer.runs for tag in run.tags if tag.key == "ledger.entry"]
        entries = [_entry(text) for text in texts]
        return [entry for entry in entries if entry.alias in ("", self.alias)][:most]

    async def download(self, model: str, version: str, target: Path) -> None:
        """Writes the version's file to `target`. Raises ArtifactUnavailable, also on a full disk, or RegistryAway."""
        query = {"name": model, "version": version}
        answer = await self._ask("GET", "model-versions/get-download-uri", _LocationAnswer, params=query)
        location = urlsplit(answer.artifact_uri)
        if location.scheme != "mlflow-artifacts":
            raise ArtifactUnavailable(f"version {version} lies at {location.scheme}:, not behind the tracking server")
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
            raise RegistryAway(_reason(error)) from None
        except OSError as error:
            raise ArtifactUnavailable(f"cannot write to {target.parent}: {error.strerror}") from None

    async def close(self) -> None:
        await self._client.aclose()

    async def _search(self, method: str, path: str, kind: type[Answer], **content: Any) -> Answer:
        """An answer that may take long, of what is there: a ledger that cannot be searched was deleted a moment ago."""
        try:
            return await self._ask(method, path, kind, timeout=_SEARCH_TIMEOUT, **content)
        except NotThere as error:
            raise RegistryAway(f"{path} was refused: {error.detail}") from None

    async def _ask(self, method: str, path: str, kind: type[Answer], **content: Any) -> Answer:
        try:
            response = await self._client.request(method, f"{self._uri}/api/2.0/mlflow/{path}", **content)
            if response.is_client_error:
                trouble = _Trouble.model_validate_json(response.content)
                # MLflow answers 404 for what it does not have and 400 for what it does not take
                if trouble.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise NotThere(trouble.message[:200])
            _require_success(response)
            return kind.model_validate_json(response.content)
        except httpx.HTTPError as error:
            raise RegistryAway(_reason(error)) from None
        except ValidationError:
            detail = f"{path} answered {response.status_code} and not in MLflow's protocol"
            raise RegistryAway(detail) from None


def _entry(text: str) -> LedgerEntry:
    """An entry that cannot be read is shown as one: leaving it out would hide a decision."""
    try:
        return LedgerEntry.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "entry"
        return LedgerEntry(action="unreadable", version="?", reasons=[Reason(text=f"{where}: {first['msg']}")])


def _require_success(response: httpx.Response) -> None:
    if not response.is_success:
        raise RegistryAway(f"{response.request.url.path} answered {response.status_code}")


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}" if str(error) else type(error).__name__
