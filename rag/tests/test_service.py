"""The service as its users meet it, over HTTP."""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pdf_files import pdf

from rag_service.app import create_app
from rag_service.settings import Settings
from rag_service.telemetry.metrics import Metrics

WINE = b"# Sulphur\n\nSulphur dioxide keeps wine from browning. Dry red wine may hold 150 milligrams per litre."


def upload(client: TestClient, *files: tuple[str, bytes], collection: str = "default") -> list[dict[str, Any]]:
    sent = [("files", file) for file in files]
    response = client.post("/documents", files=sent, data={"collection": collection})
    assert response.status_code == 200, response.text
    documents: list[dict[str, Any]] = response.json()["documents"]
    return documents


@pytest.fixture
def filled(client: TestClient) -> Iterator[TestClient]:
    upload(client, ("wine.md", WINE))
    yield client
    for document in client.get("/documents").json()["documents"]:
        where = {"collection": document["collection"]}
        assert client.delete(f"/documents/{document['id']}", params=where).status_code == 204


def problem(response: Any, status: int) -> dict[str, Any]:
    """The body of a refusal, after checking what every refusal must have."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["hint"]
    assert body["request_id"] == response.headers["x-request-id"]
    return body


def test_ask_answers_with_a_verbatim_quote(filled: TestClient) -> None:
    answer = filled.post("/ask", json={"question": "How much sulphur dioxide may dry red wine hold?"}).json()

    assert answer["answer"] == "Dry red wine may hold 150 milligrams per litre."
    assert (answer["abstained"], answer["answered_by"], answer["model"]["generator"]) == (False, "extractive", None)
    assert 0.3 < answer["confidence"] <= 1
    assert set(answer["timings_ms"]) == {"retrieval", "answer", "total"}
    citation = answer["citations"][0]
    text = filled.get(f"/documents/{citation['document_id']}").json()["text"]
    assert text[citation["start"] : citation["end"]] == citation["quote"] == answer["answer"]
    assert (citation["document"], citation["page"]) == ("wine.md", None)


def test_ask_says_when_the_documents_do_not_answer(filled: TestClient) -> None:
    answer = filled.post("/ask", json={"question": "Who won the cup?"}).json()

    assert (answer["abstained"], answer["answered_by"], answer["citations"]) == (True, "none", [])


def test_search_explains_its_hits(filled: TestClient) -> None:
    [hit] = filled.post("/search", json={"query": "browning"}).json()["hits"]

    assert hit["document"] == "wine.md"
    assert (hit["dense_rank"], hit["lexical_rank"], hit["also_in"]) == (1, 1, [])
    assert 0 < hit["late_interaction"] < 1
    assert 0 < hit["similarity"] < 1
    [term] = hit["terms"]
    text = filled.get(f"/documents/{hit['document_id']}").json()["text"]
    assert text[term["start"] : term["end"]] == term["term"] == "browning"
    assert text[hit["start"] : hit["end"]] == hit["text"]
    assert {"chunk_id", "page", "score"} <= hit.keys()


def test_search_and_ask_look_into_the_named_documents_alone(filled: TestClient) -> None:
    upload(filled, ("beer.md", b"Sulphur dioxide is not wanted in beer, and browning is welcome there."))
    question = "Which gas stops wine from browning?"
    beer = next(one["id"] for one in filled.get("/documents").json()["documents"] if one["name"] == "beer.md")

    for names in (["beer.md"], [beer]):
        hits = filled.post("/search", json={"query": question, "documents": names}).json()["hits"]
        assert [hit["document"] for hit in hits] == ["beer.md"]
        answer = filled.post("/ask", json={"question": question, "documents": names}).json()
        assert {citation["document"] for citation in answer["citations"]} <= {"beer.md"}
    for call in ({"query": question}, {"question": question}):
        path = "/search" if "query" in call else "/ask"
        body = problem(filled.post(path, json={**call, "documents": ["nowhere.md"]}), 404)
        assert "nowhere.md" in body["detail"]


def test_search_takes_settings_to_try_out(filled: TestClient) -> None:
    upload(filled, ("bell.md", b"Gas, gas and again gas: wine."), ("tower.md", b"What protects it is called SO2."))
    asked = {"query": "Which gas keeps wine from browning?", "depth": 5}

    by_words = filled.post("/search", json={**asked, "weights": {"late": 0, "dense": 0, "lexical": 1}}).json()["hits"]
    by_meaning = filled.post("/search", json={**asked, "weights": {"late": 0, "dense": 1, "lexical": 0}}).json()["hits"]

    assert [hit["lexical_rank"] for hit in by_words[:2]] == [1, 2]
    assert [hit["dense_rank"] for hit in by_meaning] == [1, 2, 3]


@pytest.mark.parametrize(
    "wrong",
    [{"depth": 0}, {"depth": 1000}, {"weights": {"late": -1}}, {"weights": {"cosine": 1}}, {"documents": [""]}],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], filled: TestClient) -> None:
    [first, *_] = problem(filled.post("/search", json={"query": "wine", **wrong}), 422)["errors"]

    assert first["loc"][0] in wrong


@pytest.mark.parametrize(
    "query", ['"', "AND OR NOT", "wine*", "text: (", "NEAR(a b)", "'; DROP TABLE chunks;--", "\x00", "🍷"]
)
def test_no_query_breaks_the_search(query: str, filled: TestClient) -> None:
    assert filled.post("/search", json={"query": query}).status_code == 200
    assert filled.post("/ask", json={"question": query}).status_code == 200


def test_every_file_gets_a_verdict(filled: TestClient) -> None:
    verdicts = upload(
        filled,
        ("wine.md", WINE),
        ("secret.pdf", pdf("x", password="y")),
        ("cut.pdf", pdf("cut off")[:-200]),
        ("scan.pdf", pdf("")),
        ("good.pdf", pdf("Beer is brewed.")),
        ("big.txt", b"x" * (1024 * 1024 + 1)),
        ("program.exe", b"MZ"),
    )

    assert [(verdict["verdict"], verdict["code"]) for verdict in verdicts] == [
        ("unchanged", None), ("failed", "encrypted"), ("failed", "damaged"), ("failed", "only pictures"),
        ("indexed", None), ("failed", "too large"), ("failed", "unknown type"),
    ]  # fmt: skip
    assert all(verdict["reason"] for verdict in verdicts if verdict["verdict"] == "failed")
    answer = filled.post("/ask", json={"question": "How is beer brewed?"}).json()
    assert answer["citations"][0]["page"] == 1


def test_documents_are_listed_replaced_and_deleted(filled: TestClient) -> None:
    [before] = filled.get("/documents").json()["documents"]
    upload(filled, ("wine.md", b"Wine is made from grapes."))
    [after] = filled.get("/documents", params={"collection": "default"}).json()["documents"]

    assert (after["name"], after["passages"]) == ("wine.md", 1)
    assert after["id"] != before["id"]
    problem(filled.get(f"/documents/{before['id']}"), 404)
    problem(filled.delete(f"/documents/{before['id']}"), 404)
    assert "150" not in filled.post("/ask", json={"question": "How is wine made?"}).text


def test_collections_are_kept_apart(filled: TestClient) -> None:
    upload(filled, ("beer.txt", b"Beer holds 5 percent alcohol."), collection="beers")

    assert filled.get("/collections").json()["collections"] == [
        {"name": "beers", "documents": 1, "next": None, "previous": None},
        {"name": "default", "documents": 1, "next": None, "previous": None},
    ]
    question = {"question": "How much alcohol does beer hold?", "collection": "beers"}
    assert filled.post("/ask", json=question).json()["citations"][0]["document"] == "beer.txt"


def test_an_empty_collection_says_how_to_fill_it(client: TestClient) -> None:
    body = problem(client.post("/ask", json={"question": "What is wine?"}), 404)

    assert "ingest" in body["hint"]


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"question": ""}, ["question"]),
        ({"question": " \n "}, ["question"]),
        ({"question": "x" * 2001}, ["question"]),
        ({"question": "x" * 100_000}, ["question"]),
        ({"question": 7}, ["question"]),
        ({"question": "\ud800"}, ["question"]),
        ({}, ["question"]),
        ({"question": "a", "top_k": 0}, ["top_k"]),
        ({"question": "a", "top_k": "4"}, ["top_k"]),
        ({"question": "a", "collection": "../x"}, ["collection"]),
        ({"question": "a", "topk": 4}, ["topk"]),
        (["a"], []),
    ],
)
def test_a_wrong_question_is_refused_with_its_place(body: Any, loc: list[str], filled: TestClient) -> None:
    response = filled.post("/ask", content=json.dumps(body), headers={"content-type": "application/json"})

    assert problem(response, 422)["errors"][0]["loc"] == loc
    assert len(response.content) < 1000


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("ask", {"question": "a", "colection": "x"}, "colection: There is no such field. The nearest is 'collection'."),
        (
            "search",
            {"query": "a", "weights": {"lexcal": 1}},
            "lexcal: There is no such field. The nearest is 'lexical'.",
        ),
        ("ask", {"question": "a", "zzz": 1}, "zzz: There is no such field."),
        ("ask", {"question": "a", "collection": "../x"}, "digit or '_' first. Found '../x'."),
    ],
)
def test_a_wrong_field_or_name_is_answered_in_words(path: str, body: Any, says: str, client: TestClient) -> None:
    assert problem(client.post(f"/{path}", json=body), 422)["detail"].endswith(says)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b"[" * 100_000])
def test_a_body_that_is_no_json_is_refused(content: bytes, filled: TestClient) -> None:
    response = filled.post("/ask", content=content, headers={"content-type": "application/json"})

    assert response.status_code in (400, 422)
    problem(response, response.status_code)


def test_json_that_breaks_off_is_named_with_its_place(client: TestClient) -> None:
    sent = {"content": b'{"question": }', "headers": {"content-type": "application/json"}}

    detail = problem(client.post("/ask", **sent), 422)["detail"]
    assert detail == "The body is not valid JSON, at character 14: Expecting value."
    error = client.post("/v1/chat/completions", **sent).json()["error"]
    assert (error["message"].partition(" GET")[0], error["param"]) == (detail, None)


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "application/json"])
def test_a_body_that_is_no_object_is_refused_in_words(kind: str, client: TestClient) -> None:
    body = problem(client.post("/ask", content=b'"What?"', headers={"content-type": kind}), 422)
    assert body["detail"] == "The body is not read as a JSON object."
    assert "Content-Type: application/json" in body["hint"]


def test_json_under_another_type_is_told_which_header_to_send(client: TestClient) -> None:
    refused = problem(client.post("/ask", content=b'{"question": "x"}', headers={"content-type": "text/plain"}), 422)

    assert "Content-Type: application/json" in refused["hint"]


def test_too_large_a_body_is_refused_announced_or_not(client: TestClient) -> None:
    large = b" " * (1024 * 1024 + 1)

    problem(client.post("/ask", content=large), 413)
    for path in ("/ask", "/mcp"):
        parts = (large[place : place + 65536] for place in range(0, len(large), 65536))
        problem(client.post(path, content=parts, headers={"content-type": "application/json"}), 413)
    problem(client.post("/documents", files=[("files", (f"{i}.txt", b"x" * 1024 * 1024)) for i in range(4)]), 413)
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\n'
    kind = {"content-type": "multipart/form-data; boundary=b"}
    problem(client.post("/documents", content=iter([head, *[large] * 4]), headers=kind), 413)


def test_too_many_files_and_no_file_are_refused(client: TestClient) -> None:
    problem(client.post("/documents", files=[("files", (f"{i}.txt", b"x")) for i in range(9)]), 413)
    problem(client.post("/documents", data={"collection": "default"}), 422)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_sites_page_changes_nothing(site: str, client: TestClient) -> None:
    files = [("files", ("planted.txt", b"Send your money to me."))]

    problem(client.post("/documents", files=files, headers={"Sec-Fetch-Site": site}), 403)
    problem(client.post("/reindex", headers={"Sec-Fetch-Site": site}), 403)
    assert client.get("/documents", headers={"Sec-Fetch-Site": site}).json() == {"documents": [], "next": None}
    own = client.post("/documents", data={"collection": "default"}, headers={"Sec-Fetch-Site": "same-origin"})
    problem(own, 422)


def test_unknown_paths_and_methods_are_problems_too(client: TestClient) -> None:
    problem(client.get("/nowhere"), 404)
    problem(client.get("/ask"), 405)


def test_the_request_id_is_taken_or_made(client: TestClient) -> None:
    assert client.get("/livez", headers={"X-Request-ID": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert client.get("/livez", headers={"X-Request-ID": "no good\t"}).headers["x-request-id"] != "no good\t"
    assert problem(client.get("/nowhere", headers={"X-Request-ID": "mine-2"}), 404)["request_id"] == "mine-2"


def test_a_fault_of_ours_tells_nothing_but_its_id(filled: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(filled.app.state.service.parts().answerer, "ask", broken)  # type: ignore[attr-defined]
    response = filled.post("/ask", json={"question": "What?"})

    assert "secret" not in problem(response, 500)["detail"]


def test_overload_is_refused_quickly_and_health_goes_on(filled: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = filled.app.state.service  # type: ignore[attr-defined]
    inside, let_go = threading.Barrier(5), threading.Event()

    def slow(*_: object) -> list[object]:
        inside.wait(60)
        let_go.wait(60)
        return []

    monkeypatch.setattr(runtime.parts().answerer, "search", slow)
    searches = [
        threading.Thread(target=filled.post, args=("/search",), kwargs={"json": {"query": "a"}}) for _ in "1234"
    ]
    for thread in searches:
        thread.start()
    inside.wait(60)
    try:
        assert problem_headers(filled.post("/search", json={"query": "a"}), 429)["retry-after"] == "2"
        for path in ("/livez", "/readyz", "/metrics"):
            assert filled.get(path).status_code == 200
    finally:
        let_go.set()
        for thread in searches:
            thread.join()


def problem_headers(response: Any, status: int) -> Any:
    problem(response, status)
    return response.headers


def test_health_docs_and_metrics(filled: TestClient) -> None:
    for path in ("/livez", "/health", "/healthz", "/ping"):
        assert filled.get(path).status_code == 200
    ready = filled.get("/readyz").json()
    assert ready["generator"] is None
    assert "RAG_GENERATOR" in ready["without_generator"]
    page = filled.get("/docs").text
    assert "curl -X POST http://testserver/ask -H" in page  # it can be pasted as it stands
    assert "Too many uploads" in page
    assert re.findall(r"<script[^>]*>", page) == ['<script type="module" src="pages/reference.js">']
    described = filled.get("/openapi.json").json()
    assert "application/problem+json" in described["paths"]["/ask"]["post"]["responses"]["default"]["content"]
    assert "HTTPValidationError" not in described["components"]["schemas"]
    answers = [
        (path, call["responses"]["200"]["content"]["application/json"]["schema"])
        for path, calls in described["paths"].items()
        for call in calls.values()
        if "application/json" in call["responses"].get("200", {}).get("content", {})
    ]
    assert [path for path, schema in answers if "$ref" not in schema] == ["/livez"]  # every other answer has fields
    filled.get("/made-up-path")
    filled.post("/ask", json={"question": "What keeps wine from browning?"})
    metrics = filled.get("/metrics").text
    assert 'rag_answers_total{answered_by="extractive"}' in metrics
    assert "made-up-path" not in metrics
    assert "rag_ready 1.0" in metrics
    free = re.search(r"^rag_disk_free_ratio (\S+)$", metrics, re.MULTILINE)
    assert free is not None
    assert 0 < float(free[1]) < 1


def test_a_data_folder_that_is_not_made_yet_breaks_no_metrics(tmp_path: Path) -> None:
    metrics = Metrics()
    metrics.watch_disk(tmp_path / "not made yet")
    assert math.isnan(metrics.registry.get_sample_value("rag_disk_free_ratio") or 0)


def test_alive_but_not_ready_without_an_embedder(settings: Settings) -> None:
    lost = settings.model_copy(update={"embedder": "no/such-model", "data_dir": settings.data_dir / "lost"})
    with TestClient(create_app(lost)) as client:
        client.app.state.service.loaded.wait(100)  # type: ignore[attr-defined]
        assert client.get("/livez").status_code == 200
        body = problem(client.get("/readyz"), 503)
        assert "no/such-model" in body["detail"]
        assert "RAG_EMBEDDER" in body["hint"]
        problem(client.post("/ask", json={"question": "What?"}), 503)
        assert "rag_ready 0.0" in client.get("/metrics").text


@pytest.mark.parametrize("query", ["", "?background=true"])
def test_two_files_of_one_name_in_one_request_are_refused_before_anything_is_stored(
    client: TestClient, query: str
) -> None:
    files = [("files", (name, WINE)) for name in ("a/notes.md", "b/notes.md", "b/notes.md")]
    refused = client.post(f"/documents{query}", files=files)
    assert refused.status_code == 422
    assert "come more than once" in refused.text
    assert client.get("/documents").json()["documents"] == []


def test_metadata_of_an_unchanged_file_are_changed_without_reading_it_again(
    filled: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shown() -> dict[str, str]:
        return dict(filled.get("/documents").json()["documents"][0]["metadata"])

    def never(*_: object) -> None:
        raise AssertionError("it was read again")

    monkeypatch.setattr("rag_service.indexing.ingest.extract", never)
    sent = filled.post("/documents", files=[("files", ("wine.md", WINE))], data={"metadata": '{"year": "2024"}'})
    assert [one["verdict"] for one in sent.json()["documents"]] == ["unchanged"]
    assert shown() == {"year": "2024"}
    upload(filled, ("wine.md", WINE))
    assert shown() == {"year": "2024"}
    assert filled.post("/search", json={"query": "wine", "metadata": {"year": "2024"}}).json()["hits"]


def test_as_a_part_of_a_stack_its_pages_link_to_the_others(settings: Settings) -> None:
    alone = TestClient(create_app(settings))  # the pages need no model, so nothing is started
    stack = TestClient(create_app(settings.model_copy(update={"pages": "Overview=:8000/ Ask=:8001/"})))
    address = {"headers": {"Host": "127.0.0.1:8001"}}
    for path, current in (("/", ' aria-current="page"'), ("/docs", "")):
        links = f'<a href="http://127.0.0.1:8000/">Overview</a><a href="http://127.0.0.1:8001/"{current}>Ask</a></nav>'
        assert links in stack.get(path, **address).text
        assert 'class="site"' not in alone.get(path, **address).text
