"""Only what the training side signed is served, whatever the registry says."""

import hashlib
from collections.abc import Callable, Iterator

import pytest
from conftest import live, started, wait_until
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi.testclient import TestClient
from model_files import regression_model
from prediction_api.settings import Settings
from registry_server import KEY, FakeRegistry, publish, sign

ROW = {"fixed acidity": 8.0, "alcohol": 9.0, "type": "red"}
FORGED = regression_model(1.0)
DIGEST = hashlib.sha256(FORGED).hexdigest()
OTHER = Ed25519PrivateKey.generate()


def refused(client: TestClient) -> tuple[str, str] | None:
    said = client.get("/readyz").json()["refused"]
    return said and (said["version"], said["reason"])


@pytest.fixture
def served(registry: FakeRegistry, settings: Settings) -> Iterator[TestClient]:
    """The service with a signed version 1 live."""
    registry.add(regression_model(0.5))
    with live(settings) as client:
        yield client


def replaced_in_place(registry: FakeRegistry) -> str:
    """The artifact and its digest tag are written over; the signature of the old one stays."""
    registry.versions["1"].content = FORGED
    registry.versions["1"].tags["model_sha256"] = DIGEST
    registry.models["wine-quality"].created += 1  # or else the live version would not be looked at again at all
    return "1"


def forged(signature: Callable[[FakeRegistry], str | None]) -> Callable[[FakeRegistry], str]:
    def add(registry: FakeRegistry) -> str:
        return registry.add(FORGED, signature=signature(registry))

    return add


@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        (replaced_in_place, "signature-wrong"),
        (forged(lambda _: None), "signature-missing"),
        (forged(lambda registry: registry.versions["1"].tags["model_signature"]), "signature-wrong"),
        (forged(lambda _: sign("wine-quality", DIGEST, OTHER)), "signature-wrong"),
        (forged(lambda _: sign("another-model", DIGEST)), "signature-wrong"),
        (forged(lambda _: "no base64!"), "signature-wrong"),
        (forged(lambda _: "é"), "signature-wrong"),
    ],
    ids=["in place", "unsigned", "another version's", "another key's", "another model's", "no base64", "no ASCII"],
)
def test_a_forged_version_is_refused_and_the_signed_one_serves_on(
    registry: FakeRegistry, served: TestClient, attack: Callable[[FakeRegistry], str], reason: str
) -> None:
    version = attack(registry)
    wait_until(lambda: refused(served) == (version, reason))
    assert served.post("/predict", json=ROW).json()["prediction"] == 13.0
    assert registry.downloads == ["1"]  # not even fetched


def test_a_file_that_is_not_the_signed_one_is_refused(registry: FakeRegistry, served: TestClient) -> None:
    signed = regression_model(0.25)
    version = registry.add(signed)
    registry.versions[version].content = FORGED
    wait_until(lambda: refused(served) == (version, "digest-mismatch"))


def test_a_forged_copy_is_not_loaded(registry: FakeRegistry, settings: Settings, served: TestClient) -> None:
    """Whoever can write to the folder of copies writes the record beside the model, too."""
    folder = settings.models_dir / "wine-quality"
    wait_until((folder / "1.json").exists)
    (folder / "1.onnx").write_bytes(FORGED)
    record = (folder / "1.json").read_text().replace(registry.versions["1"].tags["model_sha256"], DIGEST)
    (folder / "1.json").write_text(record)
    registry.stop()
    with started(settings) as client:
        assert client.get("/readyz").status_code == 503
        assert refused(client) == ("1", "signature-wrong")


def test_a_copy_of_a_retired_key_is_not_loaded(registry: FakeRegistry, settings: Settings, served: TestClient) -> None:
    wait_until((settings.models_dir / "wine-quality" / "1.json").exists)
    registry.stop()
    publish(settings.signing_public_keys, OTHER)  # in the place of the first one
    with started(settings) as client:
        assert refused(client) == ("1", "signature-wrong")


def test_the_keys_are_read_at_each_look_and_several_may_be_valid(
    registry: FakeRegistry, settings: Settings, served: TestClient
) -> None:
    registry.add(FORGED, signature=sign("wine-quality", DIGEST, OTHER))
    wait_until(lambda: refused(served) == ("2", "signature-wrong"))
    publish(settings.signing_public_keys, OTHER, "b")
    wait_until(lambda: served.post("/predict", json=ROW).json()["model"]["version"] == "2")
    registry.add(regression_model(0.25))
    wait_until(lambda: served.post("/predict", json=ROW).json()["model"]["version"] == "3")


@pytest.mark.parametrize("content", [None, b"no key", KEY.private_bytes_raw()])
def test_without_a_public_key_nothing_is_served_until_there_is_one(
    registry: FakeRegistry, settings: Settings, content: bytes | None
) -> None:
    (settings.signing_public_keys / "a.pem").unlink()
    if content is not None:
        (settings.signing_public_keys / "b.pem").write_bytes(content)
    registry.add(regression_model())
    with started(settings) as client:
        wait_until(lambda: refused(client) == ("1", "no-public-key"))
        assert "SIGNING_PUBLIC_KEYS" in client.get("/readyz").json()["refused"]["hint"]
        publish(settings.signing_public_keys)
        wait_until(lambda: client.get("/readyz").status_code == 200)
