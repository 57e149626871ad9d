"""The DAG is run for real against the real question-answering service: a folder becomes answers, or nothing changes."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from conftest import ROOT, dag_bag, run
from servers import held_port, server_running

WELLS = "The deepest well of Orvan is {depth} metres deep. It was dug in {year} by the miner {name}.\n"
FACTS = [("Halda", 212, 1804, "Ruth Ostrom"), ("Merrin", 87, 1931, "Pavel Iden"), ("Tolsa", 140, 1877, "Ana Belmar")]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The service as a process of its own, from its own environment, without a generator."""
    home = tmp_path_factory.mktemp("rag")
    python = ROOT / ".venvs" / "rag" / "bin" / "python"
    with held_port() as port:
        variables = {"PYTHONPATH": str(ROOT / "rag"), "RAG_PORT": str(port), "RAG_DATA_DIR": str(home / "data")}
        variables |= {"RAG_MODELS_DIR": str(home / "models"), "RAG_GENERATOR": "none", "MLFLOW_TRACKING_URI": ""}
        variables["RAG_MAX_FILE_BYTES"] = "50000"  # four times that for all files of a request
        address = f"http://127.0.0.1:{port}"
        with server_running([python, "-m", "rag_service", "serve"], home, f"{address}/readyz", variables):
            yield address


