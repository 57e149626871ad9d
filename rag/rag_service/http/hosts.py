"""Whose calls are answered: the Host check against DNS rebinding, and the Origin check against other sites' pages.

A page of another site reaches this service in two ways. Its own name may resolve to this machine (DNS rebinding): then
the Host is not one of ours. Or it sends a form or a script's request to our address: then the Origin is not ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address

from starlette.types import Scope

from rag_service.errors import ForeignPage, UnknownHost

# Beside every IP address: rebinding needs a name. "rag" is the service's name in Compose.
_OWN_NAMES = ("localhost", "rag")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]/@\s]+)(?::\d{1,5})?")
_SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
_ELSEWHERE = frozenset(("cross-site", "same-site"))  # Sec-Fetch-Site, of a request that another site's page makes


class HostCheck:
    """`allowed`: names beside the service's own, `*.example.org` for all below one, `*` for every name."""

    def __init__(self, own: str, allowed: Iterable[str]) -> None:
        self._own = {*_OWN_NAMES, own.lower()}
        self._allowed = [name.lower().rstrip(".") for name in allowed]

    def check(self, scope: Scope) -> None:
        """Raises UnknownHost or ForeignPage. h11 has seen to it that there is one Host; HTTP/1.0 (no browser) may have
        none."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get(b"host"), headers.get(b"origin")
        if host is None:
            return
        if not self._is_known(host):
            raise UnknownHost(host)
        if scope["method"] in _SAFE_METHODS:
            return
        if origin is not None and not self._is_same_site(origin, host):
            raise ForeignPage("of another site" if origin == "null" else f"at {origin!r:.100}, which is another site")
        if origin is None and headers.get(b"sec-fetch-site") in _ELSEWHERE:
            raise ForeignPage("of another site")

    def _is_known(self, host: str) -> bool:
        name = _name(host)
        return name is not None and (_is_address(name) or name in self._own or self._is_allowed(name))

    def _is_same_site(self, origin: str, host: str) -> bool:
        """The page came from this service; a proxy may have replaced the Host, not the Origin."""
        place = origin.lower().partition("://")[2]
        name = _name(place)
        return place == host.lower() or (name is not None and self._is_allowed(name))

    def _is_allowed(self, name: str) -> bool:
        return any(
            one in ("*", name) or (one.startswith("*.") and name.endswith(one.removeprefix("*")))
            for one in self._allowed
        )


def _name(place: str) -> str | None:
    """The name or address in `name:port`, in lower case; None for anything else."""
    match = _HOST.fullmatch(place.lower())
    return match[1].strip("[]").rstrip(".") if match else None


def _is_address(name: str) -> bool:
    with suppress(ValueError):
        return bool(ip_address(name))
    return False
