"""verify: does the prediction service serve what was promoted? When it refuses it, the alias goes back."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from training.config import Config
from training.errors import ConfigError, NotServed, RefusedByService
from training.promotion.promote import move, settle
from training.reason import Reason
from training.tracking.ledger import Entry, Ledger, author, course
from training.tracking.registry import Registry

log = logging.getLogger(__name__)

VERIFY_SECONDS = 60.0
API_URL = "http://127.0.0.1:8000"
# Codes of the service that say nothing about the model, and may pass: it could not fetch the file, was short of memory
# while it tried it, or has no key yet.
ACCIDENTS = ("artifact-unavailable", "sandbox-killed", "no-public-key")
_PARTS = ("model", "registry", "refused")  # of what /models/NAME/readyz says
_LOOKS = 2  # times that it must have asked the registry again: the refusal that it reports could be an older one


@dataclass(frozen=True)
class Readiness:
    """What the service says of the model; all empty when it does not answer, or does not know it."""

    alias: str | None = None
    serves: str | None = None  # the version
    refused: Mapping[str, Any] = field(default_factory=dict)  # version, reason, detail
    looked_at: str | None = None
    said: str = "no answer"


def verify(config: Config) -> dict[str, Any]:
    """Asks the prediction service until it serves the alias's version.

    Raises RefusedByService when it refuses that version, which was moved away from then; NotServed, with nothing moved,
    when it does neither within VERIFY_SECONDS; ConfigError when it follows another alias.
    """
    with Registry(config.name, config.serving.alias).speaking() as registry:
        ledger = Ledger(registry)
        settle(ledger)
        holder, last = registry.holder(), course(ledger.entries()).last
    if holder is None:
        return {"status": "nothing in production"}
    url = f"{os.environ.get('API_URL', API_URL).rstrip('/')}/models/{config.name}/readyz"
    start, ready = time.monotonic(), _readiness(url)
    looks = {ready.looked_at}
    while ready.serves != holder.version:
        if ready.alias not in (None, registry.alias):
            raise ConfigError(
                f"{url}: the service follows the alias '{ready.alias}', and '{config.name}' was promoted as "
                f"'{registry.alias}'",
                f"Start the service with MODEL_ALIAS={registry.alias}, or set serving.alias to '{ready.alias}'.",
            )
        refused = str(ready.refused.get("version")) == holder.version and ready.refused.get("reason") not in ACCIDENTS
        if len(looks) > _LOOKS and refused:
            raise _revert(registry, holder.version, ready.refused)
        if time.monotonic() - start > VERIFY_SECONDS:
            raise NotServed(
                f"{url}: the service does not serve version {holder.version} after {VERIFY_SECONDS:.0f} s; "
                f"it says: {ready.said}",
                f"The service goes on with the model that it had. It serves what has the alias "
                f"MODEL_ALIAS; that must be {registry.alias}.",
            )
        time.sleep(0.5)
        ready = _readiness(url)
        looks.add(ready.looked_at)
    log.info("%s serves version %s", url, holder.version)
    waited, moved = round(time.monotonic() - start, 1), bool(last and last.by == author())
    return {"status": "served", "version": holder.version, "waited_s": waited, "moved": moved}


def _revert(registry: Registry, version: str, refused: Mapping[str, Any]) -> RefusedByService:
    code, detail = str(refused.get("reason")), refused.get("detail")
    with registry.speaking():
        ledger = Ledger(registry)
        back_to = course(ledger.entries()).before(registry.versions()) or ""
        text = f"the prediction service refused version {version} ({code}): {detail}"
        move(ledger, Entry("reverted", back_to, version, (Reason(code, False, text),)))
    return RefusedByService(registry.alias, text, back_to)


def _readiness(url: str) -> Readiness:
    try:
        said = requests.get(url, timeout=2).json()
    except (requests.RequestException, ValueError) as error:
        return Readiness(said=type(error).__name__)
    if not isinstance(said, dict):
        return Readiness(said=str(said)[:300])
    model, asked, refused = (said.get(key) if isinstance(said.get(key), dict) else None for key in _PARTS)
    return Readiness(
        alias=str(asked.get("alias")) if asked else None,
        serves=str(model.get("version")) if model else None,
        refused=refused or {},
        looked_at=str(asked.get("checked_at")) if asked else None,
        said=str(said.get("detail") or {key: said.get(key) for key in _PARTS})[:500],
    )
