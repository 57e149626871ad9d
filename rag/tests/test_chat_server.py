"""A generator on a server: what is sent to it and where, and what it may do wrong."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chat_stand_in import Reply, Script, StandIn, says, stand_in

from rag_service.errors import BadSettings, GeneratorFailed, RemoteAddress
from rag_service.models.addresses import is_private
from rag_service.models.chat_server import ChatServer, Patience
from rag_service.models.engines import Message
from rag_service.models.load import load_generator
from rag_service.settings import read_settings

ASKED = [Message("system", "Be short."), Message("user", "What is secret-passage?")]
PATIENCE = Patience(2, 2, 2, 10)
KEY = "sk-3f9c5a7e1b2d4860"


def server(url: str, patience: Patience = PATIENCE, **different: Any) -> ChatServer:
    return ChatServer(url, "tiny", 4096, 256, patience=patience, **different)


def written(chat: ChatServer) -> tuple[str, bool]:
    pieces: list[str] = []
    ended = chat.write(ASKED, pieces.append)
    return "".join(pieces), ended


def failure(script: Script, patience: Patience = PATIENCE) -> tuple[str, str]:
    """The error, and the text that came before it."""
    pieces: list[str] = []
    with stand_in(script) as there, pytest.raises(GeneratorFailed) as raised:
        server(there.url, patience).write(ASKED, pieces.append)
    return raised.value.detail, "".join(pieces)


def test_an_answer_comes_in_pieces_and_nothing_is_sent_that_was_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with stand_in(says(["The lid ", "is réd."])) as there:
        assert written(server(there.url)) == ("The lid is réd.", True)
        [(head, body)] = there.requests
    assert body == {
        "model": "tiny",
        "messages": [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "What is secret-passage?"},
        ],
        "stream": True,
        "max_tokens": 256,
        "temperature": 0,
    }
    assert KEY not in str(head)
    assert head["Host"] == f"127.0.0.1:{there.port}"


def test_the_key_is_read_from_its_file_for_each_answer(tmp_path: Path) -> None:
    file = tmp_path / "key"
    with stand_in(says(["Yes."])) as there:
        chat = server(there.url, key_file=file)
        for key in (KEY, KEY[::-1]):
            file.write_text(f"{key}\n")
            written(chat)
        assert [head["Authorization"] for head, _ in there.requests] == [f"Bearer {KEY}", f"Bearer {KEY[::-1]}"]
        file.write_text(f"{KEY}\nX-Injected: 1\n")
        with pytest.raises(GeneratorFailed, match="one line"):
            written(chat)
        file.unlink()
        with pytest.raises(GeneratorFailed, match="RAG_LLM_API_KEY_FILE"):
            written(chat)


def stalls(reply: Reply) -> None:
    reply.head()
    reply.wait()


def stalls_later(reply: Reply) -> None:
    reply.head()
    reply.text("The lid")
    reply.wait()


def trickles(reply: Reply) -> None:
    reply.head()
    while not reply.server.over.is_set():  # type: ignore[attr-defined]
        reply.text("x")
        reply.server.over.wait(0.02)  # type: ignore[attr-defined]


def only_pings(reply: Reply) -> None:
    reply.head()
    while not reply.server.over.is_set():  # type: ignore[attr-defined]
        reply.send(": still there\n\n")
        reply.server.over.wait(0.02)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("script", "patience", "says", "told"),
    [
        (stalls, Patience(2, 0.2, 9, 9), "nothing for too long", ""),
        (only_pings, Patience(2, 0.2, 9, 9), "nothing for too long", ""),
        (stalls_later, Patience(2, 9, 0.2, 9), "nothing for too long", "The lid"),
        (trickles, Patience(2, 9, 9, 0.4), "within 0.4 s", None),
    ],
)
def test_no_server_keeps_a_question_waiting(script: Script, patience: Patience, says: str, told: str | None) -> None:
    detail, pieces = failure(script, patience)

    assert says in detail
    assert told is None or pieces == told


def raw(content: str | bytes) -> Script:
    def script(reply: Reply) -> None:
        reply.head()
        reply.send(content)

    return script


def dies(reply: Reply) -> None:
    reply.head(Transfer_Encoding="chunked")
    chunk = b'data: {"choices": [{"delta": {"content": "The valve must not be opened"}}]}\n\n'
    reply.send(b"%x\r\n%s\r\n" % (len(chunk), chunk))
    reply.connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "script",
    [
        dies,
        raw(""),
        raw("<html>Welcome to nginx</html>"),
        raw("data: {not json\n\n"),
        raw('data: ["choices"]\n\n'),
        raw('data: {"choices": "none"}\n\n'),
        raw('data: {"choices": [{"delta": {"content": {"a": 1}}}]}\n\n'),
        raw('data: {"choices": [{"delta": "x"}]}\n\n'),
        raw("data: " + "[" * 100_000 + "\n\n"),
        raw(b"data: \xff\xfe\n\n"),
        raw('data: {"error": {"message": "secret-passage"}}\n\n'),
    ],
)
def test_what_is_no_answer_is_a_failure_that_repeats_nothing_of_it(script: Script) -> None:
    detail, _ = failure(script)

    assert "127.0.0.1" in detail
    assert "secret-passage" not in detail
    assert len(detail) < 200


def test_a_line_without_end_is_not_waited_for() -> None:
    def script(reply: Reply) -> None:
        raw("data: " + "x" * 2_000_000)(reply)
        reply.wait()

    assert "a line without end" in failure(script)[0]


def test_done_without_a_reason_may_be_a_cut_and_what_follows_is_not_read() -> None:
    half = '{"choices": [{"delta": {"content": "The valve must not be opened"}}]}'
    with stand_in(raw(f"data: {half}\n\ndata: [DONE]\n\ndata: {half}\n\n")) as there:
        assert written(server(there.url)) == ("The valve must not be opened", False)
    with stand_in(says(["The valve must"], "length")) as there:
        assert written(server(there.url)) == ("The valve must", False)


def test_half_a_character_is_replaced() -> None:
    with stand_in(says(["a\ud83d"])) as there:
        assert written(server(there.url)) == ("a?", True)


def refuses(status: int, body: str = "", **headers: str) -> Script:
    def script(reply: Reply) -> None:
        reply.head(status, **headers)
        reply.send(body)

    return script


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_once_more(status: int) -> None:
    with stand_in(refuses(status, Retry_After="0"), says(["Yes."])) as there:
        assert written(server(there.url)) == ("Yes.", True)
        assert len(there.requests) == 2
    with stand_in(refuses(status, Retry_After="0")) as there, pytest.raises(GeneratorFailed, match=str(status)):
        written(server(there.url))
    assert len(there.requests) == 2


@pytest.mark.parametrize("wait", ["3600", "tomorrow", "-1", "9" * 400])
def test_a_server_that_wants_a_long_wait_is_not_waited_for(wait: str) -> None:
    with stand_in(refuses(429, Retry_After=wait), says(["Yes."])) as there, pytest.raises(GeneratorFailed, match="429"):
        written(server(there.url, Patience(2, 2, 2, 2)))
    assert len(there.requests) == 1


@pytest.mark.parametrize(("status", "hint"), [(401, "RAG_LLM_API_KEY_FILE"), (404, "RAG_LLM_MODEL"), (500, "log")])
def test_a_refusal_says_what_to_do(status: int, hint: str) -> None:
    with stand_in(refuses(status, "secret-passage")) as there, pytest.raises(GeneratorFailed) as raised:
        written(server(there.url))
    assert str(status) in raised.value.detail
    assert hint in raised.value.hint


def test_a_model_that_wants_other_parameters_gets_them() -> None:
    """As OpenAI's newer models: each complaint names one."""
    one = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    two = "Unsupported value: 'temperature' does not support 0."
    with stand_in(refuses(400, one), refuses(400, two), says(["Yes."])) as there:
        chat = server(there.url)
        written(chat)
        written(chat)
        bodies = [body for _, body in there.requests]
    assert bodies[2]["max_completion_tokens"] == 256
    assert not {"max_tokens", "temperature"} & set(bodies[2])
    assert bodies[3] == bodies[2]
    with stand_in(refuses(400, one + two)) as there, pytest.raises(GeneratorFailed, match="400"):
        written(server(there.url))
    assert len(there.requests) == 2


