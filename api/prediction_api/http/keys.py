"""API keys: those that are valid, and the middleware that checks them. Without any key, everybody may call."""

import hmac
import logging
import re
import time
from hashlib import sha256
from pathlib import Path

from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from prediction_api.errors import StartRefused, WrongKey
from prediction_api.http.bodies import header_of
from prediction_api.telemetry.events import log_event

SHORTEST = 20  # characters; `openssl rand -hex 16` gives 32
_FEWEST_DIFFERENT = 8
_WEAK = ("changeme", "change-me", "password", "secret", "example", "default", "letmein", "qwerty", "12345", "your-key")
_LOOK_AGAIN_SECONDS = 1.0
# Health is for whoever runs the service; the page's files hold nothing, and what the page asks for needs the key.
_OPEN = re.compile(
    r"/|/livez|/readyz|/health|/healthz|/ping|/v2/health/(live|ready)|/pages/.*|/models/[^/]+/readyz", re.S
)


def read_keys(text: str, source: str) -> list[bytes]:
    """The digests of the keys, one a line; empty lines and lines that begin with # are left out.

    Raises StartRefused, naming the line and never the key, for one that could be guessed, and where there is none.
    """
    digests = []
    for number, line in enumerate(text.splitlines(), 1):
        key = line.strip()
        if not key or key.startswith("#"):
            continue
        where = f"{source}, line {number}" if len(text.splitlines()) > 1 else source
        if len(key) < SHORTEST or len(set(key)) < _FEWEST_DIFFERENT:
            raise StartRefused(
                f"{where}: the key has less than {SHORTEST} characters or too few different ones; {_MAKE}"
            )
        if weak := next((word for word in _WEAK if word in key.lower()), None):
            raise StartRefused(f"{where}: the key contains {weak!r}, so it could be guessed; {_MAKE}")
        if not key.isascii() or not key.isprintable() or " " in key:
            raise StartRefused(f"{where}: the key holds spaces or characters that a header cannot carry; {_MAKE}")
        digests.append(sha256(key.encode()).digest())
    if not digests:
        raise StartRefused(f"{source} holds no key; {_MAKE}")
    return digests


_MAKE = "make one with: openssl rand -hex 16"


class KeyRing:
    """The keys that are valid now. A file of keys is read again when it changes; an unusable one changes nothing."""

    def __init__(self, key: SecretStr | None, file: Path | None) -> None:
        self._fixed = read_keys(key.get_secret_value(), "API_KEY") if key else []
        self._file = file
        self._seen = _state(file) if file else None
        self._from_file = _read_file(file) if file else []
        self._look_at = 0.0

    def __bool__(self) -> bool:
        return bool(self._fixed or self._file)

    def knows(self, given: bytes) -> bool:
        """Whether this is one of the keys. Takes as long for a wrong one as for any right one."""
        self._look()
        digest = sha256(given).digest()
        return any([hmac.compare_digest(digest, known) for known in (*self._fixed, *self._from_file)])  # noqa: C419

    def _look(self) -> None:
        now = time.monotonic()
        if self._file is None or now < self._look_at:
            return
        self._look_at = now + _LOOK_AGAIN_SECONDS
        state = _state(self._file)
        if state == self._seen:
            return
        self._seen = state
        try:
            self._from_file = _read_file(self._file)
            log_event("keys read", keys=len(self._from_file))
        except StartRefused as error:
            log_event("keys not read, the old ones hold", level=logging.ERROR, detail=error.detail)


def _read_file(file: Path) -> list[bytes]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StartRefused(f"API_KEY_FILE={file} cannot be read: {error}") from None
    return read_keys(text, f"API_KEY_FILE={file}")


def _state(file: Path) -> tuple[int, int, int] | None:
    """What changes when the file does; None where it is not there."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class KeyCheck:
    """Plain ASGI middleware: refuses a request without a valid key, before its body is read."""

    def __init__(self, app: ASGIApp, keys: KeyRing) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_open(scope["path"]) and not self._keys.knows(_given(scope)):
            raise WrongKey("the request gives no key that is valid")
        await self._app(scope, receive, send)


def is_open(path: str) -> bool:
    """This path is answered without a key."""
    return _OPEN.fullmatch(path) is not None


def _given(scope: Scope) -> bytes:
    """The key in X-API-Key or, without that, of `Authorization: Bearer`; empty where there is none."""
    if key := header_of(scope, b"x-api-key"):
        return key.strip()
    scheme, _, bearer = header_of(scope, b"authorization").partition(b" ")
    return bearer.strip() if scheme.lower() == b"bearer" else b""
