"""What was decided about the model, from the registry's ledger: promotions, refusals, rollbacks."""

import asyncio
import time
from dataclasses import dataclass, replace
from datetime import datetime

from prediction_api.errors import HistoryUnavailable, RegistryAway
from prediction_api.models.copies import now
from prediction_api.models.registry import LedgerEntry, Registry

MOST_ENTRIES = 20
KEPT_SECONDS = 10.0  # between two requests to the registry, however many people look at the page


@dataclass(frozen=True, slots=True)
class HistoryAnswer:
    """Decisions about the model, newest first, as of then. `away` says why they are not newer."""

    entries: list[LedgerEntry]
    as_of: datetime
    away: str | None


class History:
    """Reads the ledger when asked, and keeps the last answer for while the registry is away."""

    def __init__(self, registry: Registry, model: str) -> None:
        self._registry = registry
        self._model = model
        self._past: HistoryAnswer | None = None
        self._away = ""
        self._asked_at = -KEPT_SECONDS
        self._asking = asyncio.Lock()

    async def read(self) -> HistoryAnswer:
        """Raises HistoryUnavailable when the registry is away and never answered before."""
        async with self._asking:
            if time.monotonic() - self._asked_at >= KEPT_SECONDS:
                await self._ask()
        if self._past is None:
            raise HistoryUnavailable(self._away)
        return self._past

    async def _ask(self) -> None:
        try:
            self._past = HistoryAnswer(await self._registry.decisions(self._model, MOST_ENTRIES), now(), None)
        except RegistryAway as error:
            self._away = error.detail
            self._past = self._past and replace(self._past, away=error.detail)
        self._asked_at = time.monotonic()