def test_a_redirect_is_not_followed() -> None:
    with stand_in(says(["Caught."])) as elsewhere:
        with stand_in(refuses(307, Location=elsewhere.url)) as there, pytest.raises(GeneratorFailed, match="redirects"):
            written(server(there.url))
        assert elsewhere.requests == []


def test_variables_for_proxies_and_passwords_have_no_effect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login me password {KEY}\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with stand_in(says(["Through a proxy."])) as proxy, stand_in(says(["Straight."])) as there:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert written(server(there.url)) == ("Straight.", True)
        assert "Authorization" not in there.requests[0][0]


# ---- addresses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.9.9.9", "10.1.2.3", "172.31.0.1", "192.168.65.254", "::1", "fdc4:f303::1", "::ffff:10.0.0.1"]
)  # fmt: skip
def test_private_addresses(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8", "172.32.0.1", "169.254.169.254", "169.254.1.1", "fe80::1%eth0", "fd00:ec2::254", "fd20:ce::254",
        "100.100.100.200", "100.64.0.1", "0.0.0.0", "::", "2001:4860::1", "::ffff:169.254.169.254", "::ffff:8.8.8.8",
        "64:ff9b::a00:1", "2002:a00:1::", "224.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.0.8",
    ],
)  # fmt: skip
def test_other_addresses_clouds_metadata_among_them(address: str) -> None:
    assert not is_private(address)


