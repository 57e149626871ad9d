"""Registered models as they are served: each follows what the alias names, verifies, swaps, keeps copies.

Every model that carries the alias is served on its own; the catalog knows which there are, and which is the default.
"""

import asyncio
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from prediction_api.errors import (
    ArtifactUnavailable,
    ModelRefused,
    NoRoomForModel,
    RegistryAway,
    SandboxKilled,
    UnsafeName,
)
from prediction_api.models.copies import ModelCopies, VersionRecord, check_digest, now
from prediction_api.models.predictor import Prediction, Predictor, Row
from prediction_api.models.registry import Promoted, Registry
from prediction_api.models.sandbox import release_memory, try_out
from prediction_api.models.signature import PublicKeys
from prediction_api.predicting.micro_batching import MicroBatcher
from prediction_api.predicting.rows import RowReader
from prediction_api.settings import NAME, Settings
from prediction_api.telemetry.events import fault, log_event
from prediction_api.telemetry.metrics import Metrics
from prediction_api.telemetry.prediction_log import LogFiles, Predicted, PredictionLog

RETRY_REFUSED_SECONDS = 60.0  # a refused version is tried again then: the fault may have been on the way
RETRY_KILLED_SECONDS = 2.0  # after the first time; doubled each time, up to the above
RELEASE_SECONDS = 1.0  # after a swap: requests and the prediction log may hold the old model that long


@dataclass(frozen=True, slots=True)
class LiveModel:
    """Everything one request needs, so that a swap in its midst changes nothing for it."""

    name: str
    version: str
    record: VersionRecord
    loaded_at: datetime
    predictor: Predictor
    reader: RowReader
    batcher: MicroBatcher
    log: PredictionLog | None  # None where nothing is logged
    metrics: Metrics

    async def predict(self, row: Row, identifier: str) -> Prediction:
        """The prediction for one row, counted, and logged by its identifier. Raises PredictionFailed."""
        prediction = await self.batcher.predict(row)
        self._note(identifier, None, (row,), (prediction,))
        return prediction

    def predict_batch(self, rows: Sequence[Row], identifier: str, first: int = 0) -> list[Prediction]:
        """Predictions in the order of the rows, counted, row n of the batch logged by `<identifier>.<n>`.

        These are the rows `first` (from 0) and on. May be called from several threads. Raises PredictionFailed.
        """
        predictions = self.predictor.predict(rows)
        self._note(identifier, first, rows, predictions)
        return predictions

    def _note(self, identifier: str, first: int | None, rows: Sequence[Row], predictions: Sequence[Prediction]) -> None:
        self.metrics.predicted(self.name, self.version, self.predictor.contract, predictions)
        if self.log:
            self.log.add(Predicted(time.time(), identifier, first, self.version, self.reader.names, rows, predictions))


@dataclass(frozen=True, slots=True)
class Refusal:
    """A version that is not served, and why; `version` is null where the model's name is at fault."""

    version: str | None
    reason: str
    detail: str
    hint: str
    at: datetime

    @classmethod
    def of(cls, version: str | None, error: ModelRefused) -> Self:
        return cls(version, error.code(), error.detail, error.hint, now())


