"""A generator on a server that speaks OpenAI's chat completions: Ollama, vLLM, llama.cpp, OpenAI."""

from __future__ import annotations

import asyncio
import json
import math
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx2

from rag_service.errors import GeneratorFailed
from rag_service.models.addresses import addresses
from rag_service.models.engines import Message

_MOST_LINE_BYTES = 1_000_000
_MOST_BYTES = 16_000_000  # of a whole answer; each token comes with some hundred bytes around it
_LONGEST_WAIT = 5.0  # seconds that Retry-After may ask for
_BUSY = (429, 503)
_MEANINGS = {
    400: ("did not accept the request", "Is RAG_LLM_CONTEXT larger than the model's context?"),
    401: ("asks for another key", "Check RAG_LLM_API_KEY_FILE."),
    403: ("asks for another key", "Check RAG_LLM_API_KEY_FILE."),
    404: (
        "does not know the model, or the path",
        "Check RAG_LLM_MODEL, and RAG_LLM_BASE_URL, which often ends in /v1.",
    ),
}


@dataclass(frozen=True)
class Patience:
    """Seconds: until a connection stands, until the first token (a server may load the model first), from one token to
    the next, and for the whole answer."""

    connect: float = 5.0
    first: float = 90.0
    between: float = 20.0
    whole: float = 180.0