Resolved = Callable[..., list[str]]


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> Resolved:
    """Lets the name llm.test mean these addresses; gives the list of the names that were looked up."""

    def let(*found: str) -> list[str]:
        looked_up: list[str] = []

        def getaddrinfo(host: object, port: int, *_: object, **__: object) -> list[object]:
            looked_up.append(str(host))
            known = found if host == "llm.test" else [str(host)]
            kinds = [socket.AF_INET6 if ":" in one else socket.AF_INET for one in known]
            return [(kind, socket.SOCK_STREAM, 6, "", (one, port)) for kind, one in zip(kinds, known, strict=True)]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return looked_up

    return let


def named(there: StandIn, **different: Any) -> ChatServer:
    return server(f"http://llm.test:{there.port}/v1", **different)


def test_one_address_that_is_not_private_refuses_them_all(resolved: Resolved) -> None:
    resolved("127.0.0.1", "93.184.216.34")
    with stand_in(says(["Caught."])) as there, pytest.raises(RemoteAddress) as raised:
        written(named(there))
    assert there.requests == []
    assert "93.184.216.34" in raised.value.detail
    assert "RAG_LLM_ALLOW_REMOTE" in raised.value.hint


def test_the_address_that_was_checked_is_the_one_that_is_called(resolved: Resolved) -> None:
    """The name is looked up once for an answer: it cannot mean another machine between the check and the call."""
    looked_up = resolved("127.0.0.1")
    with stand_in(says(["Yes."])) as there:
        written(named(there))
        assert there.requests[0][0]["Host"] == f"llm.test:{there.port}"
    assert looked_up.count("llm.test") == 1


def test_the_next_address_is_tried_where_one_takes_no_connection(resolved: Resolved) -> None:
    resolved("::1", "127.0.0.1")  # as localhost often means, while the server listens on the second only
    with stand_in(says(["Yes."])) as there:
        assert written(named(there)) == ("Yes.", True)


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "fd00:ec2::254", "224.0.0.1", "0.0.0.0"])
def test_what_is_never_a_models_server_stays_refused_where_remote_ones_are_allowed(
    address: str, resolved: Resolved
) -> None:
    resolved(address)
    with stand_in(says(["Caught."])) as there, pytest.raises(RemoteAddress):
        written(named(there, allow_remote=True))


def test_a_remote_address_can_be_allowed(resolved: Resolved) -> None:
    resolved("93.184.216.34")
    ChatServer("https://llm.test/v1", "tiny", 4096, 256, allow_remote=True).check()
    with pytest.raises(RemoteAddress):
        ChatServer("https://llm.test/v1", "tiny", 4096, 256).check()


def test_a_server_that_is_not_there_is_said_to_be_so() -> None:
    with stand_in(says([])) as gone:
        pass
    with pytest.raises(GeneratorFailed, match="does not answer"):
        written(server(gone.url))


# ---- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "RAG_LLM_BASE_URL"),
        ({"llm_base_url": "http://127.0.0.1:1/v1"}, "RAG_LLM_MODEL"),
        ({"llm_base_url": "ftp://127.0.0.1", "llm_model": "m"}, "RAG_LLM_BASE_URL"),
        ({"llm_base_url": f"http://me:{KEY}@127.0.0.1", "llm_model": "m"}, "RAG_LLM_BASE_URL"),
        ({"llm_base_url": "http://127.0.0.1", "llm_model": "m", "llm_context": 1024, "llm_answer_tokens": 800},
         "RAG_LLM_CONTEXT"),
    ],
)  # fmt: skip
def test_settings_that_do_not_do_are_named(given: dict[str, Any], named: str) -> None:
    with pytest.raises(BadSettings, match=named) as raised:
        read_settings(generator="openai", **given)
    assert KEY not in raised.value.detail


def test_a_remote_server_is_refused_at_the_start_and_an_absent_one_waited_for(
    resolved: Resolved, caplog: pytest.LogCaptureFixture
) -> None:
    resolved("93.184.216.34")
    given: dict[str, Any] = {"generator": "openai", "llm_base_url": "http://llm.test:9/v1", "llm_model": "tiny"}

    generator, reason = load_generator(read_settings(**given))
    assert generator is None
    assert "RAG_LLM_ALLOW_REMOTE" in (reason or "")
    with caplog.at_level(logging.INFO):
        allowed, _ = load_generator(read_settings(**given, llm_allow_remote=True))
    assert allowed is not None
    assert "llm.test, which gets the questions and passages" in caplog.text


def test_the_count_of_tokens_is_never_far_below_a_tokenizers() -> None:
    """Bytes by three: more than English, German or Russian take; about what Chinese takes."""
    chat = server("http://127.0.0.1:1/v1")
    english = "The valve must not be opened while the boiler is hot. " * 20

    assert 270 <= chat.count([Message("user", english)]) <= 400
    assert chat.count([Message("user", "阀门" * 300)]) >= 600
