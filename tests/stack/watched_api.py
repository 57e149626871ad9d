"""The prediction service with a model whose traffic has drifted, for test_monitoring.py.

It prints its address, and is used until its standard input ends. Runs in the api's environment.
"""

import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("api", "tests", "tests/api")]

import httpx
from model_files import regression_model
from registry_server import running_registry
from service_thread import serving, settings_for

KEY = sys.argv[1]
ROW = {"fixed acidity": 7.4, "alcohol": 9.4, "type": "red"}
VERDICT = '{"version": "1", "end": 1764325800, "drifted": 2, "error_worse": false}'


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, running_registry() as registry:
        registry.add(regression_model())
        registry.models[registry.name].tags["monitor.verdict"] = VERDICT
        settings = settings_for(registry, Path(folder)).model_copy(update={"api_key_file": Path(KEY)})
        with serving(settings) as address:
            print(address, flush=True)
            ended = threading.Event()
            threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
            key = Path(KEY).read_text().split()[-1]
            with httpx.Client(base_url=address, headers={"X-API-Key": key}, trust_env=False) as client:
                while not ended.wait(0.3):
                    answer = client.post("/predict", json=ROW).json()
                    if "id" in answer:
                        client.post("/feedback", json={"id": answer["id"], "actual": 5})


if __name__ == "__main__":
    main()
