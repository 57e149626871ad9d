"""Every registered model that carries the alias, each served on its own: which there are, and which is the default."""

import asyncio
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from prediction_api.errors import RegistryAway
from prediction_api.models.copies import ModelCopies, now
from prediction_api.models.memory import ModelMemory, release_memory
from prediction_api.models.registry import Registry
from prediction_api.models.signature import PublicKeys
from prediction_api.models.store import LiveModel, Refusal, ServedModel
from prediction_api.predicting.micro_batching import Inference
from prediction_api.settings import NAME, Settings
from prediction_api.telemetry.events import log_event
from prediction_api.telemetry.history import History
from prediction_api.telemetry.metrics import Metrics
from prediction_api.telemetry.prediction_log import PredictionLog


@dataclass(frozen=True, slots=True)
class RegistryState:
    """What the last look at the registry gave. `reachable` is None before the first one."""

    reachable: bool | None = None
    detail: str = "not asked yet"
    checked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One model with all that is its own."""

    model: ServedModel
    inference: Inference
    log: PredictionLog
    history: History

    @property
    def live(self) -> LiveModel | None:
        return self.model.live


@dataclass(slots=True)
class Catalog:
    """`entries` are the models by their names; `unsafe` are those whose names cannot be served."""

    settings: Settings
    registry: Registry
    metrics: Metrics
    entries: dict[str, Entry] = field(default_factory=dict)
    unsafe: dict[str, Refusal] = field(default_factory=dict)
    state: RegistryState = RegistryState()
    memory: ModelMemory = field(init=False)

    def __post_init__(self) -> None:
        self.memory = ModelMemory(self.settings.api_models_mb * 1_000_000)

    async def load_copies(self) -> None:
        """Serves each model's newest copy that still passes every check, so that nothing here needs the registry."""
        names = sorted(path.name for path in self.settings.models_dir.glob("*/"))
        for name in filter(_is_safe, names):
            copies = self._copies(name)
            await asyncio.to_thread(copies.drop_leftovers)
            if await asyncio.to_thread(copies.to_serve, self.registry.alias):
                await self._add(name).model.load_newest_copy()
        await asyncio.to_thread(release_memory)

    async def follow(self) -> None:
        """Looks at the registry for ever. A fault of ours in one look must not end the following."""
        while True:
            try:
                await self.look_once()
            except Exception as error:  # noqa: BLE001
                log_event("look failed", level=logging.ERROR, error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(self.settings.api_poll_seconds)

    async def look_once(self) -> None:
        """Asks which models carry the alias, begins to adopt what is new and withdraws what carries it no longer."""
        try:
            promoted = await self.registry.promoted()
        except RegistryAway as error:  # what is served goes on
            self._note_registry(False, error.detail)
            return
        names = {one.name for one in promoted}
        for name in self.entries.keys() - names:
            entry = self.entries.pop(name)
            await entry.model.withdraw()
            await asyncio.to_thread(entry.log.close)
            await asyncio.to_thread(release_memory)
        self._note_unsafe(names)
        for one in promoted:
            if one.name not in self.unsafe:
                await (self.entries.get(one.name) or self._add(one.name)).model.follow(one)
        carriers = f"{len(promoted)} registered model{'s' if len(promoted) != 1 else ''}"
        self._note_registry(True, f"{carriers} with the alias {self.registry.alias!r}")

    async def close(self) -> None:
        """Ends what is under way and writes the prediction logs to their ends."""
        for entry in self.entries.values():
            await entry.model.stop()
        await asyncio.gather(*(asyncio.to_thread(entry.log.close) for entry in self.entries.values()))
        await self.registry.close()

    @property
    def default(self) -> Entry | None:
        """DEFAULT_MODEL, where it is set; else the model that was registered first."""
        if self.settings.default_model:
            return self.entries.get(self.settings.default_model)
        return min(self.entries.values(), key=lambda one: (one.model.registered or 0, one.model.name), default=None)

    def missing(self, name: str | None) -> str:
        """Why there is no model of this name, or no default model."""
        name = name or self.settings.default_model
        if name in self.unsafe:
            return self.unsafe[name].detail
        if not self.state.reachable:
            return f"there is no copy of it here, and the registry: {self.state.detail}"
        which = "no registered model" if name is None else f"no registered model {name[:100]!r}"
        served = f"; served here: {', '.join(map(repr, self.entries))}" if self.entries else ""
        return f"{which} carries the alias {self.registry.alias!r}{served}"

    def _add(self, name: str) -> Entry:
        settings = self.settings
        model = ServedModel(
            name, self.registry, self._copies(name), PublicKeys(settings.signing_public_keys), self.memory, self.metrics
        )
        folder = settings.prediction_log_dir and settings.prediction_log_dir / name
        log = PredictionLog(folder, settings.prediction_log_days, self.metrics, settings.prediction_log_group_reads)
        entry = self.entries[name] = Entry(model, Inference(self.metrics, log), log, History(self.registry, name))
        return entry

    def _copies(self, name: str) -> ModelCopies:
        return ModelCopies(self.settings.models_dir / name)

    def _note_unsafe(self, names: Iterable[str]) -> None:
        rule = "a name becomes a folder: letters, digits, space, '_', '.' and '-', at most 100, a letter or digit first"
        known, self.unsafe = self.unsafe, {}
        for name in names:
            if _is_safe(name):
                continue
            detail = f"the registered model {name[:100]!r} cannot be served: {rule}"
            self.unsafe[name] = Refusal(None, "unsafe-name", detail, "Register it under another name.")
            if name not in known:
                log_event("model refused", level=logging.WARNING, model=name, reason="unsafe-name")

    def _note_registry(self, reachable: bool, detail: str) -> None:
        if reachable != self.state.reachable:
            level = logging.INFO if reachable else logging.WARNING
            log_event("registry reached" if reachable else "registry lost", level=level, detail=detail)
        self.state = RegistryState(reachable, detail, now())
        self.metrics.registry_reachable.set(int(reachable))


def _is_safe(name: str) -> bool:
    return re.fullmatch(NAME, name) is not None
