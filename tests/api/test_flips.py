"""The alias moves back and forth under load: no request fails, and each answer is that of the version it names."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import httpx
from conftest import wait_until, whole_lines
from model_files import regression_model
from registry_server import FakeRegistry
from service_process import Service

ROW = {"fixed acidity": 8.0, "alcohol": 9.0, "type": "red"}
RIGHT = {"1": 13.0, "2": 17.0}  # 8 times the slope, and 9
FLIPS = 50
PER_SECOND = 200
VISIBLE_WITHIN = 5.0  # what is promised, also on a machine that has much to do


def test_fifty_flips_at_two_hundred_requests_a_second(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.add(regression_model(0.5))
    registry.add(regression_model(1.0), promote=False)
    with Service(tmp_path, {"poll_seconds": 0.02}, MLFLOW_TRACKING_URI=registry.uri) as service:
        service.wait_ready()
        answers: list[tuple[float, int, dict[str, Any]]] = []
        stop = threading.Event()
        address = service.address

        def ask() -> None:
            with httpx.Client(base_url=address, timeout=60) as client:
                due = time.monotonic()
                while not stop.is_set():
                    asked = time.monotonic()
                    answer = client.post("/predict", json=ROW)
                    answers.append((asked, answer.status_code, json.loads(answer.content)))
                    due += 2 / PER_SECOND  # two threads
                    time.sleep(max(0.0, due - time.monotonic()))

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: answers)
            for flip in range(FLIPS):
                version = "12"[(flip + 1) % 2]
                registry.aliases["production"] = version
                moved = time.monotonic()
                wait_until(
                    lambda wanted=version, moved=moved: any(
                        asked > moved and one["model"]["version"] == wanted for asked, _, one in answers[-100:]
                    ),
                    seconds=60 if flip == 0 else VISIBLE_WITHIN,  # the first one fetches and tries the model
                )
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert service.metric('api_model_swaps_total{model="wine-quality"}') == FLIPS + 1
    assert {status for _, status, _ in answers} == {200}
    assert {(one["model"]["version"], one["prediction"]) for _, _, one in answers} == set(RIGHT.items())
    assert len({one["id"] for _, _, one in answers}) == len(answers)
    assert {(line["version"], line["prediction"]) for line in whole_lines(tmp_path)} <= set(RIGHT.items())
