"""Clients that are generated from /openapi.json, unchanged, predict."""

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import openapi_generator_cli
import pytest

ROOT = Path(__file__).parents[2]
ROW = {"fixed acidity": 8.0, "alcohol": 9.0, "type": "white"}
OF_PYTHON = """
import json, sys
from client import Client
from client.api.predict import predict_predict_post, predict_batch_predict_batch_post
from client.models import Features
from client.models.predict_batch_predict_batch_post_json_body import PredictBatchPredictBatchPostJsonBody as Batch
client = Client(base_url=sys.argv[1])
row = Features.from_dict(json.loads(sys.argv[2]))
answer = predict_predict_post.sync(client=client, body=row)
batch = predict_batch_predict_batch_post.sync(client=client, body=Batch(rows=[row, row]))
print(json.dumps([answer.prediction, answer.model.version, batch.predictions]))
"""
OF_JAVA = """
import json, sys
from client import ApiClient, Configuration, Features, PredictApi, PredictBatchPredictBatchPostRequest as Batch
api = PredictApi(ApiClient(Configuration(host=sys.argv[1])))
row = json.loads(sys.argv[2])
answer = api.predict_predict_post(Features.from_dict(row))
batch = api.predict_batch_predict_batch_post(Batch.from_dict({"rows": [row, row]}))
values = [one.actual_instance for one in batch.predictions]
print(json.dumps([answer.prediction.actual_instance, answer.model.version, values]))
"""


@pytest.fixture
def schema(address: str, tmp_path: Path) -> Path:
    path = tmp_path / "openapi.json"
    with urllib.request.urlopen(f"{address}/openapi.json", timeout=60) as answer:
        path.write_bytes(answer.read())
    return path


def generated(*command: object) -> str:
    made = subprocess.run([*map(str, command)], check=False, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    return made.stdout + made.stderr


def predicted(story: str, folder: Path, address: str, **changes: object) -> object:
    """What the client in this folder is answered, in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", story, address, json.dumps(ROW | changes)]
    asked = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr
    return json.loads(asked.stdout)


def test_openapi_python_client_predicts(address: str, schema: Path, tmp_path: Path) -> None:
    """The generator understands the whole schema but for CSV."""
    generate = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"]
    said = generated(*generate, "--path", schema, "--output-path", tmp_path / "client")
    warned = re.findall(r"WARNING parsing [^\n]*\n\n([^\n]+)", said)
    assert set(warned) <= {"Unsupported content type text/csv"}, said  # it knows JSON only
    assert predicted(OF_PYTHON, tmp_path, address) == [14.0, "1", [14.0, 14.0]]
    assert predicted(OF_PYTHON, tmp_path, address, alcohol=None) == [15.0, "1", [15.0, 15.0]]


def test_openapi_generator_predicts(address: str, schema: Path, tmp_path: Path) -> None:
    java = Path((ROOT / "var" / "java_home").read_text(encoding="utf-8").strip(), "bin", "java")
    program = Path(openapi_generator_cli.__file__).with_name("openapi-generator.jar")
    generate = [java, "-jar", program, "generate", "--generator-name", "python", "--input-spec", schema]
    generated(*generate, "--additional-properties=packageName=client", "--output", tmp_path)
    assert predicted(OF_JAVA, tmp_path, address) == [14.0, "1", [14.0, 14.0]]
    assert predicted(OF_JAVA, tmp_path, address, alcohol=None) == [15.0, "1", [15.0, 15.0]]
