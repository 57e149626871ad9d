"""A client that is generated from /openapi.json, unchanged, predicts."""

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path


def test_openapi_python_client_predicts(address: str, tmp_path: Path) -> None:
    """The generator understands the whole schema but for CSV; what it writes is used in a process of its own."""
    schema = tmp_path / "openapi.json"
    with urllib.request.urlopen(f"{address}/openapi.json", timeout=60) as answer:
        schema.write_bytes(answer.read())
    generate = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"]
    command = [*generate, "--path", schema, "--output-path", tmp_path / "client"]
    made = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    warned = re.findall(r"WARNING parsing [^\n]*\n\n([^\n]+)", made.stdout + made.stderr)
    assert set(warned) <= {"Unsupported content type text/csv"}, made.stdout  # it knows JSON only
    story = """
import json, sys
from client import Client
from client.api.predict import predict_predict_post, predict_batch_predict_batch_post
from client.models import Features
from client.models.predict_batch_predict_batch_post_json_body import PredictBatchPredictBatchPostJsonBody as Batch
client = Client(base_url=sys.argv[1])
row = Features(fixed_acidity=8.0, alcohol=9.0, type_="white")
answer = predict_predict_post.sync(client=client, body=row)
batch = predict_batch_predict_batch_post.sync(client=client, body=Batch(rows=[row, row]))
print(json.dumps([answer.prediction, answer.model.version, batch.predictions]))
"""
    command = [sys.executable, "-c", story, address]
    asked = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout) == [14.0, "1", [14.0, 14.0]]
