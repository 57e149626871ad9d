"""Two clients: whatever one of them sends, the other is answered."""

import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from service_process import Service, wine_service

ROW = {"fixed_acidity": 8.0, "alcohol": 9.0, "type": "white"}
BYTES = 7_000_000  # less than the largest body that is taken
PATHS = ("/predict", "/predict/batch", "/invocations", "/v2/models/wine-quality/infer", "/explain", "/feedback")


def repeated(part: str, size: int, between: str = ",") -> str:
    return between.join([part] * max(1, size // (len(part) + 1)))


def names(size: int) -> str:
    return ",".join(f'"n{number}":1' for number in range(size // 12))


SHAPES: dict[str, Callable[[int], str]] = {
    "unknown names": lambda size: "{" + names(size) + "}",
    "unknown names in a row": lambda size: '{"rows":[{' + names(size) + "}]}",
    "unknown names in rows": lambda size: '{"rows":[' + repeated('{"a":1,"b":2}', size) + "]}",
    "names of columns": lambda size: '{"dataframe_split":{"data":[[1]],"columns":[' + repeated('"c"', size) + "]}}",
    "tensors": lambda size: '{"inputs":[' + repeated("{}", size) + "]}",
    "one name again and again": lambda size: "{" + repeated('"alcohol":1', size) + "}",
    "nested arrays": lambda size: "[" * (size // 2) + "]" * (size // 2),
    "nested objects": lambda size: '{"a":' * (size // 6) + "1" + "}" * (size // 6),
    "an array that does not end": lambda size: '{"rows":[' + repeated("1", size),
    "empty objects": lambda size: '{"rows":[' + repeated("{}", size) + "]}",
    "a huge text": lambda size: '{"type":"' + "x" * size + '"}',
    "a huge name": lambda size: '{"' + "x" * size + '":1}',
    "escapes": lambda size: '{"type":"' + repeated("\\u0041", size, "") + '"}',
    "a huge number": lambda size: '{"alcohol":' + "9" * size + "}",
    "a huge fraction": lambda size: '{"alcohol":0.' + "0" * size + "1}",
}  # fmt: skip


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with wine_service(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture(scope="module")
def bound(service: Service) -> float:
    """Seconds that another client's request may take: of this machine's speed, and not of what is sent.

    Python's own parser takes this long for the largest body, three times over.
    """
    largest = json.dumps([{f"n{number}": 1 for number in range(BYTES // 12)}])
    started = time.perf_counter()
    json.loads(largest)
    parsing = time.perf_counter() - started
    with httpx.Client(base_url=service.address, timeout=60) as client:
        alone = [answered(client) for _ in range(50)]
    return 3 * parsing + 20 * statistics.median(alone)


def answered(client: httpx.Client) -> float:
    started = time.perf_counter()
    assert client.post("/predict", json=ROW).status_code == 200
    assert client.get("/livez").status_code == 200
    return time.perf_counter() - started


@given(st.sampled_from(sorted(SHAPES)), st.sampled_from(PATHS), st.sampled_from([BYTES, BYTES // 10, 60_000]))
@settings(max_examples=40)
def test_what_one_client_sends_does_not_stop_another(
    service: Service, bound: float, shape: str, path: str, size: int
) -> None:
    body = SHAPES[shape](size).encode()
    statuses: list[int] = []

    def hostile() -> None:
        headers = {"Content-Type": "application/json"}
        try:
            statuses.append(service.http.post(path, content=body, headers=headers).status_code)
        except httpx.TransportError:  # refused and closed while it still sends
            statuses.append(413)

    attacker = threading.Thread(target=hostile)
    times = []
    with httpx.Client(base_url=service.address, timeout=60) as client:
        answered(client)  # its connection is open
        attacker.start()
        while attacker.is_alive() or not times:
            times.append(answered(client))
        attacker.join()
        times.append(answered(client))
    assert 400 <= statuses[0] < 500
    assert max(times) < bound
