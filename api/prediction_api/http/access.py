"""Who may call: names of this service (against DNS rebinding), pages of this site, and whoever has a key.

A page of another site reaches this service in two ways. Its own name may resolve to this machine (DNS rebinding): then
the Host is not one of ours. Or it sends a form or a script's request to our address: then the Origin is not ours.
Without any key, every program may call.
"""

import hmac
import logging
import re
import time
from functools import lru_cache
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path

from pydantic import SecretStr
from starlette.types import Scope

from prediction_api.errors import ForeignOrigin, MalformedRequest, RequestRefused, StartRefused, UnknownHost, WrongKey
from prediction_api.http.bodies import header_of
from prediction_api.telemetry.events import log_event

# Beside every IP address: rebinding needs a name. "api" is the service's name in Compose.
OWN_NAMES = ("localhost", "api")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]/@\s]+)(?::\d{1,5})?")
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
SHORTEST = 20  # characters of a key; `openssl rand -hex 16` gives 32
_FEWEST_DIFFERENT = 8
_WEAK = ("changeme", "change-me", "password", "secret", "example", "default", "letmein", "qwerty", "12345", "your-key")
_MAKE = "make one with: openssl rand -hex 16"
_LOOK_AGAIN_SECONDS = 1.0
# Health is for whoever runs the service; the page's files hold nothing, and what the page asks for needs the key.
# /docs looks at the key itself: without one, it is a page that asks for it.
_OPEN = re.compile(
    r"/|/predict-form|/docs|/livez|/readyz|/health|/healthz|/ping|/v2/health/(live|ready)|/pages/.*|/models/[^/]+/readyz",
    re.S,
)


def read_keys(text: str, source: str) -> list[bytes]:
    """The digests of the keys, one a line; empty lines and lines that begin with # are left out.

    Raises StartRefused, naming the line and never the key, for one that could be guessed, and where there is none.
    """
    lines = [line.strip() for line in text.splitlines()]
    keys = {number: line for number, line in enumerate(lines, 1) if line and not line.startswith("#")}
    for number, key in keys.items():
        wrong = "holds spaces or characters that a header cannot carry"
        if len(key) < SHORTEST or len(set(key)) < _FEWEST_DIFFERENT:
            wrong = f"has less than {SHORTEST} characters or too few different ones"
        elif weak := next((word for word in _WEAK if word in key.lower()), None):
            wrong = f"contains {weak!r}, so it could be guessed"
        elif key.isascii() and key.isprintable() and " " not in key:
            continue
        where = f"{source}, line {number}" if len(lines) > 1 else source
        raise StartRefused(f"{where}: the key {wrong}; {_MAKE}")
    if not keys:
        raise StartRefused(f"{source} holds no key; {_MAKE}")
    return [sha256(key.encode()).digest() for key in keys.values()]


class KeyRing:
    """The keys that are valid now. A file of keys is read again every second; an unusable one changes nothing."""

    def __init__(self, key: SecretStr | None, file: Path | None) -> None:
        self._fixed = read_keys(key.get_secret_value(), "API_KEY") if key else []
        self._file = file
        self._from_file = _read_file(file) if file else []
        self._trouble = ""
        self._look_at = 0.0

    def knows(self, given: bytes) -> bool:
        """Whether this is one of the keys. Takes as long for a wrong one as for any right one."""
        if self._file and time.monotonic() >= self._look_at:
            self._look(self._file)
        digest = sha256(given).digest()
        return any([hmac.compare_digest(digest, known) for known in (*self._fixed, *self._from_file)])  # noqa: C419

    def _look(self, file: Path) -> None:
        self._look_at = time.monotonic() + _LOOK_AGAIN_SECONDS
        before, self._trouble = (self._from_file, self._trouble), ""
        try:
            self._from_file = _read_file(file)
        except StartRefused as error:
            self._trouble = error.detail
        if (self._from_file, self._trouble) != before:
            what, level = ("keys not read", logging.ERROR) if self._trouble else ("keys read", logging.INFO)
            log_event(what, level=level, valid=len(self._from_file), detail=self._trouble)


def _read_file(file: Path) -> list[bytes]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StartRefused(f"API_KEY_FILE={file} cannot be read: {error}") from None
    return read_keys(text, f"API_KEY_FILE={file}")


class AccessCheck:
    """`own` is API_HOST; `allowed`: further names with commas, `*.example.org` for all below one, `*` for all names."""

    def __init__(self, own: str, allowed: str, keys: KeyRing | None) -> None:
        self._own = {*OWN_NAMES, own.lower()}
        self._allowed = [one.strip().lower().rstrip(".") for one in allowed.split(",") if one.strip()]
        self._keys = keys
        self._refused = lru_cache(512)(self._refusal)

    def __call__(self, scope: Scope) -> None:
        """Of a request whose body is not read yet. Raises MalformedRequest, UnknownHost, ForeignOrigin or WrongKey."""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        origin = b"" if scope["method"] in _SAFE_METHODS else header_of(scope, b"origin")
        # browsers always send a Host, and so does everyone in HTTP/1.1 (RFC 9112, 3.2)
        if len(hosts) > 1 or (not hosts and scope.get("http_version") == "1.1"):
            raise MalformedRequest(f"expected one Host header, found {len(hosts)}")
        if hosts and (refused := self._refused(hosts[0], origin)):
            kind, detail = refused
            raise kind(detail)
        if not is_open(scope["path"]) and not self.has_key(scope):
            raise WrongKey("the request has no valid key")

    def has_key(self, scope: Scope) -> bool:
        """The request has a valid key, or the service asks for none."""
        return self._keys is None or self._keys.knows(_given(scope))

    def _refusal(self, host: bytes, origin: bytes) -> tuple[type[RequestRefused], str] | None:
        asked = host.decode("latin-1").lower()
        name = _name(asked)
        if name not in self._own and not _is_address(name) and not self._is_allowed(name):
            return UnknownHost, f"the Host {asked[:100]!r} is not one of this service's names"
        # a page of this service; a proxy may have replaced the Host, not the Origin
        page = origin.decode("latin-1").lower()
        place = page.partition("://")[2]
        if origin and place != asked and not self._is_allowed(_name(place)):
            return ForeignOrigin, f"a page of {page[:100]!r} asks"
        return None

    def _is_allowed(self, name: str | None) -> bool:
        return name is not None and any(
            one in ("*", name) or (one.startswith("*.") and name.endswith(one.removeprefix("*")))
            for one in self._allowed
        )


def is_open(path: str) -> bool:
    """This path is answered without a key."""
    return _OPEN.fullmatch(path) is not None


def _given(scope: Scope) -> bytes:
    """The key in X-API-Key or, without that, of `Authorization: Bearer`; empty where there is none."""
    if key := header_of(scope, b"x-api-key"):
        return key.strip()
    scheme, _, bearer = header_of(scope, b"authorization").partition(b" ")
    return bearer.strip() if scheme.lower() == b"bearer" else b""


def _name(place: str) -> str | None:
    """The name or address in `name:port`, which is in lower case; None for anything else."""
    match = _HOST.fullmatch(place)
    return match[1].strip("[]").rstrip(".") if match else None


def _is_address(name: str | None) -> bool:
    try:
        ip_address(name or "")
    except ValueError:
        return False
    return True
