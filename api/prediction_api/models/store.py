"""One registered model as it is served: follows what the alias names, verifies, swaps, keeps copies."""

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from prediction_api.errors import (
    ArtifactUnavailable,
    DigestMissing,
    ModelRefused,
    NotThere,
    RegistryAway,
    SandboxKilled,
)
from prediction_api.models.copies import CopyRecord, ModelCopies, check_digest, now
from prediction_api.models.memory import RESIDENT_OF_FILE, ModelMemory, release_memory
from prediction_api.models.predictor import Predictor
from prediction_api.models.registry import Champion, Promoted, Registry
from prediction_api.models.sandbox import try_out
from prediction_api.models.signature import PublicKeys
from prediction_api.predicting.rows import RowReader
from prediction_api.telemetry.events import log_event
from prediction_api.telemetry.metrics import Metrics

RETRY_REFUSED_SECONDS = 60.0  # a refused version is tried again then: the fault may have been on the way
RETRY_KILLED_SECONDS = 2.0  # after the first time; doubled each time, up to the above
RELEASE_SECONDS = 1.0  # after a swap: requests and the prediction log may hold the old model that long


@dataclass(frozen=True, slots=True)
class LiveModel:
    """Everything one request needs, so that a swap in its midst changes nothing for it."""

    name: str
    version: str
    alias: str
    sha256: str
    run_id: str | None
    registered: int | None
    loaded_at: datetime
    predictor: Predictor
    reader: RowReader


@dataclass(frozen=True, slots=True)
class Refusal:
    """A version that is not served, and why; `version` and `at` are null where the name alone is at fault."""

    version: str | None
    reason: str
    detail: str
    hint: str
    at: datetime | None = None


