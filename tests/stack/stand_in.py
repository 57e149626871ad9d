"""Stands in for the interpreters of all environments: answers as the program that it was asked to run would.

`python stand_in.py -m prediction_api` serves what the prediction service serves, and so on. It listens where the real
program would, and writes its own process id next to the interpreter, so that a test can see that it was stopped.
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MODEL = {
    "name": os.environ.get("DEFAULT_MODEL"),
    "version": "1",
    "features": [{"name": "alcohol", "example": 10.5}],
    "metrics": {"mae": 0.5},
    "data": {"synthetic": True, "rows": 6497},
}
CITATION = {"document": "volatile-acidity.md", "page": None, "quote": "It tastes of vinegar."}
ANSWER = {"answer": "of vinegar", "abstained": False, "answered_by": "extractive", "citations": [CITATION]}
DECISION = {"action": "promoted", "version": "1", "by": "somebody", "reasons": [{"text": "it is the first"}]}
SERVICES = {
    "mlflow/start.py": {"GET /health": "OK"},
    "prediction_api": {
        "GET /livez": {},
        "GET /model": MODEL,
        "GET /history": {"entries": [DECISION]},
        "POST /predict": {"prediction": 5.4, "interval": None, "model": {"version": "1"}},
    },
    "rag_service": {
        "GET /readyz": {},
        "POST /documents": {"documents": [{"verdict": "indexed"}]},
        "POST /ask": ANSWER,
    },
    "airflow/entrypoint.py": {"GET /api/v2/version": {}},
}
DAG_LOG = """\
2026-01-01T09:00:00.000000Z [info     ] [DAG TEST] starting task_id=check map_index=-1 [airflow] loc=1
2026-01-01T09:00:06.500000Z [info     ] [DAG TEST] end task task_id=check map_index=-1 [airflow] loc=2
"""


class Handler(BaseHTTPRequestHandler):
    """Answers from `answers`, and 404 for the rest."""

    answers: dict[str, object]

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = self.answers.get(f"{self.command} {self.path}")
        self.send_response(404 if found is None else 200)
        data = json.dumps(found).encode()
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = answer  # noqa: N815


def main(arguments: list[str]) -> int:
    said = " ".join(arguments)
    if "prepare" in arguments:
        return 0
    if "dags test" in said:
        sys.stdout.write(DAG_LOG)
        return int(os.environ.get("STAND_IN_DAG", "0"))
    name = next(name for name in SERVICES if name in arguments)
    variable = {"mlflow/start.py": "MLFLOW_PORT", "prediction_api": "API_PORT", "rag_service": "RAG_PORT"}
    port = int(os.environ[variable.get(name, "AIRFLOW__API__PORT")])
    Handler.answers = SERVICES[name]
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    Path(f"pid-{port}").write_text(str(os.getpid()))
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
