"""A small real HTTP server that obeys the paths and answers of MLflow's registry which the service uses."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from servers import held_port

KEY = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"1")  # what the training side would hold


def sign(name: str, digest: str, key: Ed25519PrivateKey = KEY) -> str:
    return base64.b64encode(key.sign(f"prediction-model-signature:v1\n{name}\n{digest}\n".encode())).decode()


def publish(folder: Path, key: Ed25519PrivateKey = KEY, name: str = "a") -> Path:
    """Writes the public key into the folder, which it gives back."""
    folder.mkdir(parents=True, exist_ok=True)
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{name}.pem").write_bytes(pem)
    return folder


@dataclass
class StoredVersion:
    content: bytes
    tags: dict[str, str]
    artifact_uri: str


@dataclass
class StoredModel:
    created: int
    versions: dict[str, StoredVersion] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class FakeRegistry:
    """What a test sets and looks at; `serve` puts it behind a port. Without a model's name it is about `name`."""

    name: str = "wine-quality"
    models: dict[str, StoredModel] = field(default_factory=dict)
    ledger: list[dict[str, object]] | None = None  # newest first; None where nothing was ever decided
    downloads: list[str] = field(default_factory=list)
    runs: dict[str, list[dict[str, object]]] = field(default_factory=dict)  # of other experiments, newest first
    unsearchable: bool = False  # as MLflow answers for an experiment that was deleted meanwhile
    looks: int = 0
    details: int = 0  # how often a version was asked for
    ledger_looks: int = 0
    page: int = 1000  # models in one answer of the search
    broken: int | None = None  # answer every call with this status
    truncate: bool = False  # end each download before its announced length
    server: ThreadingHTTPServer | None = None
    port: int = 0

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def versions(self) -> dict[str, StoredVersion]:
        return self.models[self.name].versions

    @property
    def aliases(self) -> dict[str, str]:
        return self.models[self.name].aliases

    def add(
        self,
        content: bytes,
        sha256: str | None = "right",
        promote: bool = True,
        name: str | None = None,
        signature: str | None = "right",
    ) -> str:
        name = name or self.name
        model = self.models.setdefault(name, StoredModel(created=1_000 + len(self.models)))
        version = str(len(model.versions) + 1)
        digest = hashlib.sha256(content).hexdigest() if sha256 == "right" else sha256
        tags = {} if digest is None else {"model_sha256": digest}
        if digest is not None and signature is not None:
            tags["model_signature"] = sign(name, digest) if signature == "right" else signature
        uri = f"mlflow-artifacts:/1/models/{quote(name)}-{version}/artifacts"
        model.versions[version] = StoredVersion(content, tags, uri)
        if promote:
            model.aliases["production"] = version
        return version

    def start(self) -> None:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self, asked: dict[str, Any] | None = None) -> None:
                status, kind, content, announced = registry.answer(self.path, asked or {})
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(announced))
                self.end_headers()
                self.wfile.write(content)

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                assert asked["order_by"] == ["attributes.start_time DESC"]
                self.do_GET(asked)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def answer(self, target: str, asked: dict[str, Any]) -> tuple[int, str, bytes, int]:
        parts = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if self.broken is not None:
            return self.broken, "text/plain", b"no", 2
        if parts.path == "/api/2.0/mlflow/registered-models/search":
            self.looks += 1
            return self._search(query)
        if parts.path.startswith("/api/2.0/mlflow/model-versions/"):
            return self._version(parts.path.rpartition("/")[2], query)
        if (runs := self._notes(parts.path, query, asked)) is not None:
            return runs
        artifact = parts.path.replace("/api/2.0/mlflow-artifacts/artifacts", "mlflow-artifacts:")
        for version, stored in [one for model in self.models.values() for one in model.versions.items()]:
            if artifact == f"{stored.artifact_uri}/model.onnx" and stored.content:
                self.downloads.append(version)
                sent = stored.content[: len(stored.content) // 2] if self.truncate else stored.content
                return 200, "application/octet-stream", sent, len(stored.content)
        return _missing("no such artifact")

    def _notes(  # noqa: PLR0911  # one for each answer
        self, path: str, query: dict[str, str], asked: dict[str, Any]
    ) -> tuple[int, str, bytes, int] | None:
        if path == "/api/2.0/mlflow/registered-models/get" and query["name"] in self.models:
            known = self.models[query["name"]].tags.items()
            return _json(200, {"registered_model": {"name": "", "tags": [{"key": k, "value": v} for k, v in known]}})
        if (name := query.get("experiment_name")) in self.runs:
            return _json(200, {"experiment": {"experiment_id": name, "name": name}})
        if (other := self.runs.get(*asked.get("experiment_ids", [""]))) is not None:
            return _json(200, {"runs": other[: asked["max_results"]]})
        ours = query == {"experiment_name": f"{self.name}-ledger"}
        if path == "/api/2.0/mlflow/experiments/get-by-name" and self.ledger is not None and ours:
            return _json(200, {"experiment": {"experiment_id": "5", "name": f"{self.name}-ledger"}})
        if path == "/api/2.0/mlflow/runs/search":
            assert (asked["experiment_ids"], asked["max_results"]) == (["5"], 100)
            self.ledger_looks += 1
            if self.unsearchable:
                return _missing("No Experiment with id=5 exists")
            tags = [{"key": "ledger.entry", "value": json.dumps(entry)} for entry in self.ledger or []]
            other = {"key": "mlflow.user", "value": "somebody"}
            return _json(200, {"runs": [{"info": {}, "data": {"tags": [other, tag]}} for tag in tags]})
        return None

    def _search(self, query: dict[str, str]) -> tuple[int, str, bytes, int]:
        """As MLflow 3.17: ordered by name, without empty fields, a token where more follow."""
        first, most = int(query.get("page_token", "0")), min(int(query.get("max_results", "100")), self.page)
        if int(query.get("max_results", "100")) > 1000:
            return _json(400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "max_results"})
        found = []
        for name, model in sorted(self.models.items()):
            shown: dict[str, object] = {"name": name, "creation_timestamp": model.created, "last_updated_timestamp": 1}
            if model.aliases:
                shown["aliases"] = [{"alias": alias, "version": version} for alias, version in model.aliases.items()]
            if model.tags:
                shown["tags"] = [{"key": key, "value": value} for key, value in model.tags.items()]
            found.append(shown)
        answer: dict[str, object] = {"registered_models": found[first : first + most]} if found else {}
        return _json(200, answer | ({"next_page_token": str(first + most)} if first + most < len(found) else {}))

    def _version(self, call: str, query: dict[str, str]) -> tuple[int, str, bytes, int]:
        model = self.models.get(query["name"])
        stored = model and model.versions.get(query["version"])
        if stored is None:
            return _missing(f"Model Version (name={query['name']}, version={query['version']}) not found")
        if call == "get-download-uri":
            return _json(200, {"artifact_uri": stored.artifact_uri})
        assert call == "get"
        self.details += 1
        tags = [{"key": key, "value": value} for key, value in stored.tags.items()]
        named = {"name": query["name"], "version": query["version"], "run_id": "run-1", "tags": tags}
        return _json(200, {"model_version": named | {"last_updated_timestamp": 1}})


@contextmanager
def running_registry() -> Iterator[FakeRegistry]:
    """An empty registry on a port that is its own until the block ends, also while it is stopped."""
    with held_port() as port:
        fake = FakeRegistry(port=port)
        fake.start()
        yield fake
        fake.stop()


def _missing(message: str) -> tuple[int, str, bytes, int]:
    return _json(404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": message})


def _json(status: int, content: dict[str, object]) -> tuple[int, str, bytes, int]:
    body = json.dumps(content).encode()
    return status, "application/json", body, len(body)