class ServedModel:
    """`live` is None until a version passed every check; from then on there is always one, until `withdraw`."""

    def __init__(
        self,
        name: str,
        registry: Registry,
        copies: ModelCopies,
        keys: PublicKeys,
        memory: ModelMemory,
        metrics: Metrics,
    ) -> None:
        self.name = name
        self.live: LiveModel | None = None
        self.refusal: Refusal | None = None
        self.registered: int | None = None  # when the model was, in ms; None while the registry has not said so
        self.detail = "loaded from a copy"  # what the registry last said about this model
        self._registry = registry
        self._copies = copies
        self._keys = keys
        self._memory = memory
        self._metrics = metrics
        self._refused: tuple[Champion | None, object] = None, ()  # with the keys of then
        self._retry_at = 0.0
        self._killed = 0  # trials of this version in a row that something else ended
        self._adopting: Promoted | None = None
        self._adoption: asyncio.Task[None] | None = None
        self._stoppable = True

    async def load_newest_copy(self) -> None:
        """Makes the newest copy live that still passes every check; leaves `live` alone where there is none."""
        for record in await asyncio.to_thread(self._copies.to_serve, self._registry.alias):
            self.registered = self.registered or record.registered
            try:
                self._keys.check(self.name, record.sha256, record.signature)
                content = await asyncio.to_thread(self._copies.read, record.version, record.sha256)
                if content is not None:
                    await self._make_live(content, record, origin="copy")
                    return
            except ModelRefused as refused:
                self._note_refusal(record.version, refused)

    async def follow(self, promoted: Promoted) -> None:
        """Takes note of what the alias names now. Adopts it in a task of its own, where it is not live: a large model
        takes minutes to come and to be tried, and neither another model nor a rollback waits for that."""
        self.registered = promoted.created
        self.detail = f"version {promoted.version} is {self._registry.alias}"
        if self._adoption is not None and not self._adoption.done():
            if promoted == self._adopting or not self._stoppable:
                return
            log_event("model no longer wanted", model=self.name, wanted=promoted.version)
            await self.stop()
        live = self.live
        if live and (live.version, live.registered) == (promoted.version, promoted.created):
            self._forget_refusal()  # of a version that has lost the alias
            return
        self._adopting = promoted
        self._adoption = asyncio.create_task(self._try_to_adopt(promoted))

    async def stop(self) -> None:
        """Ends the adoption that is under way, if one is."""
        if self._adoption is not None and not self._adoption.done():
            if self._stoppable:
                self._adoption.cancel()
            await asyncio.wait({self._adoption})

    async def withdraw(self) -> None:
        """No version carries the alias any more: nothing is served, and a restart does not bring a copy back."""
        await self.stop()
        self.live = None
        self._memory.taken.pop(self.name, None)
        self._metrics.withdrawn(self.name)
        await asyncio.to_thread(self._copies.withdraw)
        log_event("model withdrawn", level=logging.WARNING, model=self.name)

    async def _try_to_adopt(self, promoted: Promoted) -> None:
        """One try; the next look at the registry begins another where it is due."""
        champion, keys = None, self._keys.state()
        try:
            champion = await self._registry.champion(promoted)
            if (champion, keys) != self._refused or time.monotonic() >= self._retry_at:
                await self._adopt(champion)
        except (NotThere, RegistryAway) as error:
            self.detail += f"; {error.detail}"
        except ModelRefused as refused:
            self._refused, self._retry_at = (champion, keys), time.monotonic() + self._pause_after(refused)
            self._note_refusal(promoted.version, refused)
        except Exception as error:  # noqa: BLE001  # a fault of ours in one try must not end the following
            fault = f"{type(error).__name__}: {error}"
            log_event("adoption failed", level=logging.ERROR, model=self.name, version=promoted.version, error=fault)

    async def _adopt(self, champion: Champion) -> None:
        """Fetches, verifies and swaps. Raises ModelRefused or RegistryAway, and then nothing changed."""
        if not champion.sha256:
            raise DigestMissing(f"version {champion.version} has no tag model_sha256")
        sha256 = champion.sha256.lower()
        self._keys.check(self.name, sha256, champion.signature)
        async with self._memory.loading:
            await self._swap(champion, sha256)
        await asyncio.sleep(RELEASE_SECONDS)
        await asyncio.to_thread(release_memory)

    async def _swap(self, champion: Champion, sha256: str) -> None:
        downloaded: Path | None = None
        resident: int | None = None  # bytes in memory, where the trial measured them
        try:
            content = await self._copy(champion.version, sha256)
            if content is None:
                downloaded = await asyncio.to_thread(self._copies.new_file)
                await self._registry.download(self.name, champion.version, downloaded)
                content = await asyncio.to_thread(downloaded.read_bytes)
                await asyncio.to_thread(check_digest, content, sha256, f"version {champion.version}")
                resident = await try_out(content, self._memory.limit)
            record = CopyRecord(
                name=self.name, version=champion.version, alias=self._registry.alias, sha256=sha256,
                signature=champion.signature, run_id=champion.run_id,
                resident=resident, registered=champion.created, adopted_at=now(),
            )  # fmt: skip
            self._stoppable = False
            await self._make_live(content, record, origin="registry")
            self._forget_refusal()
            await self._keep(downloaded, record)
        finally:  # after a stop of the service too, no half file is left; `_keep` has moved a whole one away
            self._stoppable = True
            if downloaded is not None:
                downloaded.unlink(missing_ok=True)

    async def _copy(self, version: str, sha256: str) -> bytes | None:
        """The version's copy, which was tried before it was kept; None where there is none that can be used."""
        try:
            return await asyncio.to_thread(self._copies.read, version, sha256)
        except ModelRefused as refused:
            self._note_refusal(version, refused)
            return None

    async def _keep(self, downloaded: Path | None, record: CopyRecord) -> None:
        """A full disk costs the copy, not the model: it is live already. A stop of the service waits for the thread."""
        try:
            await asyncio.to_thread(self._copies.keep, downloaded, record)
        except (OSError, ArtifactUnavailable) as error:
            log_event("copy not kept", level=logging.WARNING, version=record.version, error=str(error))

    async def _make_live(self, content: bytes, record: CopyRecord, origin: str) -> None:
        started = time.perf_counter()
        needed = RESIDENT_OF_FILE * len(content) if record.resident is None else record.resident
        self._memory.check(self.name, needed)
        predictor = await asyncio.to_thread(Predictor.from_bytes, content)
        reader = await asyncio.to_thread(RowReader, predictor.contract)
        self.live = LiveModel(
            self.name, record.version, record.alias, record.sha256, record.run_id, record.registered, now(),
            predictor, reader,
        )  # fmt: skip
        self._memory.taken[self.name] = needed
        self._metrics.swapped(self.name, record.version)
        log_event(
            "model loaded", model=self.name, version=record.version, origin=origin, sha256=record.sha256,
            seconds=round(time.perf_counter() - started, 3),
        )  # fmt: skip

    def _pause_after(self, refused: ModelRefused) -> float:
        """Seconds until the next try: fewer where the version itself is not at fault."""
        self._killed = self._killed + 1 if isinstance(refused, SandboxKilled) else 0
        if not self._killed:
            return RETRY_REFUSED_SECONDS
        return min(RETRY_REFUSED_SECONDS, RETRY_KILLED_SECONDS * 2.0 ** (self._killed - 1))

    def _forget_refusal(self) -> None:
        self.refusal, self._refused, self._killed = None, (None, ()), 0

    def _note_refusal(self, version: str, refused: ModelRefused) -> None:
        code, detail = refused.code(), refused.detail
        self.refusal = Refusal(version, code, detail, refused.hint, now())
        self._metrics.refusals.labels(self.name, code).inc()
        log_event("model refused", level=logging.WARNING, model=self.name, version=version, reason=code, detail=detail)
