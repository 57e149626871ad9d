"""Who may ask, once a key is set."""

import os
from pathlib import Path

import pytest
from conftest import live, started
from fastapi.testclient import TestClient
from model_files import regression_model
from prediction_api.errors import StartRefused
from prediction_api.http import access
from prediction_api.http.access import read_keys
from prediction_api.settings import Settings, read_settings
from pydantic import SecretStr
from registry_server import FakeRegistry

KEY = "5f0c1e7a9b3d8642c0de"
OTHER = "0a1b2c3d4e5f60718293"
ROW = {"fixed acidity": 8.0, "alcohol": 9.0, "type": "white"}


def ask(client: TestClient, key: str) -> int:
    return client.post("/predict", json=ROW, headers={"X-API-Key": key}).status_code


def test_with_a_key_only_who_gives_it_is_answered(registry: FakeRegistry, settings: Settings) -> None:
    registry.add(regression_model())
    with live(settings, api_key=SecretStr(KEY)) as client:  # health needs none
        wrong = [{}, *({"X-API-Key": key} for key in ("", OTHER, KEY[:-1]))]
        for headers in (*wrong, {"Authorization": KEY}, {"Authorization": f"Basic {KEY}"}):
            refused = client.post("/predict", json=ROW, headers=headers)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"].startswith("Bearer")
            assert refused.json()["type"] == "/docs#error-wrong-key"
        for headers in ({"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}, {"Authorization": f"bearer {KEY}"}):
            assert client.post("/predict", json=ROW, headers=headers).status_code == 200
        for path in ("/metrics", "/model", "/docs", "/openapi.json", "/nowhere"):
            assert client.get(path).status_code == 401
        for path in ("/livez", "/health", "/healthz", "/ping", "/", "/pages/style.css"):
            assert client.get(path).status_code == 200


def test_the_schema_says_what_asks_for_a_key(settings: Settings, shared: TestClient) -> None:
    with started(settings, api_key=SecretStr(KEY)) as client:
        schema = client.get("/openapi.json", headers={"X-API-Key": KEY}).json()
    assert schema["components"]["securitySchemes"]["Key"] == {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    predict, health = schema["paths"]["/predict"]["post"], schema["paths"]["/livez"]["get"]
    assert predict["security"] == [{"Bearer": []}, {"Key": []}]  # either of them
    assert {"401", "429"} <= predict["responses"].keys()
    assert "security" not in health
    assert "401" not in health["responses"]
    keyless = shared.get("/openapi.json").json()
    assert "securitySchemes" not in keyless["components"]
    assert "401" not in keyless["paths"]["/predict"]["post"]["responses"]


def test_keys_of_a_file_are_changed_while_the_service_runs(
    registry: FakeRegistry, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "_LOOK_AGAIN_SECONDS", 0.0)
    file = tmp_path / "keys.txt"
    file.write_text(f"# clients\n{KEY}\n")
    registry.add(regression_model())
    with live(settings, api_key_file=file) as client:
        assert (ask(client, KEY), ask(client, OTHER)) == (200, 401)
        file.write_text(f"{KEY}\n\n{OTHER}\n")
        assert (ask(client, KEY), ask(client, OTHER)) == (200, 200)
        file.write_text(f"{OTHER}\n")
        assert (ask(client, KEY), ask(client, OTHER)) == (401, 200)
        for damage in ("short\n", ""):
            file.write_text(damage)
            assert (ask(client, KEY), ask(client, OTHER)) == (401, 200)
        file.unlink()
        assert (ask(client, KEY), ask(client, OTHER)) == (401, 200)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("short", "API_KEY: the key has less than 20 characters"),
        ("a" * 40, "too few different ones"),
        ("changeme-changeme-0123456789", "contains 'changeme'"),
        ("MySecretPassword2026!", "contains 'password'"),
        ("ein schlüssel mit umlaut 42", "cannot carry"),
        ("# only a comment", "holds no key"),
        (f"{KEY}\nshort", "API_KEY, line 2"),
    ],
)
def test_a_key_that_could_be_guessed_is_refused_without_being_told(text: str, says: str) -> None:
    with pytest.raises(StartRefused, match=says) as refused:
        read_keys(text, "API_KEY")
    assert text not in refused.value.detail


def test_empty_variables_switch_keys_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "API_KEY", "")
    monkeypatch.setitem(os.environ, "API_KEY_FILE", "")
    settings = read_settings()
    assert (settings.api_key, settings.api_key_file) == (None, None)
    monkeypatch.setenv("API_KEY", KEY)
    assert KEY not in repr(read_settings())
