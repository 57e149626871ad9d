"""Runs, versions and aliases, as the tracking server has them."""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import count, takewhile
from pathlib import Path
from typing import Any, Self

# The client's own defaults block for minutes when the server is away, and it phones home; both are decided at import.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # stdout is for the result

import requests
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS, MLFLOW_RUN_NOTE

import mlflow
from mlflow import MlflowClient
from training.errors import ConfigError, FileGone, TrackingError, WrongModel
from training.model import signing

KEY_TAG = "pipeline.run_key"
DIGEST_TAG = "model_sha256"
SIGNATURE_TAG = "model_signature"
BASELINE_TAG = "pipeline.baseline"
FEEDBACK_TAG = "pipeline.feedback_digest"  # of a version: which labelled predictions it was trained on besides the file
SOURCE_TAG = "pipeline.data_source"  # of a run: data.source as configured, whatever file stood in for it
MODEL_FILE = "model.onnx"
TEST_ROWS_FILE, REPORT_FILE = "test-rows.parquet", "data-report.json"  # of a run
DEFAULT_URI = "http://127.0.0.1:5001"
NOT_FOUND = 404
TAG_CHARACTERS = 5000  # MLflow takes 8,000 bytes
NOTE = MLFLOW_RUN_NOTE  # what MLflow's page shows as the description of a run, or of an experiment
ABOUT = {  # of each experiment, by what follows the model's name in its own
    "": "Trainings of **{name}**: one run for each, with its trials as child runs. The registered model of the same "
    "name has the versions.",
    "-ledger": "Every decision on a version of **{name}**: promotions, refusals and rollbacks, each with its reasons.",
    "-monitor": "Live traffic of **{name}**: a run for each window, with a report, and one for each request to train.",
}

log = logging.getLogger(__name__)


def as_tags(name: str, text: str) -> dict[str, str]:
    """A text of any length as tags of a run: `name`, `name.1`, `name.2` and so on."""
    starts = range(0, len(text), TAG_CHARACTERS)
    return {f"{name}.{i}" if i else name: text[start : start + TAG_CHARACTERS] for i, start in enumerate(starts)}


def from_tags(name: str, tags: Mapping[str, str]) -> str:
    return "".join(takewhile(bool, (tags.get(f"{name}.{i}" if i else name, "") for i in count())))


