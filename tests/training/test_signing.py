"""Signed models: the attacks, as somebody would make them who can write to the tracking server and has no key."""

import base64
import hashlib
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import versions
from training import cli
from training.errors import ConfigError, WrongModel, WrongSignature
from training.model import signing
from training.tracking.registry import DIGEST_TAG, KEY_TAG, SIGNATURE_TAG
from versions import FAIR, GOOD, Model, failed

pytestmark = pytest.mark.usefixtures("tracking")


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for new keys."""
    monkeypatch.setenv("SIGNING_KEY", str(tmp_path / "private" / "key.pem"))
    monkeypatch.setenv("SIGNING_PUBLIC_KEYS", str(tmp_path / "public"))
    return tmp_path


def served(model: Model) -> bytes:
    """The content of the version in production, as monitoring and scoring ask for it."""
    holder = model.registry.holder()
    assert holder is not None
    return model.registry.verified_content(holder)


def replace_file(model: Model, version: str, slope: float) -> None:
    """Replaces a version's file in the tracking server and the digest beside it."""
    content = versions.model(versions.contract(model.name, slope), slope)
    path = model.folder / "model.onnx"
    path.write_bytes(content)
    model.client.log_artifact(model.client.get_model_version(model.name, version).run_id, str(path), "model")
    model.client.set_model_version_tag(model.name, version, DIGEST_TAG, hashlib.sha256(content).hexdigest())


def test_a_replaced_file_with_a_replaced_digest_is_refused(model: Model) -> None:
    model.serve(FAIR)
    assert served(model)
    replace_file(model, "1", GOOD)
    with pytest.raises(WrongSignature, match=r"version 1 of .*: its signature was made for another file or name"):
        served(model)
    model.train(GOOD)
    answer = model.promote()
    assert failed(answer) == {"champion_cannot_score"}
    assert "signature was made for another file" in answer["reasons"][0]["text"]


def test_the_gate_does_not_judge_a_forged_challenger(model: Model) -> None:
    model.serve(FAIR)
    replace_file(model, model.train(FAIR), GOOD)
    with pytest.raises(WrongSignature):
        model.promote()
    assert model.production() == "1"


def test_an_alias_moved_to_an_unsigned_version_is_refused(model: Model) -> None:
    model.train(FAIR)
    model.client.delete_model_version_tag(model.name, "1", SIGNATURE_TAG)
    model.registry.point_alias("1")
    with pytest.raises(WrongSignature, match=r"it is not signed \(no tag model_signature\)") as raised:
        served(model)
    assert "make sign VERSION=1" in raised.value.hint


def test_a_wholly_forged_version_is_refused(model: Model, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every tag of a real one, and a signature by a key of the forger's own."""
    model.train(GOOD)
    monkeypatch.setenv("SIGNING_PUBLIC_KEYS", str(keys / "of-the-service"))
    monkeypatch.setenv("SIGNING_KEY", str(keys / "other" / "key.pem"))
    signing.keys()
    with pytest.raises(WrongSignature, match="by none of the keys"):
        model.promote()
    assert model.production() is None


def test_a_signature_holds_for_one_name(model: Model, tmp_path: Path) -> None:
    """A good model of another pipeline, registered under this name with all its tags."""
    model.train(FAIR)
    other = Model(tmp_path, f"{model.name}-other")
    copied = model.client.get_model_version(other.name, other.train(GOOD))
    tags = {**copied.tags, KEY_TAG: "x"}
    made = model.client.create_model_version(model.name, copied.source, copied.run_id, tags=tags)
    model.registry.point_alias(made.version)
    with pytest.raises(WrongSignature):
        served(model)


def test_an_older_version_is_signed_by_hand_and_a_changed_one_is_not(model: Model) -> None:
    model.train(FAIR)
    model.client.delete_model_version_tag(model.name, "1", SIGNATURE_TAG)
    assert model.registry.sign("1")["status"] == "signed"
    assert model.promote()["action"] == "promoted"
    model.client.set_model_version_tag(model.name, "1", DIGEST_TAG, "0" * 64)
    with pytest.raises(WrongModel):
        model.registry.sign(None)
    with pytest.raises(ConfigError, match="has no version 9"):
        model.registry.sign("9")


def test_the_key_is_private_from_its_first_moment_and_made_once(keys: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        current = {found["current"] for found in pool.map(lambda _: signing.keys(), range(8))}
    assert len(current) == 1
    assert stat.S_IMODE((keys / "private" / "key.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE((keys / "private").stat().st_mode) == 0o700
    assert [path.name for path in (keys / "private").iterdir()] == ["key.pem"]
    assert [path.stem for path in (keys / "public").iterdir()] == list(current)


def test_older_signatures_hold_after_a_rotation_until_their_key_is_retired(keys: Path) -> None:
    digest = "ab" * 32
    before, old = signing.sign("wine", digest), signing.keys()["current"]
    new = signing.rotate()["current"]
    assert signing.sign("wine", digest) != before
    for signature in (before, signing.sign("wine", digest)):
        signing.check("wine", "1", digest, signature)
    with pytest.raises(ConfigError, match="is the key that signs"):
        signing.retire(new)
    assert signing.retire(old)["valid"] == [new]
    with pytest.raises(WrongSignature, match=f"by none of the keys {new}"):
        signing.check("wine", "1", digest, before)


def test_the_signed_message_is_the_one_that_the_service_checks(keys: Path) -> None:
    """Written out once, because the service has its own code for it."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    signature = base64.b64decode(signing.sign("wine", "AB" * 32))
    [path] = (keys / "public").glob("*.pem")
    key = load_pem_public_key(path.read_bytes())
    key.verify(signature, b"prediction-model-signature:v1\nwine\n" + b"ab" * 32 + b"\n")
    assert len(signature) == 64


def test_without_a_public_key_nothing_is_trusted(keys: Path) -> None:
    with pytest.raises(WrongSignature, match="expected a public key") as raised:
        signing.check("wine", "1", "ab" * 32, "")
    assert "SIGNING_PUBLIC_KEYS" in raised.value.hint


@pytest.mark.parametrize("signature", ["", "not base64!", "AAAA", "é"])
def test_what_is_no_signature_is_refused(keys: Path, signature: str) -> None:
    signing.keys()
    with pytest.raises(WrongSignature):
        signing.check("wine", "1", "ab" * 32, signature)


@pytest.mark.parametrize("place", ["private/key.pem", "public/other.pem"])
def test_a_file_that_is_no_key_is_named(keys: Path, place: str) -> None:
    (keys / place).parent.mkdir()
    (keys / place).write_text("nothing")
    with pytest.raises(ConfigError, match=f"{place}: expected an Ed25519"):
        signing.keys()


def test_the_commands(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["keys"])
    first = json.loads(capsys.readouterr().out)["current"]
    cli.main(["keys", "rotate"])
    second = json.loads(capsys.readouterr().out)["current"]
    assert {path.stem for path in (keys / "public").iterdir()} == {first, second}
    with pytest.raises(SystemExit):
        cli.main(["keys", "retire"])
    assert "expected the name of a key" in capsys.readouterr().err
