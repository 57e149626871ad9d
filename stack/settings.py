"""Where things are and which ports they use; the only module of the drivers that reads the environment.

Standard library only: what operates containers needs no environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stack.env_file import with_env_file
from stack.errors import StepFailed
from stack.ports import HOST, PORTS

ROOT = Path(__file__).resolve().parent.parent
_NAME = re.compile(
    r"""^name:[ \t]*(?:"([^"\n]+)"|'([^'\n]+)'|([^\s"'\[{#&*!|>%@`][^\n]*?))[ \t]*(?:[ \t]#.*)?$""", re.M
)
_VALID_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # as the pipeline file's schema says


@dataclass(frozen=True)
class Settings:
    """`config`: the pipeline file; `pipeline`: its name among the DAGs, None for any but those of `pipelines/`. `data`:
    the user's own file, else None. `model_name`: what the run registers. `state`: the folder for all that the programs
    keep, the project's own unless a driver wants one of its own."""

    root: Path
    ports: Mapping[str, int]
    config: Path
    data: Path | None
    model_name: str
    environment: Mapping[str, str]
    state: Path | None = None
    pipeline: str | None = None

    def dag(self, kind: str) -> str:
        """The DAG of this pipeline: `train`, `monitor` or `score`."""
        usual = {"train": "train_model", "monitor": "monitor_model", "score": "score_table"}
        return f"{kind}_{self.pipeline}" if self.pipeline else usual[kind]

    def url(self, program: str) -> str:
        """Where `program` answers."""
        return f"http://{HOST}:{self.ports[program]}"

    def python(self, environment: str) -> str:
        """The interpreter of `.venvs/ENVIRONMENT`."""
        return str(self.root / ".venvs" / environment / "bin" / "python")

    @property
    def var(self) -> Path:
        """The git-ignored folder for state and logs."""
        return self.home / "var"

    @property
    def home(self) -> Path:
        """Where var/, mlruns/ and models/ are."""
        return self.state or self.root


def read_settings(environment: Mapping[str, str] = os.environ, root: Path = ROOT) -> Settings:
    """From `PIPELINE` or `CONFIG`, `DATA` and `*_PORT`, in the environment or `.env`.

    Raises StepFailed for a missing file or an impossible port.
    """
    environment = with_env_file(environment, root)
    pipeline = environment.get("PIPELINE") or None
    config = (
        pipeline_file(root, pipeline)
        if pipeline
        else existing_file(environment.get("CONFIG") or str(root / "pipeline.yaml"), "CONFIG")
    )
    configured = configured_name(config)
    data = existing_file(environment["DATA"], "DATA") if environment.get("DATA") else None
    ports = {program: port_of(environment, program) for program in PORTS}
    dags = configured if config.parent == root / "pipelines" else None
    return Settings(root, ports, config, data, slug(data.stem) if data else configured, dict(environment), None, dags)


def pipeline_file(root: Path, name: str) -> Path:
    """The file in `pipelines/` with this name, inside it or as its own; or `pipeline.yaml`. Raises StepFailed."""
    known: dict[str, Path] = {}
    for path in [root / "pipeline.yaml", *sorted((root / "pipelines").glob("*.yaml"))]:
        if path.stem == name:
            return path
        try:
            known.setdefault(configured_name(path), path)
        except (StepFailed, OSError):
            continue  # asked for by its name, it would say what is wrong
    if name not in known:
        raise StepFailed(f"PIPELINE={name}: there is no such pipeline", f"choose one of: {', '.join(known)}")
    return known[name]


def port_of(environment: Mapping[str, str], program: str) -> int:
    """The port of `program`: its variable's value, else the usual one. Raises StepFailed."""
    variable = f"{program.upper()}_PORT"
    value = environment.get(variable) or str(PORTS[program])
    if not value.isdecimal() or not 0 < int(value) < 65536:
        raise StepFailed(f"{variable} is {value!r}", "give a number from 1 to 65535")
    return int(value)


def existing_file(value: str, variable: str) -> Path:
    """The absolute path of the file that `variable` names. Raises StepFailed when it is not there."""
    path = Path(value).expanduser().resolve()
    if not path.is_file():
        hint = "give the path of a file, relative to this folder"
        if "://" in value:
            hint = "write an address into a pipeline file, as data.source, and give that file with PIPELINE= or CONFIG="
        raise StepFailed(f"{variable}={value}: there is no such file", hint)
    return path


def configured_name(config: Path) -> str:
    """The model's name in the pipeline file. Raises StepFailed when the file does not give one."""
    try:
        found = _NAME.search(config.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise StepFailed(f"{config}: {error}", "save the file as UTF-8") from error
    if found is None:
        raise StepFailed(
            f"{config} gives no name", "its first line is `name: …`, the name of the model in the registry"
        )
    name = next(name for name in found.groups() if name)
    if not _VALID_NAME.fullmatch(name):
        hint = f"give it letters, digits, points, - and _, and begin with a letter or digit: name: {slug(name)}"
        raise StepFailed(f"{config}: the name {name!r} is none that the registry and a URL both take", hint)
    return name


def slug(text: str) -> str:
    """Lower-case letters, digits and hyphens: a name that the registry and a URL both take."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "model"
