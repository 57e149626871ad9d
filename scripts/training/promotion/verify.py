"""verify: does the prediction service serve what was promoted? When it refuses it, the alias goes back."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from typing import Any

import requests

from training.config import Config
from training.errors import ConfigError, NotServed, RefusedByService
from training.promotion import alias, history
from training.reason import Reason
from training.tracking.ledger import Entry, Ledger
from training.tracking.registry import Registry

log = logging.getLogger(__name__)

VERIFY_SECONDS = 60.0
API_URL = "http://127.0.0.1:8000"
# The service could not get at the file or not keep it: that says nothing about the model, and may pass.
ACCIDENTS = ("artifact-unavailable",)
_PARTS = ("model", "registry", "refused")  # of what /readyz says
_LOOKS = 2  # so many times it must have looked anew: the refusal that it tells of could be an older one


@dataclass(frozen=True)
class Readiness:
    """What the service's /readyz says; all empty when it does not answer."""

    follows: tuple[str, str] | None = None  # model and alias
    serves: tuple[str, str] | None = None  # model and version
    refused: tuple[str, str, str] | None = None  # version, reason, detail
    looked_at: str | None = None
    said: str = "no answer"


def verify(config: Config) -> dict[str, Any]:
    """Asks the prediction service until it serves the alias's version.

    Raises RefusedByService when it refuses that version, which was moved away from then; NotServed, with nothing moved,
    when it does neither within VERIFY_SECONDS; ConfigError when it follows another model or alias.
    """
    registry = Registry(config.name, config.serving.alias)
    with registry.speaking():
        alias.settle(registry, Ledger(registry))
        holder = registry.holder()
    if holder is None:
        return {"status": "nothing in production"}
    url = os.environ.get("API_URL", API_URL).rstrip("/")
    start, ready = time.monotonic(), _readiness(url)
    looks = {ready.looked_at}
    while ready.serves != (config.name, holder.version):
        if ready.follows not in (None, (config.name, config.serving.alias)):
            raise _follows_another(url, config, ready)
        if len(looks) > _LOOKS and _refuses(config, holder.version, ready):
            raise _revert(registry, holder.version, ready)
        if time.monotonic() - start > VERIFY_SECONDS:
            raise NotServed(
                f"{url} does not serve version {holder.version} of {config.name} after {VERIFY_SECONDS:.0f} s; "
                f"it says: {ready.said}",
                f"See {url}/readyz for the reason; the service goes on with the model that it had.",
            )
        time.sleep(0.5)
        ready = _readiness(url)
        looks.add(ready.looked_at)
    log.info("%s serves version %s", url, holder.version)
    return {"status": "served", "version": holder.version, "waited_s": round(time.monotonic() - start, 1)}


def _follows_another(url: str, config: Config, ready: Readiness) -> ConfigError:
    model, alias_there = ready.follows or ("", "")
    return ConfigError(
        f"{url} follows the model '{model}' by the alias '{alias_there}', and '{config.name}' was promoted as "
        f"'{config.serving.alias}'",
        f"Start the service with MODEL_NAME={config.name} MODEL_ALIAS={config.serving.alias} (containers: in .env, or "
        f"by `make up`, which takes the name from pipeline.yaml), or name the model '{model}'.",
    )


def _refuses(config: Config, version: str, ready: Readiness) -> bool:
    if ready.refused is None or ready.refused[0] != version or ready.refused[1] in ACCIDENTS:
        return False
    return ready.follows == (config.name, config.serving.alias)


def _revert(registry: Registry, version: str, ready: Readiness) -> RefusedByService:
    _, code, detail = ready.refused or ("", "", "")
    with registry.speaking():
        ledger = Ledger(registry)
        back_to = history.course(ledger.entries()).before(registry.versions()) or ""
        text = f"the prediction service refused version {version} ({code}): {detail}"
        alias.move(registry, ledger, Entry("reverted", back_to, version, (Reason(code, False, text),)))
    return RefusedByService(registry.alias, text, back_to)


def _readiness(url: str) -> Readiness:
    try:
        said = requests.get(f"{url}/readyz", timeout=2).json()
    except (requests.RequestException, ValueError) as error:
        return Readiness(said=type(error).__name__)
    if not isinstance(said, dict):
        return Readiness(said=str(said)[:300])
    model, asked, refused = (said.get(key) if isinstance(said.get(key), dict) else None for key in _PARTS)
    return Readiness(
        (str(asked.get("model")), str(asked.get("alias"))) if asked else None,
        (str(model.get("name")), str(model.get("version"))) if model else None,
        (str(refused.get("version")), str(refused.get("reason")), str(refused.get("detail"))) if refused else None,
        str(asked.get("checked_at")) if asked else None,
        str(said.get("detail") or {key: said.get(key) for key in _PARTS})[:500],
    )
