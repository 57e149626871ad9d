"""Several registered models at once: each is served, swapped, refused, withdrawn and measured on its own."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import live, started, wait_until, whole_lines
from fastapi.testclient import TestClient
from model_files import classification_model, regression_model, two_numbers_model
from prediction_api.errors import SandboxKilled
from prediction_api.models import store
from prediction_api.models.copies import ModelCopies
from prediction_api.settings import Settings
from registry_server import FakeRegistry

WINE = {"fixed acidity": 8.0, "alcohol": 9.0, "type": "red"}
SUM = {"first": 1.0, "second": 3.0}


def states(client: TestClient) -> dict[str, str]:
    return dict(client.get("/readyz").json()["models"])


@pytest.fixture
def three(registry: FakeRegistry) -> FakeRegistry:
    """wine-quality, then sum, then one without the alias; in pages of one model each."""
    registry.page = 1
    registry.add(regression_model(0.5))
    registry.add(two_numbers_model(), name="sum")
    registry.add(classification_model(), promote=False, name="a candidate")
    return registry


@contextmanager
def both(settings: Settings, **changes: object) -> Iterator[TestClient]:
    """The service once wine-quality and sum are live."""
    with started(settings, **changes) as client:
        wait_until(lambda: states(client) == {"wine-quality": "ready", "sum": "ready"})
        yield client


def test_each_model_answers_under_its_name(three: FakeRegistry, settings: Settings) -> None:
    three.ledger = [{"action": "promoted", "version": "1"}]  # of wine-quality
    with both(settings) as client:
        assert client.get("/models").json() == {
            "default": "wine-quality",
            "models": [
                {"name": name, "version": "1", "alias": "production", "ready": True, "refused": None}
                for name in ("wine-quality", "sum")
            ],
        }
        for path in ("/predict", "/models/wine-quality/predict"):
            answer = client.post(path, json=WINE).json()
            assert (answer["prediction"], answer["model"]["name"]) == (13.0, "wine-quality")
        answer = client.post("/models/sum/predict", json=SUM).json()
        assert (answer["prediction"], answer["model"]) == (5.0, {"name": "sum", "version": "1"})
        assert client.post("/models/sum/predict", json=WINE).status_code == 422
        assert client.post("/models/sum/predict/batch", json={"rows": [SUM]}).json()["predictions"] == [5.0]
        table = {"content": "first,second\n1,3\n", "headers": {"Content-Type": "text/csv"}}
        assert client.post("/models/sum/predict/batch", **table).text.splitlines()[1].startswith("5")
        assert client.post("/models/sum/invocations", json={"instances": [SUM]}).json() == {"predictions": [5.0]}
        assert client.post("/models/sum/explain", json=SUM).json()["prediction"] == 5.0
        assert client.get("/models/sum/model").json()["name"] == "sum"
        assert client.get("/v2/models/sum").json()["inputs"][0]["name"] == "first"
        inputs = [{"name": name, "datatype": "FP32", "shape": [1], "data": [value]} for name, value in SUM.items()]
        outputs = client.post("/v2/models/sum/infer", json={"inputs": inputs}).json()["outputs"]
        assert outputs[0]["data"] == [5.0]
        ready = client.get("/models/sum/readyz").json()
        assert (ready["model"]["version"], ready["registry"]["model"], ready["refused"]) == ("1", "sum", None)
        assert ready["models"] == states(client)
        assert [entry["version"] for entry in client.get("/history").json()["entries"]] == ["1"]
        assert client.get("/models/sum/history").json()["entries"] == []


def test_feedback_and_predictions_go_into_the_models_own_log(three: FakeRegistry, settings: Settings) -> None:
    with both(settings) as client:
        given = client.post("/models/sum/predict", json=SUM).json()["id"]
        assert client.post("/models/sum/feedback", json={"id": given, "actual": 5.5}).status_code == 202
        client.post("/predict", json=WINE)
        page = client.get("/metrics").text
    folder = settings.prediction_log_dir or Path()
    assert [line["id"] for line in whole_lines(folder / "sum")] == [given]
    assert [line["actual"] for line in whole_lines(folder / "sum", "feedback")] == [5.5]
    assert [line["row"] for line in whole_lines(folder / "wine-quality")] == [WINE]
    for name in ("sum", "wine-quality"):
        assert f'api_predictions_total{{model="{name}",version="1"}} 1.0' in page
        assert f'api_model_info{{model="{name}",version="1"}} 1.0' in page


def test_an_unknown_model_is_not_found_and_what_is_served_is_named(three: FakeRegistry, settings: Settings) -> None:
    with both(settings) as client:
        for name in ("nobody", "a candidate"):
            for answer in (
                client.post(f"/models/{name}/predict", json=SUM),
                client.get(f"/models/{name}/readyz"),
                client.get(f"/v2/models/{name}"),
            ):
                assert (answer.status_code, answer.json()["type"]) == (404, "/docs#error-unknown-model")
                assert f"{name!r} carries the alias 'production'; served here: 'wine-quality', 'sum'" in answer.text


def test_a_bad_version_of_one_model_leaves_the_others_alone(three: FakeRegistry, settings: Settings) -> None:
    with both(settings) as client:
        three.add(b"no model at all", name="sum")
        wait_until(lambda: client.get("/models/sum/readyz").json()["refused"])
        assert client.get("/models/sum/readyz").json()["refused"]["reason"] == "unsafe-graph"
        assert client.get("/readyz").json()["refused"] is None
        assert client.post("/models/sum/predict", json=SUM).json()["prediction"] == 5.0
        assert 'api_model_refusals_total{model="sum",reason="unsafe-graph"} 1.0' in client.get("/metrics").text
        three.add(b"broken from the first version on", name="third")
        wait_until(lambda: states(client).get("third") == "unsafe-graph")
        assert client.post("/models/third/predict", json=SUM).status_code == 503
        assert client.get("/models").json()["models"][2]["refused"]["version"] == "1"


def test_one_model_at_a_time_is_tried(three: FakeRegistry, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes three times its memory meanwhile."""
    trials, most = 0, 0

    async def tried(content: bytes, _most_bytes: int) -> int:
        nonlocal trials, most
        trials += 1
        most = max(most, trials)
        await asyncio.sleep(0.05)
        trials -= 1
        return len(content)

    monkeypatch.setattr(store, "try_out", tried)
    with both(settings):
        assert most == 1


