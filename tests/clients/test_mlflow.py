"""MLflow's own client of its scoring protocol, and pandas' own dtypes."""

import io
import json
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

TABLE = """amount,garage,is active,sold,paid
5,attached,True,2026-01-06,05.03.2026
2.5,007,False,2026-01-05,01.01.2026
,none,,,
"""
WORTH = [31115.0, 10002.5, 0.0]


class Client(ScoringServerClient):
    """Of one of the models."""

    def __init__(self, address: str, model: str) -> None:
        parts = urlsplit(address)
        super().__init__(parts.hostname, parts.port)
        self.url_prefix += f"/models/{model}"


def test_the_client_of_the_default_model(address: str) -> None:
    parts = urlsplit(address)
    client = ScoringServerClient(parts.hostname, parts.port)
    client.wait_server_ready(timeout=30)
    frame = pd.DataFrame({"fixed acidity": [8, 4], "alcohol": [9.0, None], "type": ["white", None]})
    assert client.invoke(frame).get_predictions()[0].tolist() == [14.0, 12.0]


def test_numpy_arrays(address: str) -> None:
    for kind in (np.int64, np.float64, np.float32):
        answer = Client(address, "sum").invoke(np.array([[1, 10], [2, 20]], kind))
        assert answer.get_predictions()[0].tolist() == [12.0, 24.0]


@pytest.mark.parametrize("dtypes", [None, str, "numpy_nullable"])
@pytest.mark.parametrize("form", ["predict", "records", "client", "csv"])
def test_a_file_is_accepted_as_pandas_reads_it(address: str, dtypes: Any, form: str) -> None:
    """Row by row, as records, through MLflow's client, and as CSV."""
    if dtypes == "numpy_nullable":
        frame = pd.read_csv(io.StringIO(TABLE), dtype_backend=dtypes)
    else:
        frame = pd.read_csv(io.StringIO(TABLE), dtype=dtypes)
    records = json.loads(frame.to_json(orient="records"))
    if form == "predict":
        found = [ask(f"{address}/models/typed/predict", record)["prediction"] for record in records]
    elif form == "records":
        body = {"dataframe_records": records}
        found = ask(f"{address}/models/typed/invocations", body)["predictions"]
    elif form == "client":
        found = Client(address, "typed").invoke(frame).get_predictions()[0].tolist()
    else:
        text = frame.to_csv(index=False)
        found = ask(f"{address}/models/typed/invocations", text, "text/csv")["predictions"]
    assert found == WORTH


def ask(url: str, body: Any, kind: str = "application/json") -> Any:
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    request = urllib.request.Request(url, content, {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)
