"""Signatures of models: Ed25519 over the model's name and the SHA-256 of its file, made by the training side alone."""

import base64
import logging
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from prediction_api.errors import DigestMissing, NoPublicKey, SignatureMissing, SignatureWrong
from prediction_api.telemetry.events import log_event


class PublicKeys:
    """The folder SIGNING_PUBLIC_KEYS: each *.pem in it is a key whose signatures are valid. Read again at each use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def state(self) -> tuple[tuple[str, int], ...]:
        """What changes when a key is added, replaced or removed; empty where there is none."""
        try:
            return tuple(sorted((path.name, path.stat().st_mtime_ns) for path in self._folder.glob("*.pem")))
        except OSError:
            return ()

    def check(self, model: str, sha256: str, signature: str | None) -> None:
        """Raises DigestMissing, SignatureMissing, NoPublicKey or SignatureWrong unless a valid key signed the file."""
        if not sha256:
            raise DigestMissing(f"{model!r}: the version has no tag model_sha256")
        if not signature:
            raise SignatureMissing(f"{model!r}: the version has no tag model_signature")
        keys = self._read()
        if not keys:
            raise NoPublicKey(f"{self._folder} holds no Ed25519 public key (*.pem)")
        message = f"prediction-model-signature:v1\n{model}\n{sha256.lower()}\n".encode()
        for key in keys:
            try:
                key.verify(base64.b64decode(signature, validate=True), message)
            except (InvalidSignature, ValueError):  # ValueError: no base64
                continue
            return
        raise SignatureWrong(
            f"{model!r}: the signature was made for another file or name, or by none of the {len(keys)} valid keys"
        )

    def _read(self) -> list[Ed25519PublicKey]:
        keys = []
        for path in sorted(self._folder.glob("*.pem")):
            try:
                key = load_pem_public_key(path.read_bytes())
            except (OSError, ValueError, UnsupportedAlgorithm) as error:
                log_event("public key not read", level=logging.WARNING, file=path.name, detail=str(error)[:200])
                continue
            if isinstance(key, Ed25519PublicKey):
                keys.append(key)
        return keys
