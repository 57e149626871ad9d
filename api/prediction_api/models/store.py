"""Keeps the promoted model live: follows the registry's alias, verifies, swaps, keeps copies."""

import asyncio
import logging
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from prediction_api.telemetry.events import log_event
from prediction_api.telemetry.metrics import Metrics
from prediction_api.models.copies import CopyRecord, ModelCopies, check_digest, now
from prediction_api.models.errors import ArtifactUnavailable, DigestMissing, ModelRefused, NoChampion, RegistryAway
from prediction_api.models.predictor import Predictor
from prediction_api.models.registry import Champion, Registry
from prediction_api.predicting.rows import RowReader
from prediction_api.models.sandbox import try_out

RETRY_REFUSED_SECONDS = 60.0  # a refused version is tried again then: the fault may have been on the way
STILL_WANTED_SECONDS = 2.0  # so often it is asked whether the version that is being fetched and tried is still wanted

_Fetched = tuple[bytes, Path | None]  # a verified model, and the file into which it was downloaded, if it was


@dataclass(frozen=True, slots=True)
class LiveModel:
    """Everything one request needs, so that a swap in its midst changes nothing for it."""

    name: str
    version: str
    alias: str
    sha256: str
    run_id: str | None
    loaded_at: datetime
    predictor: Predictor
    reader: RowReader


@dataclass(frozen=True, slots=True)
class Refusal:
    """The last version that was not served, and why."""

    version: str
    reason: str
    detail: str
    hint: str
    at: datetime


@dataclass(frozen=True, slots=True)
class RegistryState:
    """What the last look at the registry gave. `reachable` is None before the first one."""

    reachable: bool | None = None
    detail: str = "not asked yet"
    checked_at: datetime | None = None