class ServedModel:
    """`live` is None until a version passed every check; from then on there is always one, until `withdraw`."""

    def __init__(self, name: str, catalog: "Catalog") -> None:
        settings = catalog.settings
        self.name = name
        self.live: LiveModel | None = None
        self.refusal: Refusal | None = None
        self.registered = 0  # when the model was, in ms; 0 while nobody has said so
        self.detail = "loaded from a copy"  # what the registry last said about this model
        self.log: PredictionLog | None = None
        if settings.prediction_log_dir:
            files = LogFiles(settings.prediction_log_dir / name, settings.prediction_log_group_reads)
            self.log = PredictionLog(files, settings.prediction_log_days, catalog.metrics)
        self._catalog, self._registry, self._metrics = catalog, catalog.registry, catalog.metrics
        self._copies = ModelCopies(settings.models_dir / name)
        self._keys = PublicKeys(settings.signing_public_keys)
        self._refused: object = None  # the version, its tags and the keys, as they were then
        self._retry_at = 0.0
        self._killed_pause = RETRY_KILLED_SECONDS
        self._adopting: Promoted | None = None
        self._adoption: asyncio.Task[None] | None = None
        self._stoppable = True

    async def load_newest_copy(self) -> None:
        """Makes the newest copy live that still passes every check; leaves `live` alone where there is none."""
        for record in await asyncio.to_thread(self._copies.to_serve, self._registry.alias):
            self.registered = self.registered or record.registered
            try:
                self._keys.check(self.name, record.sha256, record.signature)
                content = await asyncio.to_thread(self._copies.read, record)
                if content is not None:
                    await self._make_live(content, record, origin="copy")
                    return
            except ModelRefused as refused:
                self._note_refusal(record.version, refused)

    async def follow(self, promoted: Promoted) -> None:
        """Follows the alias. A version that is not live is adopted in a separate task: a large model takes minutes to
        download and check, and neither another model nor a rollback should wait for it."""
        self.registered = promoted.created
        self.detail = f"version {promoted.version} is {self._registry.alias}"
        if self._adoption is not None and not self._adoption.done():
            if promoted == self._adopting or not self._stoppable:
                return
            log_event("model no longer wanted", model=self.name, wanted=promoted.version)
            await self._stop()
        live = self.live
        if live and (live.version, live.record.registered) == (promoted.version, promoted.created):
            self._forget_refusal()  # of a version that has lost the alias
            return
        self._adopting = promoted
        self._adoption = asyncio.create_task(self._adopt(promoted))

    async def close(self) -> None:
        """Ends what is under way, and writes the prediction log to its end."""
        await self._stop()
        if self.log:
            await asyncio.to_thread(self.log.close)

    async def _stop(self) -> None:
        """Ends the adoption that is under way, if one is."""
        if self._adoption is not None and not self._adoption.done():
            if self._stoppable:
                self._adoption.cancel()
            await asyncio.wait({self._adoption})

    async def withdraw(self) -> None:
        """No version carries the alias any more: nothing is served, and a restart does not bring a copy back."""
        await self._stop()
        await asyncio.to_thread(self._copies.withdraw, self._registry.alias)  # first: the service may end meanwhile
        if self.live:
            self._metrics.withdrawn(self.name, self.live.version)
        self.live = None
        await self.close()
        log_event("model withdrawn", level=logging.WARNING, model=self.name)

    async def _adopt(self, promoted: Promoted) -> None:
        """One try: fetches, verifies and swaps, or changes nothing. The next look at the registry begins another."""
        tried: object = None
        try:
            record = await self._registry.champion(promoted)
            tried = promoted, record.sha256, record.signature, self._keys.state()
            if tried == self._refused and time.monotonic() < self._retry_at:
                return
            self._keys.check(self.name, record.sha256, record.signature)
            async with self._catalog.loading:
                await self._swap(record)
            await asyncio.sleep(RELEASE_SECONDS)
            await asyncio.to_thread(release_memory)
        except RegistryAway as error:
            self.detail += f"; {error.detail}"
        except ModelRefused as refused:
            self._refused = tried
            self._retry_at = time.monotonic() + RETRY_REFUSED_SECONDS
            if isinstance(refused, SandboxKilled):  # the version itself is not at fault
                self._retry_at = time.monotonic() + self._killed_pause
                self._killed_pause = min(2 * self._killed_pause, RETRY_REFUSED_SECONDS)
            self._note_refusal(promoted.version, refused)
        except Exception as error:  # noqa: BLE001  # a fault of ours in one try must not end the following
            version, error_line = promoted.version, fault(error)
            self._metrics.refusals.labels(self.name, "fault").inc()
            log_event("adoption failed", level=logging.ERROR, model=self.name, version=version, error=error_line)

    async def _swap(self, record: VersionRecord) -> None:
        """Raises ModelRefused or RegistryAway, and then nothing changed."""
        downloaded: Path | None = None
        try:
            content = await self._copy(record)
            if content is None:
                downloaded = await asyncio.to_thread(self._copies.new_file)
                await self._registry.download(record, downloaded)
                content = await asyncio.to_thread(downloaded.read_bytes)
                await asyncio.to_thread(check_digest, content, record.sha256, f"version {record.version}")
                record = record.model_copy(update={"resident": await try_out(content, self._catalog.most_resident)})
            self._stoppable = False
            await self._make_live(content, record, origin="registry")
            self._forget_refusal()
            await self._keep(downloaded, record)
        finally:  # after a stop of the service too, no half file is left; `_keep` has moved a whole one away
            self._stoppable = True
            if downloaded is not None:
                downloaded.unlink(missing_ok=True)

    async def _copy(self, record: VersionRecord) -> bytes | None:
        """The version's copy, which was tried before it was kept; None where there is none that can be used."""
        try:
            return await asyncio.to_thread(self._copies.read, record)
        except ModelRefused as refused:
            self._note_refusal(record.version, refused)
            return None

    async def _keep(self, downloaded: Path | None, record: VersionRecord) -> None:
        """A full disk costs the copy, not the model: it is live already. A stop of the service waits for the thread."""
        try:
            await asyncio.to_thread(self._copies.keep, downloaded, record)
        except (OSError, ArtifactUnavailable) as error:
            log_event("copy not kept", level=logging.WARNING, version=record.version, error=str(error))

    async def _make_live(self, content: bytes, record: VersionRecord, origin: str) -> None:
        started, before = time.perf_counter(), self.live
        self._catalog.check_room(self, record.resident)
        predictor = await asyncio.to_thread(Predictor.from_bytes, content)
        reader = await asyncio.to_thread(RowReader, predictor.contract)
        batcher = MicroBatcher(predictor)
        self.live = LiveModel(
            self.name, record.version, record, now(), predictor, reader, batcher, self.log, self._metrics
        )
        self._metrics.swapped(self.name, before.version if before else None, record.version)
        log_event(
            "model loaded", model=self.name, version=record.version, origin=origin, sha256=record.sha256,
            seconds=round(time.perf_counter() - started, 3),
        )  # fmt: skip

    def _forget_refusal(self) -> None:
        self.refusal, self._refused, self._killed_pause = None, None, RETRY_KILLED_SECONDS

    def _note_refusal(self, version: str, refused: ModelRefused) -> None:
        self.refusal = Refusal.of(version, refused)
        code, detail = refused.code(), refused.detail
        self._metrics.refusals.labels(self.name, code).inc()
        log_event("model refused", level=logging.WARNING, model=self.name, version=version, reason=code, detail=detail)