class ChatServer:
    """`sent_to` is the host that questions and passages are sent to."""

    def __init__(
        self,
        base_url: str,
        model: str,
        window: int,
        answer_tokens: int,
        key_file: Path | None = None,
        allow_remote: bool = False,
        patience: Patience = Patience(),
    ) -> None:
        self._url = httpx2.URL(base_url.rstrip("/") + "/chat/completions")
        self._key_file = key_file
        self._allow_remote = allow_remote
        self._patience = patience
        self._answer_tokens = answer_tokens
        self._unknown: set[str] = set()  # parameters that this server does not take
        self._tls = ssl.create_default_context() if self._url.scheme == "https" else False
        self.name = model
        self.window = window - answer_tokens
        self.sent_to: str | None = self._url.host

    def count(self, messages: Sequence[Message]) -> int:
        """An upper estimate of the tokens: the server's tokenizer is not known. In English, most cut a text into
        pieces of four bytes, numbers into pieces of one to three."""
        return sum(math.ceil(len(one.content.encode()) / 3) + 8 for one in messages)

    def check(self) -> None:
        """Raises RemoteAddress, and GeneratorFailed where the host's name cannot be resolved."""
        asyncio.run(self._addresses())

    def write(self, messages: Sequence[Message], tell: Callable[[str], None]) -> bool:
        """Passes the answer on piece by piece. Returns whether the model itself ended it, and not a limit. Raises
        GeneratorFailed, also after some pieces, and RemoteAddress."""
        return asyncio.run(self._write(messages, tell))

    async def _write(self, messages: Sequence[Message], tell: Callable[[str], None]) -> bool:
        whole, retried = self._patience.whole, False
        try:
            async with asyncio.timeout(whole), self._client() as client:
                while True:
                    async with self._token_in_time() as in_time, self._response(client, messages) as response:
                        wait = await self._wait(response, retried)
                        if wait is None:
                            return await self._read(response, tell, in_time)
                    retried = retried or wait > 0
                    await asyncio.sleep(wait)
        except TimeoutError:
            raise self._failed(f"did not complete its answer within {whole:g} s") from None
        except httpx2.HTTPError as error:
            raise self._failed(f"broke the connection ({type(error).__name__})") from error

    def _client(self) -> httpx2.AsyncClient:
        """Takes nothing from the environment: no proxy, no .netrc; follows no redirect. Reading is timed by token."""
        timeout = httpx2.Timeout(None, connect=self._patience.connect)
        return httpx2.AsyncClient(verify=self._tls, trust_env=False, follow_redirects=False, timeout=timeout)

    @asynccontextmanager
    async def _token_in_time(self) -> AsyncIterator[asyncio.Timeout]:
        try:
            async with asyncio.timeout(self._patience.first) as in_time:
                yield in_time
        except TimeoutError:
            if in_time.expired():
                raise self._failed("wrote nothing for too long") from None
            raise

    @asynccontextmanager
    async def _response(
        self, client: httpx2.AsyncClient, messages: Sequence[Message]
    ) -> AsyncIterator[httpx2.Response]:
        """The head of the answer, from the first of the host's addresses that takes a connection."""
        failure: httpx2.HTTPError | None = None
        for address in await self._addresses():
            try:
                response = await client.send(self._request(client, address, messages), stream=True)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failure = error
                continue
            try:
                yield response
            finally:
                await response.aclose()
            return
        raise self._failed("does not answer", "Is it running? Check RAG_LLM_BASE_URL.") from failure

    async def _addresses(self) -> list[str]:
        return await addresses(self._url.host, self._url.port or 443, self._allow_remote)

    def _request(self, client: httpx2.AsyncClient, address: str, messages: Sequence[Message]) -> httpx2.Request:
        """To this very address, under the host's name: nothing resolves the name again."""
        limit = "max_completion_tokens" if "max_tokens" in self._unknown else "max_tokens"
        body: dict[str, Any] = {"model": self.name, "messages": [asdict(one) for one in messages], "stream": True}
        body |= {limit: self._answer_tokens} | ({} if "temperature" in self._unknown else {"temperature": 0})
        headers = {"Host": self._url.netloc.decode(), "Accept": "text/event-stream", "Accept-Encoding": "identity"}
        if key := self._key():
            headers["Authorization"] = f"Bearer {key}"
        url = self._url.copy_with(host=address)
        extensions = {"sni_hostname": self._url.host}
        return client.build_request("POST", url, json=body, headers=headers, extensions=extensions)

    def _key(self) -> str | None:
        """Read for every answer, so that it can be exchanged."""
        if self._key_file is None:
            return None
        try:
            key = self._key_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise GeneratorFailed(f"RAG_LLM_API_KEY_FILE cannot be read ({type(error).__name__}).") from None
        if not key.isprintable() or not key:
            raise GeneratorFailed("RAG_LLM_API_KEY_FILE must contain one line, the key.")
        return key

    async def _wait(self, response: httpx2.Response, retried: bool) -> float | None:
        """None where this is an answer; else after how many seconds to ask again, at most once where the server is
        busy. Raises GeneratorFailed."""
        if response.status_code == 200:
            return None
        asked_for = response.headers.get("retry-after", "1")
        if (
            response.status_code in _BUSY
            and not retried
            and asked_for.isdecimal()
            and float(asked_for) <= _LONGEST_WAIT
        ):
            return max(0.1, float(asked_for))
        if response.status_code == 400:  # newer models of OpenAI's want other parameters
            said = b"".join([part async for part in _bounded(response)])
            new = {name for name in ("max_tokens", "temperature") if name.encode() in said} - self._unknown
            if new:
                self._unknown |= new
                return 0.0
        what, hint = _MEANINGS.get(response.status_code, ("failed", "Its own log says why."))
        if response.is_redirect:
            what, hint = "redirects elsewhere, which is not followed", "Set RAG_LLM_BASE_URL to where it redirects."
        raise self._failed(f"{what} (status {response.status_code})", hint)

    async def _read(self, response: httpx2.Response, tell: Callable[[str], None], in_time: asyncio.Timeout) -> bool:
        async for line in self._lines(response):
            if not line.startswith(b"data:"):
                continue  # a comment, or a field that has no meaning here
            data = line[5:].strip()
            if data == b"[DONE]":
                return False  # without a reason why it ended, it may have been cut
            text, reason = self._delta(data)
            in_time.reschedule(asyncio.get_running_loop().time() + self._patience.between)
            if text:
                tell(text)
            if reason:
                return reason == "stop"
        raise self._failed("cut its answer off")

    async def _lines(self, response: httpx2.Response) -> AsyncIterator[bytes]:
        rest = b""
        async for part in _bounded(response):
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                yield line
            if len(rest) > _MOST_LINE_BYTES:
                raise self._failed("sent a line without end")
        yield rest

    def _delta(self, data: bytes) -> tuple[str, str | None]:
        """The text of a chunk, and why the answer has ended if it has."""
        try:
            chunk = json.loads(data)
            if "error" in chunk:
                raise self._failed("reported an error while it answered", "Its own log says why.")
            choices = chunk["choices"]
            if not choices:  # it counts tokens
                return "", None
            text = (choices[0].get("delta") or {}).get("content") or ""
            # Half a character is what no other program could be sent.
            return text.encode("utf-8", "replace").decode(), choices[0].get("finish_reason")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise self._failed("sent no valid chunk of a chat completion", "Check RAG_LLM_BASE_URL.") from error

    def _failed(self, what: str, hint: str = "") -> GeneratorFailed:
        return GeneratorFailed(f"The model's server at {self.sent_to} {what}.", hint)


async def _bounded(response: httpx2.Response) -> AsyncIterator[bytes]:
    """The body as it comes, which no compression makes larger."""
    size = 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > _MOST_BYTES:
            return
        yield part
