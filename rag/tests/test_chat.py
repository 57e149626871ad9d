"""OpenAI's protocol, spoken by its official client."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from test_command import served
from test_generator import FACTS

from rag_service.settings import Settings

QUESTION = "What is the capital of Narvia?"
ANSWER = "The capital of Narvia is Beldorn."


def user(content: str) -> ChatCompletionMessageParam:
    return {"role": "user", "content": content}


@pytest.fixture(scope="module")
def url(settings: Settings) -> Iterator[str]:
    with served(settings.model_copy(update={"data_dir": settings.data_dir / "chat"})) as port:
        address = f"http://127.0.0.1:{port}"
        for collection in ("default", "maps"):
            files = {"files": ("facts.txt", FACTS.encode())}
            httpx.post(f"{address}/documents", files=files, data={"collection": collection}).raise_for_status()
        yield address


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none is asked for", max_retries=0) as opened:
        yield opened


def test_each_collection_is_a_model(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["default", "maps"]
    assert client.models.retrieve("maps").id == "maps"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt")


def test_a_completion_is_the_answer_with_its_sources(client: openai.OpenAI, url: str) -> None:
    completion = client.chat.completions.create(model="maps", messages=[user(QUESTION)], temperature=0.7)

    [choice] = completion.choices
    assert (choice.message.content or "").startswith(f"{ANSWER}\n\nSources:\n[1] facts.txt")
    assert (choice.finish_reason, completion.model, completion.object) == ("stop", "maps", "chat.completion")
    asked = httpx.post(f"{url}/ask", json={"question": QUESTION, "collection": "maps"}).json()
    added = completion.model_extra or {}
    assert added["citations"] == asked["citations"]
    assert (added["abstained"], added["answered_by"], added["confidence"]) == (False, "extractive", asked["confidence"])
    assert completion.usage is not None
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens > 9


def test_a_stream_joins_to_the_same_text(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="default", messages=[user(QUESTION)])

    chunks = list(
        client.chat.completions.create(
            model="default", messages=[user(QUESTION)], stream=True, stream_options={"include_usage": True}
        )
    )

    joined = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert joined == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage == whole.usage
    assert chunks[-2].model_extra is not None
    assert chunks[-2].model_extra["citations"][0]["quote"] == ANSWER
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_last_user_message_is_the_question(client: openai.OpenAI) -> None:
    messages: list[ChatCompletionMessageParam] = [
        {"role": "system", "content": "Answer in French."},
        user("What is the height of Narvia?"),
        {"role": "assistant", "content": "42 metres"},
        {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
    ]

    completion = client.chat.completions.create(model="default", messages=messages)

    assert (completion.choices[0].message.content or "").startswith(ANSWER)


def test_what_is_not_answered_has_no_source(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(model="default", messages=[user("Who won the football cup?")])

    content = completion.choices[0].message.content or ""
    assert "do not answer" in content
    assert "Sources" not in content
    assert completion.model_extra is not None
    assert (completion.model_extra["abstained"], completion.model_extra["citations"]) == (True, [])


@pytest.mark.parametrize("stream", [False, True])
def test_refusals_have_the_protocols_shape(client: openai.OpenAI, stream: bool) -> None:
    with pytest.raises(openai.NotFoundError, match="Collections with documents: default, maps") as lost:
        client.chat.completions.create(model="gpt-5", messages=[user("Who?")], stream=stream)
    assert lost.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError, match="last user message is the question") as silent:
        client.chat.completions.create(
            model="default", messages=[{"role": "system", "content": "Hello"}], stream=stream
        )
    assert silent.value.param == "messages"
    with pytest.raises(openai.BadRequestError, match="3,000"):
        client.chat.completions.create(model="default", messages=[user("x" * 3000)], stream=stream)
    with pytest.raises(openai.BadRequestError) as many:
        client.chat.completions.create(model="default", messages=[user(QUESTION)], n=3, stream=stream)
    assert many.value.param == "n"
    with pytest.raises(openai.APIStatusError) as large:
        client.chat.completions.create(model="default", messages=[user("x" * 1_100_000)], stream=stream)
    assert large.value.status_code == 413


def test_too_many_at_once_are_told_to_come_again(
    client: openai.OpenAI, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rag_service.errors import TooBusy
    from rag_service.service import Service

    def full(*_: object) -> None:
        raise TooBusy(4)

    monkeypatch.setattr(Service, "work", full)
    with pytest.raises(openai.RateLimitError) as refused:
        client.chat.completions.create(model="default", messages=[user(QUESTION)], stream=True)
    assert refused.value.response.headers["retry-after"] == "2"