@dataclass(frozen=True, slots=True)
class RegistryState:
    """What the last look at the registry gave. `reachable` is None before the first one."""

    reachable: bool | None = None
    detail: str = "not asked yet"
    checked_at: datetime | None = None


class Catalog:
    """`models` are those that are served, by their names; `unsafe` are those whose names cannot be."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.registry = Registry(settings.mlflow_tracking_uri, settings.model_alias)
        self.models: dict[str, ServedModel] = {}
        self.unsafe: dict[str, Refusal] = {}
        self.state = RegistryState()
        self.most_resident = settings.api_models_mb * 1_000_000  # bytes of memory for all models together
        # One model at a time is tried and loaded: meanwhile it takes up to three times what it takes afterwards, and
        # the one that it replaces is there too.
        self.loading = asyncio.Lock()

    async def load_copies(self) -> None:
        """Serves each model's newest copy that still passes every check, so that nothing here needs the registry."""
        names = sorted(path.name for path in self.settings.models_dir.glob("*/"))
        for name in filter(_is_safe, names):
            copies = ModelCopies(self.settings.models_dir / name)
            await asyncio.to_thread(copies.drop_leftovers)
            if await asyncio.to_thread(copies.to_serve, self.registry.alias):
                await self._add(name).load_newest_copy()
        await asyncio.to_thread(release_memory)

    async def follow(self) -> None:
        """Looks at the registry for ever. A fault of ours in one look must not end the following."""
        while True:
            try:
                await self.look_once()
            except Exception as error:  # noqa: BLE001
                log_event("look failed", level=logging.ERROR, error=fault(error))
            await asyncio.sleep(self.settings.poll_seconds)

    async def look_once(self) -> None:
        """Asks which models carry the alias, begins to adopt what is new and withdraws what carries it no longer."""
        try:
            promoted = await self.registry.promoted()
        except RegistryAway as error:  # what is served goes on
            self._note_registry(False, error.detail)
            return
        names = {one.name for one in promoted}
        for name in self.models.keys() - names:
            await self.models[name].withdraw()
            del self.models[name]
            await asyncio.to_thread(release_memory)
        self.unsafe = {name: self.unsafe.get(name) or _unsafe(name) for name in names if not _is_safe(name)}
        for one in promoted:
            if one.name not in self.unsafe:
                await (self.models.get(one.name) or self._add(one.name)).follow(one)
        self.metrics.monitored({one.name: one.verdict for one in promoted if one.verdict})
        carriers = f"{len(promoted)} registered model{'s' if len(promoted) != 1 else ''}"
        self._note_registry(True, f"{carriers} with the alias {self.registry.alias!r}")

    async def close(self) -> None:
        """Ends what is under way and writes the prediction logs to their ends."""
        await asyncio.gather(*(model.close() for model in self.models.values()))
        await self.registry.close()

    @property
    def default(self) -> ServedModel | None:
        """DEFAULT_MODEL, where it is set; else the model that was registered first."""
        if self.settings.default_model:
            return self.models.get(self.settings.default_model)
        return min(self.models.values(), key=lambda one: (one.registered, one.name), default=None)

    def missing(self, name: str | None) -> str:
        """Why there is no model of this name, or no default model."""
        name = name or self.settings.default_model
        if name in self.unsafe:
            return self.unsafe[name].detail
        if not self.state.reachable:
            return f"there is no copy of it here, and the registry: {self.state.detail}"
        which = "no registered model" if name is None else f"no registered model {name[:100]!r}"
        served = f"; served here: {', '.join(map(repr, self.models))}" if self.models else ""
        return f"{which} carries the alias {self.registry.alias!r}{served}"

    def check_room(self, model: ServedModel, needed: int) -> None:
        """Raises NoRoomForModel unless this many bytes fit beside the other models."""
        others = sum(one.live.record.resident for one in self.models.values() if one.live and one is not model)
        if others + needed > self.most_resident:
            found = f"it takes {needed / 1e6:.0f} MB, the other models {others / 1e6:.0f} MB"
            raise NoRoomForModel(f"{found}; API_MODELS_MB is {self.settings.api_models_mb}")

    def _add(self, name: str) -> ServedModel:
        self.models[name] = ServedModel(name, self)
        return self.models[name]

    def _note_registry(self, reachable: bool, detail: str) -> None:
        if reachable != self.state.reachable:
            level = logging.INFO if reachable else logging.WARNING
            log_event("registry reached" if reachable else "registry lost", level=level, detail=detail)
        self.state = RegistryState(reachable, detail, now())
        self.metrics.registry_reachable.set(int(reachable))


def _unsafe(name: str) -> Refusal:
    rule = "a name becomes a folder: letters, digits, space, '_', '.' and '-', at most 100, a letter or digit first"
    refused = UnsafeName(f"the registered model {name[:100]!r} cannot be served: {rule}")
    log_event("model refused", level=logging.WARNING, model=name, reason=refused.code())
    return Refusal.of(None, refused)


def _is_safe(name: str) -> bool:
    return re.fullmatch(NAME, name) is not None
