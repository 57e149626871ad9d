"""Bad files, more than forty, in one upload with good ones: a verdict for each, and the service goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import wait_until_ready
from fastapi.testclient import TestClient
from hostile_files import good_files, hostile_files

from rag_service.app import create_app
from rag_service.settings import Settings

MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def strict(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    limits = {"max_files": 100, "max_file_bytes": 2 * MEGABYTE, "max_text_bytes": 200 * 1024, "load_seconds": 8}
    folder = {"data_dir": tmp_path_factory.mktemp("strict")}
    with TestClient(create_app(settings.model_copy(update=limits | folder)), raise_server_exceptions=False) as opened:
        wait_until_ready(opened)
        yield opened


def test_every_hostile_file_has_its_verdict_and_every_good_one_is_found(strict: TestClient, tmp_path: Path) -> None:
    bad, good = hostile_files(), good_files()
    assert len(bad) >= 40
    sent = [*bad, *good]

    response = strict.post("/documents", files=[("files", (one.name, one.data)) for one in sent])

    assert response.status_code == 200, response.text
    verdicts = response.json()["documents"]
    assert len(verdicts) == len(sent)
    wrong = [
        (one.name[:40], verdict["verdict"], verdict["code"], verdict["reason"])
        for one, verdict in zip(bad, verdicts, strict=False)
        if (verdict["code"] or verdict["verdict"]) not in one.verdicts
    ]
    assert wrong == []
    assert all(verdict["reason"] for verdict in verdicts if verdict["verdict"] == "failed")
    assert {verdict["verdict"] for verdict in verdicts[len(bad) :]} == {"indexed"}
    for one, verdict in zip(good, verdicts[len(bad) :], strict=True):
        assert ".." not in verdict["name"].split("/")
        hits = strict.post("/search", json={"query": one.question, "top_k": 3}).json()["hits"]
        assert verdict["document_id"] in [hit["document_id"] for hit in hits], one.name
    assert strict.get("/livez").status_code == 200
    names = [document["name"] for document in strict.get("/documents").json()["documents"]]
    assert all(len(name) <= 255 and "\x00" not in name for name in names)
    assert len(set(names)) == len(names)


def test_the_good_files_are_unchanged_when_they_come_again(strict: TestClient) -> None:
    again = strict.post("/documents", files=[("files", (one.name, one.data)) for one in good_files()]).json()

    assert {verdict["verdict"] for verdict in again["documents"]} == {"unchanged"}
