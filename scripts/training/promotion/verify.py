"""verify: does the prediction service serve what was promoted? When it refuses it, the alias goes back."""

import logging
import os
import time
from collections.abc import Mapping
from typing import Any

import requests

from training.config import Config
from training.errors import ConfigError, NotServed, RefusedByService
from training.promotion.promote import move, settle
from training.reason import Reason
from training.tracking.ledger import Entry, Ledger, author, course
from training.tracking.registry import Registry

log = logging.getLogger(__name__)

VERIFY_SECONDS, POLL_SECONDS = 60.0, 0.5
API_URL = "http://127.0.0.1:8000"
# Codes of the service that say nothing about the model, and may pass: it could not fetch the file, was short of memory
# while it tried it, or has no key yet.
ACCIDENTS = ("artifact-unavailable", "sandbox-killed", "no-public-key")
_PARTS = ("model", "registry", "refused")  # of what /models/NAME/readyz says
_LOOKS = 2  # times that it must have asked the registry again: the refusal that it reports could be an older one


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
    start, looks = time.monotonic(), set()
    while True:
        said = _readiness(url)
        serves, asked, refused = (said[part] if isinstance(said.get(part), dict) else {} for part in _PARTS)
        looks.add(asked.get("checked_at"))
        if str(serves.get("version")) == holder.version:
            break
        if asked.get("alias") not in (None, registry.alias):
            raise ConfigError(
                f"{url}: the service follows the alias '{asked['alias']}', and '{config.name}' was promoted as "
                f"'{registry.alias}'",
                f"Start the service with MODEL_ALIAS={registry.alias}, or set serving.alias to '{asked['alias']}'.",
            )
        blamed = str(refused.get("version")) == holder.version and refused.get("reason") not in ACCIDENTS
        if blamed and len(looks) > _LOOKS:
            raise _revert(registry, holder.version, refused)
        if time.monotonic() - start > VERIFY_SECONDS:
            told = str(said.get("detail") or {part: said.get(part) for part in _PARTS})[:500]
            raise NotServed(
                f"{url}: the service does not serve version {holder.version} after {VERIFY_SECONDS:.0f} s; "
                f"it says: {told}",
                f"The service keeps its previous model. It serves versions with the alias MODEL_ALIAS, which must be "
                f"{registry.alias}.",
            )
        time.sleep(POLL_SECONDS)
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


def _readiness(url: str) -> dict[str, Any]:
    """What the service says of the model, or why it does not."""
    try:
        said = requests.get(url, timeout=2).json()
    except (requests.RequestException, ValueError) as error:
        return {"detail": type(error).__name__}
    return said if isinstance(said, dict) else {"detail": said}
