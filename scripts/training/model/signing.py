"""Signatures of models: Ed25519 over the model's name and the SHA-256 of `model.onnx`.

The private key stays with the training side (SIGNING_KEY); the folder of public keys (SIGNING_PUBLIC_KEYS) is what
the prediction service gets. Every key in that folder is valid, so a rotation does not invalidate older versions.
"""

import base64
import hashlib
import logging
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from training.errors import ConfigError, WrongSignature

log = logging.getLogger(__name__)

_HOME = Path(__file__).parents[3] / "var" / "signing"


def key_file() -> Path:
    return Path(os.environ.get("SIGNING_KEY") or _HOME / "private" / "key.pem")


def public_folder() -> Path:
    return Path(os.environ.get("SIGNING_PUBLIC_KEYS") or _HOME / "public")


def sign(name: str, digest: str) -> str:
    """The signature of a model's file in base64; `digest` is its SHA-256 in hex. Raises ConfigError."""
    return base64.b64encode(_private_key().sign(_message(name, digest))).decode()


def check(name: str, version: str, digest: str, signature: str) -> None:
    """Returns when one of the public keys signed this digest under this name. Raises WrongSignature."""
    keys = _public_keys()
    if not keys:
        hint = "Set SIGNING_PUBLIC_KEYS to the folder with training's public keys (docs/reference/model-checks.md)"
        raise WrongSignature(name, version, f"expected a public key (*.pem) in {public_folder()}, found none", hint)
    trust = f"If you trust it, sign it: `make sign VERSION={version}`; otherwise do not use it."
    if not signature:
        raise WrongSignature(name, version, "it is not signed (no tag model_signature)", trust)
    for key in keys.values():
        try:
            key.verify(base64.b64decode(signature, validate=True), _message(name, digest))
        except (InvalidSignature, ValueError):
            continue
        return
    found = f"its signature was made for another file or name, or by none of the keys {', '.join(keys)}"
    raise WrongSignature(name, version, found, f"It was forged or changed, or its key was retired. {trust}")


def keys() -> dict[str, Any]:
    """The key that signs, made where there is none, and all that are valid. Raises ConfigError."""
    current, valid = _id(_private_key().public_key()), list(_public_keys())
    log.info("signing with %s; valid: %s (%s)", current, ", ".join(valid), public_folder())
    return {"current": current, "valid": valid, "private": str(key_file()), "public": str(public_folder())}


def rotate() -> dict[str, Any]:
    """Signs with a new key from now on. The public key of the old one stays valid until it is retired."""
    _private_key()
    key = Ed25519PrivateKey.generate()
    _publish(key.public_key())  # first, so that nothing is ever signed by a key that nobody knows
    _write(key_file(), _private_pem(key), 0o600, replace=True)
    return keys()


def retire(key: str | None) -> dict[str, Any]:
    """Removes a public key: what it signed is refused from now on. Raises ConfigError."""
    found = keys()
    if key == found["current"]:
        raise ConfigError(f"{key} is the key that signs", "Rotate first: `make rotate-key`.")
    if key not in found["valid"]:
        others = [one for one in found["valid"] if one != found["current"]]
        raise ConfigError(
            f"no public key {key}" if key else "retire: expected the name of a key, found none",
            f"One of: {', '.join(others)}." if others else "The only one is the key that signs.",
        )
    (public_folder() / f"{key}.pem").unlink()
    log.warning("versions signed by %s are refused from now on; sign those that should serve again: make sign", key)
    return keys()


def _message(name: str, digest: str) -> bytes:
    return f"prediction-model-signature:v1\n{name}\n{digest.lower()}\n".encode()


def _private_key() -> Ed25519PrivateKey:
    path = key_file()
    try:
        if not path.exists():
            _write(path, _private_pem(Ed25519PrivateKey.generate()), 0o600, replace=False)
            log.info("made the signing key %s", path)
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise TypeError("another kind of key")  # noqa: TRY301
        _publish(key.public_key())
    except OSError as error:
        hint = "Set SIGNING_KEY and SIGNING_PUBLIC_KEYS to places that the training job can write to."
        raise ConfigError(f"{error.filename or path}: {error.strerror}; it is for the signing key", hint) from None
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        hint = "Put the right file back, or remove it: a new key is made then, and the old public keys stay valid."
        raise ConfigError(f"{path}: expected an Ed25519 private key (PEM), found: {error}", hint) from None
    return key


def _public_keys() -> dict[str, Ed25519PublicKey]:
    """All valid keys by name. Raises ConfigError for a file that holds none."""
    found = {}
    for path in sorted(public_folder().glob("*.pem")):
        try:
            key = serialization.load_pem_public_key(path.read_bytes())
        except (OSError, ValueError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PublicKey):
            raise ConfigError(f"{path}: expected an Ed25519 public key (PEM), found another file", "Remove it.")
        found[path.stem] = key
    return found


def _publish(key: Ed25519PublicKey) -> None:
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    _write(public_folder() / f"{_id(key)}.pem", pem, 0o644, replace=False)


def _id(key: Ed25519PublicKey) -> str:
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def _private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes, mode: int, replace: bool) -> None:
    """Creates the file whole or not at all. Without `replace`, one that is there stays, and the first of several that
    start at once wins."""
    if path.exists() and not replace:
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if mode == 0o600 else 0o755)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            draft.replace(path)
        else:
            with suppress(FileExistsError):
                path.hardlink_to(draft)
    finally:
        draft.unlink(missing_ok=True)