def test_a_model_that_does_not_fit_beside_the_others_is_refused_until_there_is_room(
    three: FakeRegistry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def large(_content: bytes, _most_bytes: int) -> int:
        return 300_000_000

    monkeypatch.setattr(store, "try_out", large)
    monkeypatch.setattr(store, "RETRY_REFUSED_SECONDS", 0.01)
    with started(settings) as client:
        wait_until(lambda: sorted(states(client).values()) == ["no-room", "ready"])
        served, refused = sorted(states(client), key=lambda name: states(client)[name] != "ready")
        said = client.get(f"/models/{refused}/readyz").json()["refused"]["detail"]
        assert said == "it takes 300 MB, the other models 300 MB; API_MODELS_MB is 500"
        del three.models[served]
        wait_until(lambda: states(client) == {refused: "ready"})


def test_a_killed_trial_is_repeated(
    registry: FakeRegistry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = iter(range(2))

    async def killed_twice(content: bytes, _most_bytes: int) -> int:
        if next(kills, None) is not None:
            raise SandboxKilled("the process that checked it was killed")
        return len(content)

    monkeypatch.setattr(store, "try_out", killed_twice)
    monkeypatch.setattr(store, "RETRY_KILLED_SECONDS", 0.05)
    registry.add(regression_model())
    with live(settings) as client:
        metrics = client.get("/metrics").text
    assert 'api_model_refusals_total{model="wine-quality",reason="sandbox-killed"} 2.0' in metrics


def test_a_fault_of_ours_in_one_try_is_counted_and_the_next_succeeds(
    registry: FakeRegistry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = iter([ZeroDivisionError("ours")])

    async def breaks_once(content: bytes, _most_bytes: int) -> int:
        for fault in faults:
            raise fault
        return len(content)

    monkeypatch.setattr(store, "try_out", breaks_once)
    registry.add(regression_model())
    with live(settings) as client:
        metrics = client.get("/metrics").text
    assert 'api_model_refusals_total{model="wine-quality",reason="fault"} 1.0' in metrics


def test_the_default_model_can_be_named(three: FakeRegistry, settings: Settings) -> None:
    with both(settings, default_model="sum") as client:
        assert client.get("/models").json()["default"] == "sum"
        assert client.post("/predict", json=SUM).json()["model"]["name"] == "sum"
        del three.models["sum"]
        said = "no registered model 'sum' carries the alias 'production'; served here: 'wine-quality'"
        wait_until(lambda: said in client.post("/predict", json=SUM).json().get("detail", ""))
        assert client.post("/predict", json=SUM).status_code == 503


@pytest.mark.parametrize("removed", ["alias", "registration"])
def test_a_model_no_longer_promoted_is_no_longer_served(
    three: FakeRegistry, settings: Settings, monkeypatch: pytest.MonkeyPatch, removed: str
) -> None:
    withdraw = ModelCopies.withdraw

    def slowly(copies: ModelCopies, alias: str) -> None:
        time.sleep(0.2)  # a slow disk
        withdraw(copies, alias)

    monkeypatch.setattr(ModelCopies, "withdraw", slowly)
    with both(settings) as client:
        if removed == "alias":
            three.aliases.clear()
        else:
            del three.models["wine-quality"]
        wait_until(lambda: client.get("/models/wine-quality/readyz").status_code == 404)
        assert not list(settings.models_dir.glob("wine-quality/*.json"))  # from here on a start may come
        assert client.post("/models/wine-quality/predict", json=WINE).status_code == 404
        assert client.get("/models").json()["default"] == "sum"
        assert 'model="wine-quality",version="1"} 1.0' not in client.get("/metrics").text.partition("model_info")[2]
    three.stop()
    with started(settings) as client:  # a copy of it is on the disk still
        assert states(client) == {"sum": "ready"}
    three.start()
    three.add(regression_model(0.5))
    three.aliases["production"] = "1"
    with started(settings) as client:
        wait_until(lambda: states(client).get("wine-quality") == "ready")


def test_without_the_registry_every_model_comes_back_from_its_copy(three: FakeRegistry, settings: Settings) -> None:
    three.models["sum"].created = 1  # the first registered
    with both(settings) as client:
        wait_until(lambda: len(list(settings.models_dir.glob("*/1.json"))) == 2)
    three.stop()
    with both(settings) as client:
        assert client.get("/models").json()["default"] == "sum"
        assert client.post("/models/wine-quality/predict", json=WINE).status_code == 200
        unknown = client.get("/models/nobody/readyz")
        assert (unknown.status_code, "no copy of it here" in unknown.json()["detail"]) == (503, True)
    with started(settings, model_alias="staging") as client:
        assert states(client) == {}


@pytest.mark.parametrize("name", ["../etc", "wein güte", ".hidden", "x" * 101, "line\nbreak", "ends\n"])
def test_a_name_that_can_be_no_folder_is_refused_in_words(
    registry: FakeRegistry, settings: Settings, name: str
) -> None:
    registry.add(regression_model(), name=name)
    registry.add(regression_model())
    with started(settings) as client:
        wait_until(lambda: states(client) == {name: "unsafe-name", "wine-quality": "ready"})
        listed = {model["name"]: model for model in client.get("/models").json()["models"]}
        assert (listed[name]["ready"], listed[name]["refused"]["reason"]) == (False, "unsafe-name")
        assert "a name becomes a folder" in listed[name]["refused"]["detail"]
        assert client.get("/models").json()["default"] == "wine-quality"
    assert [path.name for path in settings.models_dir.iterdir()] == ["wine-quality"]


def test_the_details_of_a_version_are_asked_for_once(three: FakeRegistry, settings: Settings) -> None:
    with both(settings):
        looks = three.looks
        wait_until(lambda: three.looks > looks + 20)
    assert three.details == 2


def test_a_model_that_was_registered_again_is_another_one(registry: FakeRegistry, settings: Settings) -> None:
    registry.add(regression_model(0.5))
    with live(settings) as client:
        registry.models.clear()
        registry.add(regression_model(1.0))
        registry.models["wine-quality"].created = 2_000
        wait_until(lambda: client.post("/predict", json=WINE).json().get("prediction") == 17.0)
