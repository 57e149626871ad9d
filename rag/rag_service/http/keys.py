"""API keys, what each allows, and the check of a request. Without a file of keys, everybody may do everything."""

from __future__ import annotations

import hmac
import logging
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

from starlette.requests import Request
from starlette.types import Scope

from rag_service.errors import BadSettings, NotGranted, WrongKey

log = logging.getLogger(__name__)

_Allows = Literal["read", "write"]
_MAKE = "Make one with: openssl rand -hex 16"
_SHORTEST, _FEWEST_DIFFERENT = 20, 8  # characters of a key
_WEAK = ("changeme", "change-me", "password", "secret", "example", "default", "letmein", "qwerty", "12345", "your-key")
# Health is for whoever runs the service; the page's files hold nothing, and what the page asks for needs the key.
# /docs looks at the key itself: without one, it is a page that asks for it.
_OPEN = re.compile(r"/|/docs|/livez|/readyz|/health|/healthz|/ping|/pages/.*", re.S)
# Calls by POST that change no document: who may ask may also rate the answer.
_READING = frozenset(("/ask", "/search", "/ratings", "/v1/chat/completions", "/mcp"))
# Calls that a key for some collections may make: their routes ask `granted` for the one that they are about. A job's id
# cannot be guessed.
_BY_COLLECTION = re.compile(
    r"/(ask|search|ratings|mcp|collections(/[^/]+(/(next|promote|rollback|questions))?)?|documents(/[^/]+(/text|/pages/[^/]+)?)?"
    r"|evaluations|jobs/[^/]+|v1/(chat/completions|models(/[^/]+)?)"
    r"|openapi\.json)"
)


@dataclass(frozen=True)
class Grant:
    """What a key allows: `write` includes `read`; `collections` None stands for all."""

    allows: _Allows = "write"
    collections: frozenset[str] | None = None

    def sees(self, collection: str) -> bool:
        """A key for a collection is for what a refresh makes of it too: NAME@next, NAME@previous."""
        return self.collections is None or collection.partition("@")[0] in self.collections

    def check(self, collection: str) -> None:
        """Raises NotGranted where the key is not for this collection."""
        if not self.sees(collection):
            raise NotGranted(f"is not for the collection '{collection[:80]}'")


def granted(request: Request) -> Grant:
    """What the request's key allows."""
    grant: Grant = request.scope.get("grant", Grant())
    return grant


class KeyRing:
    """The keys that are valid now. The file is read again when it changes; an unusable one changes nothing."""

    def __init__(self, file: Path | None) -> None:
        """Raises BadSettings."""
        self._file = file
        self._seen = _state(file) if file else None
        self._grants = _read(file) if file else {}

    def grant(self, scope: Scope) -> Grant:
        """What the request may do. Raises WrongKey, and NotGranted where this call is beyond its key."""
        path = scope["path"]
        if _OPEN.fullmatch(path):
            return Grant()
        grant = self.given(scope)
        if grant is None:
            raise WrongKey()
        if grant.allows == "read" and scope["method"] not in ("GET", "HEAD", "OPTIONS") and path not in _READING:
            raise NotGranted("allows reading only, but this call makes a change")
        if grant.collections is not None and not _BY_COLLECTION.fullmatch(path):
            raise NotGranted("is for some collections only, but this call is about all of them")
        return grant

    def given(self, scope: Scope) -> Grant | None:
        """What the request's key allows, whatever the call; None where it has no valid one."""
        if self._file is None:
            return Grant()
        self._look(self._file)
        given = sha256(_given(scope)).digest()
        # Each is compared, so that a wrong key takes as long as any right one.
        found = [grant for digest, grant in self._grants.items() if hmac.compare_digest(digest, given)]
        return found[0] if found else None

    def _look(self, file: Path) -> None:
        state = _state(file)
        if state == self._seen:
            return
        self._seen = state
        try:
            self._grants = _read(file)
            log.info("%d keys read", len(self._grants))
        except BadSettings as error:
            log.error("keys not read, the old ones stay valid: %s", error.detail)


def _read(file: Path) -> dict[bytes, Grant]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(f"RAG_API_KEY_FILE={file} cannot be read: {error}.") from None
    return read_keys(text, f"RAG_API_KEY_FILE={file}")


def read_keys(text: str, source: str) -> dict[bytes, Grant]:
    """What each key allows, by the key's SHA-256. A line is `KEY`, `KEY read` or `KEY write`, and after that the
    collections that the key is for, separated by commas, if not for all; empty lines and lines that begin with # are
    left out.

    Raises BadSettings, naming the line and never the key, for one that could be guessed, and where there is none.
    """
    grants: dict[bytes, Grant] = {}
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split(None, 2)
        if not fields or fields[0].startswith("#"):
            continue
        wrong = _wrong_with(fields)
        digest = sha256(fields[0].encode()).digest()
        if digest in grants:
            wrong = "the key stands in the file twice"
        if wrong:
            raise BadSettings(f"{source}, line {number}: {wrong}.", _MAKE)
        names = frozenset(name.strip() for name in fields[2].split(",")) if len(fields) > 2 else None
        grants[digest] = Grant("read" if fields[1:2] == ["read"] else "write", names)
    if not grants:
        raise BadSettings(f"{source} holds no key.", _MAKE)
    return grants


def _wrong_with(fields: list[str]) -> str | None:
    key, allows = fields[0], fields[1] if len(fields) > 1 else "write"
    if len(key) < _SHORTEST or len(set(key)) < _FEWEST_DIFFERENT:
        return f"the key has fewer than {_SHORTEST} characters or too few different ones"
    if weak := next((word for word in _WEAK if word in key.lower()), None):
        return f"the key contains {weak!r}, so it could be guessed"
    if not key.isascii() or not key.isprintable():
        return "the key holds characters that a header cannot carry"
    if allows not in ("read", "write"):
        return f"expected 'read' or 'write' after the key, found {allows[:20]!r}"
    return None


def _state(file: Path) -> tuple[int, int, int] | None:
    """What changes when the file does; None where it is not there."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _given(scope: Scope) -> bytes:
    """The key in X-API-Key or, without that, of `Authorization: Bearer`; empty where there is none."""
    headers = dict(scope["headers"])
    if key := headers.get(b"x-api-key", b"").strip():
        return bytes(key)
    scheme, _, bearer = headers.get(b"authorization", b"").partition(b" ")
    return bytes(bearer.strip()) if scheme.lower() == b"bearer" else b""
