"""Whose calls are answered: the Host check against DNS rebinding, and the Origin check against other sites' pages.

A page of another site reaches this service in two ways. Its own name may resolve to this machine (DNS rebinding): then
the Host is not one of ours. Or it sends a form or a script's request to our address: then the Origin is not ours.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from prediction_api.errors import ForeignOrigin, MalformedRequest, UnknownHost

# Beside every IP address: rebinding needs a name. "api" is the service's name in Compose.
OWN_NAMES = ("localhost", "api")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]/@\s]+)(?::\d{1,5})?")
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


class HostCheck:
    """Plain ASGI middleware. `allowed`: further names, `*.example.org` for all below one, `*` for every name."""

    def __init__(self, app: ASGIApp, own: str, allowed: Iterable[str]) -> None:
        self._app = app
        self._own = {*OWN_NAMES, own.lower()}
        self._allowed = [name.lower().rstrip(".") for name in allowed]
        self._known = lru_cache(256)(self._is_known)
        self._same = lru_cache(256)(self._is_same_site)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._check(scope)
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        """Raises MalformedRequest, UnknownHost or ForeignOrigin."""
        host = origin = None
        for name, value in scope["headers"]:
            if name == b"host":
                if host is not None:
                    raise MalformedRequest("the request has more than one Host")
                host = value
            elif name == b"origin":
                origin = value
        if host is None:  # browsers send one always, and so does everyone in HTTP/1.1 (RFC 9112, 3.2)
            if scope.get("http_version") == "1.1":
                raise MalformedRequest("the request has no Host")
        elif not self._known(host):
            raise UnknownHost(f"the Host {_shown(host)} is not one of this service's names")
        elif origin is not None and scope["method"] not in _SAFE_METHODS and not self._same(origin, host):
            raise ForeignOrigin(f"a page of {_shown(origin)} asks")

    def _is_known(self, host: bytes) -> bool:
        name = _name(host.decode("latin-1"))
        return name is not None and (_is_address(name) or name in self._own or self._is_allowed(name))

    def _is_same_site(self, origin: bytes, host: bytes) -> bool:
        """The page came from this service; a proxy may have replaced the Host, not the Origin."""
        _, _, place = origin.decode("latin-1").lower().partition("://")
        name = _name(place)
        return place == host.decode("latin-1").lower() or (name is not None and self._is_allowed(name))

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
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _shown(value: bytes) -> str:
    return repr(value[:100].decode("latin-1"))