@pytest.fixture
def documents(airflow_home: Path, service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of three small documents, and where the tasks find it and the service."""
    folder = tmp_path / "documents"
    (folder / "wells").mkdir(parents=True)
    for town, depth, year, name in FACTS:
        text = WELLS.replace("Orvan", town).format(depth=depth, year=year, name=name)
        (folder / "wells" / f"{town.lower()}.md").write_text(f"# {town}\n\n{text}")
    (folder / ".hidden.md").write_text("nobody asked for this")
    monkeypatch.setenv("DOCUMENTS_DIR", str(folder))
    monkeypatch.setenv("RAG_URL", service)
    return folder


@pytest.fixture
def parts(airflow_home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """The DAG's modules, found as Airflow finds them."""
    monkeypatch.syspath_prepend(str(ROOT / "airflow" / "dags"))
    return import_module


def refresh(**conf: object) -> dict[str, str]:
    """Runs the DAG without a second try."""
    dag = dag_bag().dags["refresh_documents"]
    for task in dag.tasks:
        task.retries = 0
    return run(dag, questions=12, **conf)


def names(service: str, collection: str) -> set[str]:
    found = httpx.get(f"{service}/documents", params={"collection": collection}, timeout=60).json()["documents"]
    return {document["name"] for document in found}


def test_a_folder_is_read_measured_and_followed(documents: Path, service: str) -> None:
    (documents / "empty.md").write_text("")
    (documents / "larger-than-a-request.md").write_text("The well is deep. " * 20_000)
    (documents.parent / "secret.md").write_text("The password of Halda is quicksilver.\n")
    (documents / "way-out.md").symlink_to(documents.parent / "secret.md")
    done = dict.fromkeys(["run", "copy", "read", "evaluate", "promote"], "success")
    assert refresh(collection="read", gate={"recall@4": 0.5}) == done
    assert names(service, "read") == {"wells/halda.md", "wells/merrin.md", "wells/tolsa.md"}
    (documents / "wells" / "halda.md").unlink()
    (documents / "new.md").write_text("The mayor of Halda is Ines Corvo. She took office in 1999.\n")
    assert refresh(collection="read", gate={})["run"] == "success"
    assert names(service, "read") == {"wells/halda.md", "wells/merrin.md", "wells/tolsa.md", "new.md"}
    assert refresh(collection="read", gate={}, follow_removals=True)["run"] == "success"
    assert names(service, "read") == {"wells/merrin.md", "wells/tolsa.md", "new.md"}


def test_where_the_answers_miss_a_threshold_the_documents_are_what_they_were(documents: Path, service: str) -> None:
    assert refresh(collection="kept", gate={})["run"] == "success"
    before = names(service, "kept")
    (documents / "more.md").write_text("The mayor of Halda is Ines Corvo. She took office in 1999.\n")
    states = refresh(collection="kept", gate={"quotes": 0})  # at most no quote at all
    assert (states["run"], states["evaluate"], states["promote"]) == ("failed", "failed", "upstream_failed")
    assert names(service, "kept") == before


def test_what_the_service_refuses_is_told_and_not_put_in_use(documents: Path, service: str, parts) -> None:
    states = refresh(collection="refused", gate={"beauty": 1})
    assert (states["run"], states["evaluate"]) == ("failed", "failed")
    library = parts("library")
    asked = library.Library("asked")
    asked.give("halda.md", documents / "wells" / "halda.md")
    with pytest.raises(library.AirflowFailException, match="beauty: there is no such figure"):
        asked.evaluate(12, {"beauty": 1})
    assert asked.give("gone.md", documents / "gone.md")["reason"] == "It cannot be opened (No such file or directory)."
    assert names(service, "refused") == set()


@pytest.fixture
def played(airflow_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, object]]]:
    """A service that gives these answers, one after the other; in the place of `key`, the one that was sent."""
    answers: list[tuple[int, object]] = []

    class Player(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def do_GET(self) -> None:
            status, content = answers.pop(0)
            if content == "key":
                content = self.headers["Authorization"]
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Player) as server:
        monkeypatch.setenv("RAG_URL", f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield answers
        server.shutdown()


def test_a_busy_service_is_waited_for(played: list[tuple[int, object]], parts) -> None:
    report = {"figures": {}, "missed": []}
    busy = (429, {"detail": "2 jobs are running already."})
    played += [busy, busy, (202, {"job": "one", "state": "done", "result": report})]
    assert parts("library").Library("any").evaluate(12, {}) == report
    assert played == []


def test_a_service_that_asks_for_keys_gets_the_first_of_the_file(
    played: list[tuple[int, object]], parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played += [(403, "key"), (403, "key")]
    library = parts("library").Library("any")
    (tmp_path / "keys").write_text("# of Airflow\n\n0f1e2d3c4b5a69788796 write\n5f1c0a9be2d74386f0e1\n")
    said = []
    for file in ("", str(tmp_path / "keys")):
        monkeypatch.setenv("RAG_API_KEY_FILE", file)
        with pytest.raises(parts("library").Refused) as refused:
            library.promote()
        said.append(str(refused.value))
    assert [text.rpartition(": ")[2] for text in said] == ["null", '"Bearer 0f1e2d3c4b5a69788796"']


def test_a_service_started_anew_while_it_evaluates_is_asked_again(
    played: list[tuple[int, object]], parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = parts("library")
    monkeypatch.setattr(library, "POLL_SECONDS", 0)
    running = {"job": "one", "state": "running", "done": 0, "total": 9}
    played += [(202, running), (404, {"detail": "There is no job one."})]
    with pytest.raises(library.AirflowException, match="restarted") as raised:
        library.Library("any").evaluate(12, {})
    assert not isinstance(raised.value, library.AirflowFailException)  # which Airflow would not try again


def test_a_missing_folder_changes_nothing(
    documents: Path, service: str, monkeypatch: pytest.MonkeyPatch, parts
) -> None:
    monkeypatch.setenv("DOCUMENTS_DIR", "nowhere")
    states = refresh(collection="nothing")
    assert (states["run"], states["read"], states["evaluate"]) == ("failed", "failed", "upstream_failed")
    dag = parts("refresh_documents")
    with pytest.raises(dag.AirflowFailException, match="Set DOCUMENTS_DIR"):
        dag.folder()


def test_a_service_that_is_away_fails_before_anything_is_done(documents: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with held_port() as port:
        monkeypatch.setenv("RAG_URL", f"http://127.0.0.1:{port}")
        states = refresh(collection="away")
    assert (states["run"], states["copy"], states["read"]) == ("failed", "failed", "upstream_failed")
