"""The tools of the Model Context Protocol, called by the SDK's own client."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from fastapi.testclient import TestClient
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from test_access import ALL, KEYS, ONE, READER, WINE, Front
from test_access import front as front
from test_command import served
from test_service import problem

from rag_service.settings import Settings

QUESTION = {"question": "What keeps wine from browning?", "collection": "wine"}
ANSWER = "Sulphur dioxide keeps wine from browning."
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
Talk = Callable[[Client], Awaitable[None]]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "keys.txt"
    file.write_text(KEYS)
    return file


@pytest.fixture(scope="module")
def url(settings: Settings, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running service that asks for keys, with a document in the collections wine and beer."""
    different = {"data_dir": tmp_path_factory.mktemp("mcp"), "api_key_file": keys}
    with served(settings.model_copy(update=different)) as port:
        url = f"http://127.0.0.1:{port}"
        for collection in ("wine", "beer"):
            httpx2.post(
                f"{url}/documents", files={"files": ("wine.txt", WINE)}, data={"collection": collection},
                headers={"X-API-Key": ALL}, timeout=60,
            ).raise_for_status()  # fmt: skip
        yield url


def over_http(url: str, key: str, mode: str, talk: Talk) -> None:
    async def run() -> None:
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=60) as http,
            Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
        ):
            await talk(client)

    anyio.run(run)


def over_stdio(url: str, keys: Path, talk: Talk) -> None:
    command = ["-m", "rag_service", "mcp", "--url", url]
    variables = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "RAG_API_KEY_FILE": str(keys)}

    async def run() -> None:
        async with Client(StdioServerParameters(command=sys.executable, args=command, env=variables)) as client:
            await talk(client)

    anyio.run(run)


async def asks_and_reads(client: Client) -> None:
    tools = (await client.list_tools()).tools
    assert [tool.name for tool in tools] == ["ask", "search", "read_document"]
    assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools)
    assert tools[0].input_schema["required"] == ["question"]

    answer = (await client.call_tool("ask", QUESTION)).structured_content
    assert answer is not None
    assert (answer["answer"], answer["citations"][0]["quote"]) == (ANSWER, ANSWER)
    found = (await client.call_tool("search", {"query": "browning", "collection": "wine"})).structured_content
    assert found is not None
    place = {name: found["hits"][0][name] for name in ("document_id", "start", "end")}
    read = (await client.call_tool("read_document", {**place, "collection": "wine"})).structured_content
    assert read is not None
    assert read["text"] == WINE.decode()


def test_tools_over_stdio(url: str, keys: Path) -> None:
    over_stdio(url, keys, asks_and_reads)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_tools_over_http(mode: str, url: str) -> None:
    over_http(url, READER, mode, asks_and_reads)


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("ask", {**QUESTION, "collection": "cider"}, "Collections with documents: beer, wine"),
        ("ask", {**QUESTION, "top_k": 99}, "top_k: Input should be less than or equal to 20"),
        ("ask", {}, "question: Field required"),
        ("read_document", {"document_id": "../ask"}, "Not Found"),
        ("read_document", {}, "expected the id of a document"),
        ("delete", {}, "The tools are ask, search, read_document"),
    ],
)
def test_a_refusal_is_read_by_the_assistant_in_the_words_of_the_call(
    tool: str, arguments: dict[str, Any], says: str, url: str
) -> None:
    async def refused(client: Client) -> None:
        result = await client.call_tool(tool, arguments)
        assert result.is_error
        assert says in result.content[0].text  # type: ignore[union-attr]

    over_http(url, ALL, "auto", refused)


def test_a_key_for_one_collection_asks_that_one(url: str) -> None:
    async def asks(client: Client) -> None:
        assert not (await client.call_tool("ask", QUESTION)).is_error
        for tool, asked in (("ask", "question"), ("search", "query")):
            refused = await client.call_tool(tool, {asked: "What?", "collection": "beer"})
            assert refused.is_error
            assert "not for the collection 'beer'" in refused.content[0].text  # type: ignore[union-attr]

    over_http(url, ONE, "auto", asks)


def test_keys_hosts_and_origins_are_checked_as_for_other_calls(front: Front, keys: Path) -> None:
    locked = front(api_key_file=keys)

    problem(locked.post("/mcp", json=PING), 401)
    problem(locked.post("/mcp", json=PING, headers={"X-API-Key": ALL, "Host": "evil.example"}), 421)
    problem(locked.post("/mcp", json=PING, headers={"X-API-Key": ALL, "Origin": "http://evil.example"}), 403)
    assert pinged(locked).status_code == 200
    problem(locked.get("/mcp", headers={"X-API-Key": ALL}), 405)  # no stream that stays open


def pinged(client: TestClient) -> httpx2.Response:
    headers = {"X-API-Key": ALL, "Accept": "application/json"}
    response: httpx2.Response = client.post("/mcp", json=PING, headers=headers)
    return response
