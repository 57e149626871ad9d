"""A collection is a name for a state: it is copied, changed beside, moved and moved back; nobody's work is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import wait_until_ready
from fastapi.testclient import TestClient
from storing import SPANS, TEXT, cut, edition, put, unit
from test_service import problem

from rag_service.app import create_app
from rag_service.errors import EmptyCollection
from rag_service.language import terms_of
from rag_service.settings import Settings
from rag_service.store.faiss_index import Index
from rag_service.store.protocol import Store


def names(store: Store, collection: str = "c") -> list[str]:
    return [document.name for document in store.documents(collection)]


def test_a_copy_is_changed_while_the_collection_stays(store: Store) -> None:
    put(store, "1", "1.txt")
    store.begin_next("c")
    put(store, "2", "2.txt", "c@next")
    store.remove_name("c@next", "1.txt")

    assert (names(store), names(store, "c@next")) == (["1.txt"], ["2.txt"])
    store.promote_next("c")
    assert (names(store), names(store, "c@previous")) == (["2.txt"], ["1.txt"])
    assert store.collections() == {"c": 1, "c@previous": 1}
    store.roll_back("c")
    assert (names(store), names(store, "c@previous")) == (["1.txt"], ["2.txt"])
    store.roll_back("c")
    assert names(store) == ["2.txt"]


def test_what_others_change_meanwhile_stays(store: Store) -> None:
    for number in "123":
        put(store, number, f"{number}.txt")
    store.begin_next("c")
    put(store, "1b", "1.txt", "c@next")
    store.remove_name("c@next", "3.txt")
    put(store, "4", "4.txt")  # added by somebody else
    put(store, "2b", "2.txt")  # changed by somebody else
    store.delete("c", "1")  # removed by somebody else

    store.promote_next("c")

    assert [(one.name, one.id) for one in store.documents("c")] == [("2.txt", "2b"), ("4.txt", "4")]
    view = store.view("c")
    found = store.passages(view, [number for number, _ in store.lexical(view, terms_of("wine"), 20)])
    assert {passage.document for passage in found.values()} == {"2.txt", "4.txt"}
    dense = Index(store, 4).search(view, unit(0)[0], 20)
    assert {number for number, _ in dense} == set(found)


def test_what_is_written_to_next_is_a_copy_even_without_asking_for_one(store: Store) -> None:
    put(store, "1", "1.txt")
    put(store, "2", "2.txt")
    put(store, "1b", "1.txt", "c@next")
    put(store, "3", "3.txt")

    store.promote_next("c")

    assert [one.id for one in store.documents("c")] == ["1b", "2", "3"]


def test_what_others_deleted_meanwhile_does_not_come_again_even_the_last(store: Store) -> None:
    put(store, "1", "1.txt")
    store.begin_next("c")
    put(store, "2", "2.txt", "c@next")
    store.delete("c", "1")

    store.promote_next("c")
    assert names(store) == ["2.txt"]

    put(store, "3", "3.txt")
    store.begin_next("c")
    store.delete("c@next", "2")
    store.delete("c", "3")
    store.promote_next("c")
    assert store.collections() == {"c@previous": 1}


def test_what_is_remembered_goes_with_the_state_and_the_embedder(store: Store) -> None:
    put(store)
    store.remember(store.view("c"), "old")
    store.begin_next("c")
    assert store.recall(store.view("c@next")) == "old"
    store.remember(store.view("c@next"), "new")

    store.promote_next("c")
    assert store.recall(store.view("c")) == "new"
    store.roll_back("c")
    assert store.recall(store.view("c")) == "old"

    for wanted, remembered in ((edition(chunk_tokens=99), "old"), (edition("other"), None)):
        begun = store.begin_edition(wanted)
        for key, _ in store.lacking(begun):
            store.put_passages(key, begun, cut(TEXT, SPANS, unit(0, 1)))
        assert store.use_edition(begun)
        assert store.recall(store.view("c")) == remembered


def test_a_request_ends_with_the_state_that_it_began_with(store: Store) -> None:
    put(store, "1", "1.txt")
    index, view = Index(store, 4), store.view("c")
    store.begin_next("c")
    put(store, "2", "2.txt", "c@next")
    store.remove_name("c@next", "1.txt")
    store.promote_next("c")

    found = store.passages(view, [number for number, _ in index.search(view, unit(0)[0], 9)])

    assert {passage.document for passage in found.values()} == {"1.txt"}
    assert store.lexical(view, terms_of("wine"), 9)


def test_an_older_copy_is_replaced_and_a_collection_is_deleted_with_its_copies(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "1", "1.txt")
    put(store, "1", "1.txt", "d")
    store.begin_next("c")
    put(store, "2", "2.txt", "c@next")
    store.begin_next("c")
    assert names(store, "c@next") == ["1.txt"]

    store.drop("c")

    assert store.collections() == {"d": 1}
    for refused in (store.view, store.begin_next, store.promote_next, store.roll_back, store.drop):
        with pytest.raises(EmptyCollection):
            refused("c")
    monkeypatch.setattr("rag_service.store.sql._LONGEST_REQUEST", -1.0)
    while store.sweep():
        pass
    assert names(store, "d") == ["1.txt"]
    assert store.add_name("d", "2.txt", "2", None) is None  # nothing holds that content any more


Upload = Callable[[str, bytes, str], None]


@pytest.fixture
def upload(client: TestClient) -> Upload:
    def uploaded(name: str, content: bytes, collection: str) -> None:
        response = client.post("/documents", files=[("files", (name, content))], data={"collection": collection})
        assert response.json()["documents"][0]["verdict"] == "indexed", response.text

    return uploaded


def test_a_refresh_over_http(client: TestClient, upload: Upload) -> None:
    def answer(collection: str = "wines") -> str:
        question = {"question": "What is port fortified with?", "collection": collection}
        return str(client.post("/ask", json=question).json()["answer"])

    def known() -> dict[str, object]:
        [found] = [one for one in client.get("/collections").json()["collections"] if one["name"] == "wines"]
        return dict(found)

    upload("port.txt", b"Port is fortified with brandy.", "wines")
    assert client.post("/collections/wines/next").json() == {"collection": "wines@next"}
    upload("port.txt", b"Port is fortified with water.", "wines@next")
    assert answer() == "Port is fortified with brandy."
    assert answer("wines@next") == "Port is fortified with water."
    assert known() == {"name": "wines", "documents": 1, "next": 1, "previous": None}

    assert client.post("/collections/wines/promote").json() == {"collection": "wines", "documents": 1}
    assert answer() == "Port is fortified with water."
    assert client.post("/collections/wines/rollback").status_code == 200
    assert answer() == "Port is fortified with brandy."

    problem(client.post("/collections/wines/promote"), 404)
    problem(client.post("/collections/none/next"), 404)
    client.post("/collections/wines/next")
    problem(client.post("/collections/wines@next/next"), 422)
    refused = client.post(
        "/documents", files=[("files", ("x.txt", b"X is a letter."))], data={"collection": "wines@previous"}
    )
    assert "@next" in problem(refused, 422)["detail"]
    assert client.delete("/collections/wines").status_code == 204
    problem(client.delete("/collections/wines"), 404)


def test_a_collection_that_follows_a_folder_is_changed_in_the_folder(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    (folder / "port.txt").write_text("Port is fortified with brandy.")
    watching = settings.model_copy(update={"data_dir": tmp_path / "data", "watch": f"{folder}:cellar"})
    with TestClient(create_app(watching)) as client:
        wait_until_ready(client)
        while not (found := client.get("/documents", params={"collection": "cellar"}).json()["documents"]):
            pass
        for refused in (
            client.post("/collections/cellar/rollback"),
            client.post("/collections/cellar/promote"),
            client.delete("/collections/cellar"),
            client.delete(f"/documents/{found[0]['id']}", params={"collection": "cellar"}),
        ):
            assert str(folder) in problem(refused, 409)["detail"]
