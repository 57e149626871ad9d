"""The command line, and where models come from."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import uvicorn

from rag_service import service
from rag_service.__main__ import bound, main
from rag_service.app import create_app
from rag_service.errors import BadSettings, ModelUnavailable, ModelUnpinned, PortTaken
from rag_service.http.connection import DrainingServer, server_config
from rag_service.models.find import DEFAULT_EMBEDDER, embedder_folder, find_folder
from rag_service.models.load import load_embedder
from rag_service.settings import Settings, read_settings


@pytest.fixture
def folder(tmp_path: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAG_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("RAG_MODELS_DIR", str(models_dir))
    monkeypatch.setenv("RAG_GENERATOR", "none")
    documents = tmp_path / "documents"
    (documents / "deep").mkdir(parents=True)
    (documents / "wine.md").write_text("Wine is made from grapes.")
    (documents / "deep" / "wine.md").write_text("Port is fortified with brandy.")
    (documents / ".hidden.md").write_text("Hidden.")
    (documents / "picture.png").write_bytes(b"\x89PNG")
    return documents


def test_ingest_then_ask_without_a_server(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ingest", str(folder)]) == 0
    first = capsys.readouterr().out
    assert "[1/2] deep/wine.md  indexed (1 passage)" in first
    assert first.endswith("0 failed\n1 file left out, of types that are not read: picture.png\n")
    assert main(["ingest", str(folder), str(folder / "picture.png")]) == 1
    assert "3 files: 0 indexed, 2 unchanged, 1 failed" in capsys.readouterr().out

    assert main(["ask", "What is port fortified with?", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["answer"] == "Port is fortified with brandy."
    assert main(["ask", "What?", "--collection", "none"]) == 1
    assert "Collections with documents: default" in capsys.readouterr().err
    for number in range(10):
        (folder / f"{number}.xyz").touch()
    assert main(["ingest", str(folder)]) == 0
    assert "11 files left out, of types that are not read: 0.xyz, 1.xyz" in (said := capsys.readouterr().out)
    assert said.endswith("9.xyz, …\n")
    assert main(["ingest", str(folder / "no-such")]) == 2
    assert "no-such" in capsys.readouterr().err


def test_ask_says_where_it_is_unsure(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAG_THRESHOLD", "0")
    assert main(["ingest", str(folder)]) == 0
    capsys.readouterr()

    assert main(["ask", "What is port fortified with?"]) == 0
    assert "Unsure" not in capsys.readouterr().out
    assert main(["ask", "Which year was the port opened?"]) == 0
    assert "Unsure (" in capsys.readouterr().out


def test_ask_prints_what_is_not_met_and_what_contradicts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    limit = "Dry red wine may hold at most {} milligrams of sulphur dioxide per litre, by the rule of Anna Thorne."
    for number in (150, 160):
        (folder / f"{number}.txt").write_text(limit.format(number))
    (folder / "valves.txt").write_text("Valve 12 is checked by team 3. Valve 18 is checked every 4 months by team 5.")
    assert main(["ingest", str(folder)]) == 0
    capsys.readouterr()

    assert main(["ask", "How much sulphur dioxide may dry red wine hold by the rule of Anna Thorne?"]) == 0
    said = capsys.readouterr().out
    assert "Contradicted by 150.txt" in said
    assert "Contradicted by 160.txt" in said
    assert main(["ask", "Which team checks valve 17?"]) == 0
    assert "Nothing was found about: valve 17" in capsys.readouterr().out


@contextmanager
def served(settings: Settings) -> Iterator[int]:
    """The service on a port of its own, in a thread; gives the port."""
    with closing(bound("127.0.0.1", 0)) as listener:
        app = create_app(settings)
        server = uvicorn.Server(server_config(app))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.02)
        try:
            app.state.service.loaded.wait(100)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(30)


def test_the_same_through_a_running_service(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(read_settings()) as port:
        url = f"http://127.0.0.1:{port}"
        assert main(["ingest", str(folder), "--url", url]) == 0
        assert "2 files: 2 indexed" in capsys.readouterr().out
        assert main(["ask", "What is wine made from?", "--json", "--url", url]) == 0
        assert json.loads(capsys.readouterr().out)["answer"] == "Wine is made from grapes."
        assert main(["ask", "x" * 3000, "--url", url]) == 1
        assert "question" in capsys.readouterr().err
        monkeypatch.setenv("RAG_PORT", str(port))
        assert main(["health"]) == 0
        assert container_health(port) == 0
    assert main(["health"]) == 1
    assert container_health(port) == 1
    assert main(["ask", "What?", "--url", url]) == 1
    assert "Is the service running there?" in capsys.readouterr().err


def test_told_to_end_it_answers_over_open_connections_and_closes_them(settings: Settings) -> None:
    with closing(bound("127.0.0.1", 0)) as listener:
        server = DrainingServer(server_config(create_app(settings)), seconds=60)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        with closing(HTTPConnection(*listener.getsockname()[:2], timeout=30)) as kept:
            while not server.started:
                time.sleep(0.02)
            assert closing_after(kept) is None
            server.handle_exit(signal.SIGTERM, None)
            while closing_after(kept) is None:
                time.sleep(0.02)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((kept.host, kept.port), timeout=30)
        server.handle_exit(signal.SIGTERM, None)  # a second time: at once
        thread.join(30)
    assert not thread.is_alive()


def test_behind_a_proxy_the_port_opens_when_the_models_are_loaded(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = threading.Event()
    monkeypatch.setattr(service, "load_embedder", lambda of: (found.wait(60), load_embedder(of))[1])
    settings = settings.model_copy(update={"drain_seconds": 1.0})
    with closing(bound("127.0.0.1", 0)) as listener:
        server = DrainingServer(server_config(create_app(settings)), settings.drain_seconds)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(listener.getsockname()[:2], timeout=30)
        found.set()
        while not server.started:
            time.sleep(0.02)
        with closing(HTTPConnection(*listener.getsockname()[:2], timeout=30)) as connection:
            connection.request("GET", "/readyz")
            assert connection.getresponse().status == 200
        server.handle_exit(signal.SIGTERM, None)
        thread.join(30)
    assert not thread.is_alive()


def closing_after(connection: HTTPConnection) -> str | None:
    """Whether the service closes the connection with its answer."""
    connection.request("GET", "/livez")
    answer = connection.getresponse()
    answer.read()
    return answer.getheader("Connection")


def container_health(port: int) -> int:
    """The exit status of the health check as containers run it."""
    command = [sys.executable, "-m", "rag_service.health"]
    return subprocess.run(command, env={**os.environ, "RAG_PORT": str(port)}, timeout=60, check=False).returncode


def test_the_health_check_of_containers_imports_nothing_of_the_service() -> None:
    code = "import sys, rag_service.health; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    imported = set(done.stdout.split())
    assert {name for name in imported if name.startswith("rag_service")} == {"rag_service", "rag_service.health"}
    assert not imported & {"pydantic", "numpy", "faiss", "httpx2"}


def test_a_taken_port_is_one_line_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        environment = {**os.environ, "RAG_PORT": str(port), "PYTHONPATH": "."}
        done = subprocess.run(
            [sys.executable, "-m", "rag_service", "serve"], capture_output=True, text=True, env=environment, timeout=60
        )
        with pytest.raises(PortTaken):
            bound("127.0.0.1", port)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert f"port {port}" in line
    assert "RAG_PORT" in line
    with pytest.raises(PortTaken):
        bound("no.such.host.invalid", 1)


def test_a_wrong_setting_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAG_PORT", "many")
    monkeypatch.setenv("RAG_OVERLAP_TOKENS", "100")
    with pytest.raises(BadSettings, match=r"RAG_PORT.*RAG_OVERLAP_TOKENS"):
        read_settings()
    assert main(["ask", "What?"]) == 2
    assert "RAG_PORT" in capsys.readouterr().err


def test_every_variable_is_in_the_example_with_its_default() -> None:
    example = (Path(__file__).parents[1] / ".env.example").read_text()

    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else str(field.default).removesuffix(".0")
        default = default.lower() if isinstance(field.default, bool) else default
        variable = field.validation_alias or f"RAG_{name.upper()}"
        assert f"#{variable}={default}\n" in example


def test_a_hub_that_is_away_is_given_up_quickly_and_the_package_steps_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begun = time.monotonic()
    with pytest.raises(ModelUnavailable, match="google/flan-t5-small") as caught:
        find_folder("google/flan-t5-small", tmp_path, 2, "RAG_GENERATOR")
    assert "RAG_GENERATOR" in caught.value.hint
    assert embedder_folder(DEFAULT_EMBEDDER, tmp_path, 2).origin == "package"
    assert time.monotonic() - begun < 20
    assert "installed package" in caplog.text
    with pytest.raises(ModelUnavailable):
        embedder_folder(f"not a/valid/name@{'0' * 40}", tmp_path, 2)


def test_a_name_on_the_hub_without_its_commit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelUnpinned, match="There is no folder an/model") as caught:
        find_folder("an/model", tmp_path, 2, "RAG_GENERATOR")
    assert caught.value.hint.startswith("Set RAG_GENERATOR to a folder with the model, or to NAME@COMMIT")


class Hub(BaseHTTPRequestHandler):
    """Answers as the model hub does, for one tiny repository that also holds what must not be fetched."""

    commit = "c" * 40
    files = {"config.json": b"{}", "model.safetensors": b"weights", "pytorch_model.bin": b"pickle", "tf_model.h5": b"x"}
    asked: list[str] = []

    def do_GET(self) -> None:
        name = self.path.split("?")[0].rsplit("/", 1)[-1]
        if "/tree/" in self.path:
            tree = [
                {"type": "file", "path": name, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
                for name, body in self.files.items()
            ]
            body = json.dumps(tree).encode()
        elif "/api/models/" in self.path:
            siblings = [{"rfilename": name} for name in self.files]
            body = json.dumps({"id": "an/model", "sha": self.commit, "siblings": siblings, "private": False}).encode()
        else:
            self.asked.append(name)
            body = self.files.get(name, b"")
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", self.commit)
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def test_a_model_is_fetched_once_at_its_revision_and_never_as_a_pickle(tmp_path: Path) -> None:
    fetch = (
        "import sys; from pathlib import Path; from rag_service.models.find import find_folder\n"
        "print(find_folder('an/model@' + 'c' * 40, Path(sys.argv[1]), 5, 'X').path)"
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        environment = {
            **os.environ,
            "PYTHONPATH": ".",
            "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
            "HF_HOME": str(tmp_path / "home"),
        }
        command = [sys.executable, "-c", fetch, str(tmp_path / "models")]
        first = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100, check=False)
        hub.shutdown()
    assert first.returncode == 0, first.stderr
    target = Path(first.stdout.strip())
    assert sorted(path.name for path in target.iterdir()) == ["config.json", "model.safetensors"]
    assert "pytorch_model.bin" not in Hub.asked

    again = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100, check=False)

    assert again.stdout == first.stdout, again.stderr