class ModelStore:
    """`live` is None until a model passed every check; after that there is always one."""

    def __init__(self, registry: Registry, copies: ModelCopies, name: str, alias: str, metrics: Metrics) -> None:
        self.live: LiveModel | None = None
        self.refusal: Refusal | None = None
        self.registry_state = RegistryState()
        self._registry = registry
        self._copies = copies
        self.name = name
        self.alias = alias
        self._metrics = metrics
        self._refused: Champion | None = None
        self._retry_at = 0.0

    async def load_newest_copy(self) -> None:
        """Makes the newest copy live that still passes every check; leaves `live` alone where there is none."""
        await asyncio.to_thread(self._copies.drop_leftovers)
        for record in await asyncio.to_thread(self._copies.newest_first):
            try:
                content = await asyncio.to_thread(self._copies.read, record.version, record.sha256)
                if content is not None:
                    await self._make_live(content, record.version, record.sha256, record.run_id, origin="copy")
                    return
            except ModelRefused as refused:
                self._note_refusal(record.version, refused)

    async def follow(self, every_seconds: float) -> None:
        """Looks at the registry for ever. A fault of ours in one look must not end the following."""
        while True:
            try:
                await self.look_once()
            except Exception as error:  # noqa: BLE001
                log_event("look failed", level=logging.ERROR, error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(every_seconds)

    async def look_once(self) -> None:
        """Asks whom the alias names and adopts that version if it is another than the live one."""
        try:
            champion = await self._registry.champion()
            self._note_registry(True, f"version {champion.version} is {self.alias}")
            if self._is_live(champion) or self._is_refused(champion):
                return
            await self._adopt(champion)
        except NoChampion as error:
            self._note_registry(True, error.detail)
        except RegistryAway as error:
            self._note_registry(False, error.detail)
        except ModelRefused as refused:
            self._refused, self._retry_at = champion, time.monotonic() + RETRY_REFUSED_SECONDS
            self._note_refusal(champion.version, refused)

    def _is_live(self, champion: Champion) -> bool:
        live = self.live
        same = live is not None and (live.version, live.sha256) == (champion.version, (champion.sha256 or "").lower())
        if same:  # a refused version lost the alias: what is live is what is wanted
            self._refused = self.refusal = None
        return same

    def _is_refused(self, champion: Champion) -> bool:
        return champion == self._refused and time.monotonic() < self._retry_at

    async def _adopt(self, champion: Champion) -> None:
        """Fetches, verifies and swaps. Raises ModelRefused or RegistryAway, and then nothing changed."""
        if not champion.sha256:
            raise DigestMissing(f"version {champion.version} has no tag model_sha256")
        sha256 = champion.sha256.lower()
        fetched = await self._while_wanted(champion, self._fetch(champion.version, sha256))
        if fetched is None:
            return
        content, downloaded = fetched
        try:
            live = await self._make_live(content, champion.version, sha256, champion.run_id, origin="registry")
            self._refused = self.refusal = None
        except BaseException:  # a stop of the service too
            _remove(downloaded)
            raise
        record = CopyRecord(
            name=live.name, version=live.version, alias=live.alias, sha256=sha256, run_id=live.run_id, adopted_at=now()
        )
        await self._keep(downloaded, record)

    async def _fetch(self, version: str, sha256: str) -> _Fetched:
        """The version's model, from its copy or the registry, once it has passed all that can be checked outside."""
        try:
            content = await asyncio.to_thread(self._copies.read, version, sha256)
        except ModelRefused as refused:
            self._note_refusal(version, refused)
            content = None
        if content is not None:
            return content, None  # a copy was tried before it was kept
        downloaded: Path | None = None
        try:
            downloaded = await asyncio.to_thread(self._copies.new_file)
            await self._registry.download(version, downloaded)
            content = await asyncio.to_thread(downloaded.read_bytes)
            await asyncio.to_thread(check_digest, content, sha256, f"version {version}")
            await try_out(content)
        except BaseException:  # a stop of the service too: no half file is left, and whatever it was goes on upwards
            _remove(downloaded)
            raise
        return content, downloaded

    async def _while_wanted(self, champion: Champion, fetching: Coroutine[None, None, _Fetched]) -> _Fetched | None:
        """What `fetching` gives; None, and it is stopped, once the alias names another version: a large model takes
        minutes to come and to be tried, and a rollback must not wait for it."""
        task = asyncio.create_task(fetching)
        try:
            while not (await asyncio.wait({task}, timeout=STILL_WANTED_SECONDS))[0]:
                with suppress(NoChampion, RegistryAway):  # that is no other version
                    now_wanted = await self._registry.champion()
                    if (now_wanted.version, now_wanted.sha256) != (champion.version, champion.sha256):
                        log_event("model no longer wanted", version=champion.version, wanted=now_wanted.version)
                        return None
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    async def _keep(self, downloaded: Path | None, record: CopyRecord) -> None:
        """A full disk costs the copy, not the model: it is live already. A stop of the service waits for the thread."""
        try:
            await asyncio.to_thread(self._copies.keep, downloaded, record)
        except (OSError, ArtifactUnavailable) as error:
            _remove(downloaded)
            log_event("copy not kept", level=logging.WARNING, version=record.version, error=str(error))

    async def _make_live(self, content: bytes, version: str, sha256: str, run_id: str | None, origin: str) -> LiveModel:
        started = time.perf_counter()
        predictor = await asyncio.to_thread(Predictor.from_bytes, content)
        reader = await asyncio.to_thread(RowReader, predictor.contract)
        self.live = LiveModel(self.name, version, self.alias, sha256, run_id, now(), predictor, reader)
        self._metrics.swapped(self.name, version)
        seconds = round(time.perf_counter() - started, 3)
        log_event("model loaded", model=self.name, version=version, origin=origin, sha256=sha256, seconds=seconds)
        return self.live

    def _note_refusal(self, version: str, refused: ModelRefused) -> None:
        self.refusal = Refusal(version, refused.code(), refused.detail, refused.hint, now())
        self._metrics.refused(refused.code())
        log_event("model refused", level=logging.WARNING, version=version, reason=refused.code(), detail=refused.detail)

    def _note_registry(self, reachable: bool, detail: str) -> None:
        if reachable != self.registry_state.reachable:
            level = logging.INFO if reachable else logging.WARNING
            log_event("registry reached" if reachable else "registry lost", level=level, detail=detail)
        self.registry_state = RegistryState(reachable, detail, now())
        self._metrics.registry_reachable.set(int(reachable))


def _remove(downloaded: Path | None) -> None:
    if downloaded is not None:
        downloaded.unlink(missing_ok=True)