class Registry:
    """The tracking server as the pipeline sees it, for one model name."""

    def __init__(self, name: str, alias: str) -> None:
        self.name, self.alias = name, alias
        self.uri = os.environ.get("MLFLOW_TRACKING_URI", DEFAULT_URI)
        if self.uri.startswith("http"):
            try:  # one quick question in place of the client's long retries
                requests.get(f"{self.uri}/health", timeout=5).raise_for_status()
            except requests.RequestException as error:
                raise TrackingError(self.uri, f"no answer ({type(error).__name__})") from None
        mlflow.set_tracking_uri(self.uri)
        self.client = MlflowClient()

    @contextmanager
    def speaking(self) -> Iterator[Self]:
        """Turns the client's failures into TrackingError."""
        try:
            yield self
        except (MlflowException, requests.RequestException) as error:
            raise TrackingError(self.uri, " ".join(str(error).split())[:500]) from error

    def find_experiment(self, name: str) -> str | None:
        """The id of the experiment, if it is there. One that was deleted in MLflow's page is restored with its runs:
        its name stays taken, so nothing could be written any more."""
        found = self.client.get_experiment_by_name(name)
        if found is not None and found.lifecycle_stage == "deleted":
            log.warning("experiment '%s' was deleted in the tracking server; it is restored", name)
            self.client.restore_experiment(found.experiment_id)
        return str(found.experiment_id) if found else None

    def experiment(self, name: str) -> str:
        if found := self.find_experiment(name):
            return found
        about = {NOTE: ABOUT[name.removeprefix(self.name)].format(name=self.name)}
        return str(self.client.create_experiment(name, tags=about))

    def note(self, experiment: str, name: str, tags: dict[str, str], text: str, start_time: int | None = None) -> str:
        """Creates a run, which is complete from its creation, with a text for people; returns its id."""
        tags = tags | {NOTE: text[:TAG_CHARACTERS]}
        run = self.client.create_run(self.experiment(experiment), start_time=start_time, run_name=name, tags=tags)
        return str(run.info.run_id)

    def notes(self, experiment: str, where: str = "", most: int | None = None) -> list[Run]:
        """The runs of an experiment that may not be there yet, or the last `most` of them, newest first."""
        found: list[Run] = []
        page, known, order = None, self.find_experiment(experiment), ["attributes.start_time DESC"]
        while known:
            part = self.client.search_runs([known], where, max_results=most or 1000, order_by=order, page_token=page)
            found, page = [*found, *part], part.token
            if most or not page:
                break
        return found

    def version_with_key(self, key: str) -> ModelVersion | None:
        """The version that a run with this key registered, if its run came to its end."""
        found = self.client.search_model_versions(f"name = '{self.name}' and tags.`{KEY_TAG}` = '{key}'")
        return max(found, key=lambda version: int(version.version), default=None)

    def holder(self) -> ModelVersion | None:
        return self._version(self.client.get_model_version_by_alias, self.alias)

    def numbered(self, number: str) -> ModelVersion | None:
        return self._version(self.client.get_model_version, number)

    def _version(self, get: Callable[[str, str], ModelVersion], which: str) -> ModelVersion | None:
        try:
            return get(self.name, which)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def register(self, model_uri: str, tags: dict[str, str], description: str) -> ModelVersion:
        """Registers a logged model. Tags and page come with the version, so that no half-made version is found."""
        try:
            about = "Versions that training registered; each has a model card with the gate's verdict."
            self.client.create_registered_model(self.name, description=about)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        model_id = model_uri.rpartition("/")[2]
        version = self.client.create_model_version(
            self.name, model_uri, tags=tags, description=description, model_id=model_id
        )
        # By this the page of the logged model links to the version.
        link = json.dumps([{"name": version.name, "version": version.version}])
        self.client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: link})
        return version

    def model_content(self, version: ModelVersion) -> bytes:
        """The serialized model of a version. Raises FileGone."""
        location = self.client.get_model_version_download_uri(self.name, version.version)
        return self._content(version, MODEL_FILE, artifact_uri=f"{location}/{MODEL_FILE}")

    def run_file(self, version: ModelVersion, file: str) -> bytes:
        """A file of the run that trained the version. Raises FileGone."""
        return self._content(version, file, run_id=version.run_id, artifact_path=file)

    def _content(self, version: ModelVersion, file: str, **place: Any) -> bytes:
        with tempfile.TemporaryDirectory() as folder, self._of(version, file):
            return Path(mlflow.artifacts.download_artifacts(**place, dst_path=folder)).read_bytes()

    def verified_content(self, version: ModelVersion) -> bytes:
        """The serialized model of a version, as it was registered and signed. Raises WrongModel, WrongSignature."""
        content, digest = self._registered_content(version)
        signing.check(self.name, version.version, digest, version.tags.get(SIGNATURE_TAG, ""))
        return content

    def _registered_content(self, version: ModelVersion) -> tuple[bytes, str]:
        content = self.model_content(version)
        found, registered = hashlib.sha256(content).hexdigest(), version.tags.get(DIGEST_TAG, "")
        if found != registered.lower():
            known = f"expected SHA-256 {registered[:12]}..." if registered else "the tag model_sha256 is missing"
            hint = "changed after training, or the version was registered by something else: use another one."
            raise WrongModel(self.name, version.version, f"{known}, found {found[:12]}...", f"The file was {hint}")
        return content, found

    def sign(self, number: str | None) -> dict[str, str]:
        """Signs a version that somebody vouches for: one of before there were signatures, or of a retired key."""
        version = self.numbered(number) if number else self.holder()
        if version is None:
            raise ConfigError(
                f"'{self.name}' has no version {number}"
                if number
                else f"'{self.name}' has no version with the alias {self.alias}",
                f"Name one with --version: {', '.join(self.versions()) or 'there is none yet'}.",
            )
        _, digest = self._registered_content(version)
        self.client.set_model_version_tag(self.name, version.version, SIGNATURE_TAG, signing.sign(self.name, digest))
        return {"status": "signed", "version": str(version.version), "digest": digest}

    def run_of(self, version: ModelVersion) -> Run:
        with self._of(version, "training run"):
            return self.client.get_run(str(version.run_id))

    @contextmanager
    def _of(self, version: ModelVersion, what: str) -> Iterator[None]:
        """Tells what was removed from the tracking server from a server that fails."""
        try:
            yield
        except (MlflowException, OSError) as error:  # requests' errors are OSErrors
            cause: BaseException | None = error
            while cause and not isinstance(cause, requests.HTTPError):
                cause = cause.__cause__ or cause.__context__
            missing = getattr(getattr(cause, "response", None), "status_code", None) == NOT_FOUND
            unknown = getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST"
            if missing or unknown or isinstance(error, FileNotFoundError):
                raise FileGone(self.name, version.version, what) from error
            raise

    def versions(self, since: datetime | None = None) -> list[str]:
        """Every version, or every one registered after `since`, the oldest first."""
        least = since.timestamp() * 1000 if since else 0
        found = self.client.search_model_versions(f"name = '{self.name}'")
        return sorted((str(one.version) for one in found if one.creation_timestamp > least), key=int)

    def point_alias(self, version: str) -> None:
        """Makes the alias name the version; nothing where that is empty."""
        if version:
            self.client.set_registered_model_alias(self.name, self.alias, version)
        else:
            self.client.delete_registered_model_alias(self.name, self.alias)

    def describe(self, version: ModelVersion, description: str, gate: str) -> None:
        """Sets the version's page and the tag that lists of versions show."""
        if (version.description, version.tags.get("gate")) != (description, gate):
            self.client.update_model_version(self.name, version.version, description)
            self.client.set_model_version_tag(self.name, version.version, "gate", gate)
