"""The command line: progress on stderr, one JSON object on stdout, exit codes 0 to 3 (see `errors`) and 99.

A command imports its part of the job when it runs: that takes seconds, and wrong options are reported at once.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from training import config as configuration
from training.config import Config
from training.data.files import alone
from training.errors import ConfigError, PipelineError, TableProblems, Unforeseen

log = logging.getLogger(__name__)

SKIPPED = 99  # Airflow marks a task as skipped by this exit code
Options = argparse.Namespace
Run = Callable[[Any, Options], dict[str, Any]]


@dataclass(frozen=True)
class Command:
    """`about` is its line of help, `options` are argparse's arguments. `shared` adds the options that name a training
    run, so that the commands that follow a training find what it left. Without `configured`, `run` gets no Config."""

    about: str
    run: Run
    options: Sequence[tuple[str, Mapping[str, Any]]] = ()
    shared: bool = True
    configured: bool = True


COMMANDS: dict[str, Command] = {}


def command(
    about: str, shared: bool = True, configured: bool = True, **options: Mapping[str, Any]
) -> Callable[[Run], Run]:
    """Makes a function the command of its name. An option with `nargs` is given by its place."""

    def add(run: Run) -> Run:
        named = [(name if "nargs" in one else f"--{name.replace('_', '-')}", one) for name, one in options.items()]
        COMMANDS[run.__name__] = Command(about, run, named, shared, configured)
        return run

    return add


def _flag(about: str) -> dict[str, Any]:
    return {"action": "store_true", "help": about}


def _value(kind: str, about: str, **more: Any) -> dict[str, Any]:
    return {"metavar": kind, "help": about, **more}


@command("read and check the table; change nothing")
def check(config: Config, _: Options) -> dict[str, Any]:
    from training.data import table

    return table.check(config)


@command("search, fit, export, sign, register")
def train(config: Config, _: Options) -> dict[str, Any]:
    from training import train as training
    from training.model import signing

    signing.keys()  # a key that cannot be made is reported now, not after the search
    return training.train(config)


@command(
    "judge the trained version against production; move the alias, or refuse with reasons",
    strict=_flag("exit 1 when the gate refuses"),
    skip=_flag("exit 99 when the gate refuses"),
)
def promote(config: Config, options: Options) -> dict[str, Any]:
    from training.promotion import promote as promotion

    found = promotion.promote(config, options.strict)
    if options.skip and found["action"] not in ("promoted", "unchanged"):
        why = "; ".join(reason["text"] for reason in found["reasons"] if not reason["passed"])
        return found | {"skipped": f"version {found['version']}: {found['action']}: {why}"}
    return found


@command(
    "wait until the service serves the promoted version; move back when it refuses it",
    skip=_flag("exit 99 where it serves, and this DAG run did not move the alias"),
)
def verify(config: Config, options: Options) -> dict[str, Any]:
    from training.promotion import verify as verification

    found = verification.verify(config)
    if options.skip and not found.get("moved"):
        return found | {"skipped": "the alias named that version before this run"}
    return found


@command(
    "move the alias back to the version that served before",
    to=_value("VERSION", "another version than the one before"),
)
def rollback(config: Config, options: Options) -> dict[str, Any]:
    from training.promotion import promote as promotion

    return promotion.rollback(config, options.to)


@command(
    "measure the live traffic: drift, error, a changed data file; ask for training where the policy says so",
    dry_run=_flag("measure and decide, write nothing"),
)
def monitor(config: Config, options: Options) -> dict[str, Any]:
    from training.monitoring import watch

    return watch.watch(config, options.dry_run)


@command("whether the monitor asked for training in this DAG run; exit 99 when not")
def retraining(config: Config, _: Options) -> dict[str, Any]:
    from training.monitoring import watch

    found = watch.asked(config)
    return found if found["asked"] else found | {"skipped": found["text"]}


@command(
    "predict every row of a table as the prediction service would",
    shared=False,
    input=_value("FILE", "CSV or Parquet; a path or a glob", required=True),
    output=_value("FOLDER", "the rows with their predictions", required=True, type=Path),
    rejected=_value("FOLDER", "the other rows, with reasons; default: OUTPUT-rejected", type=Path),
    format={"choices": ["parquet", "csv"], "default": "parquet", "help": "default: %(default)s"},
    safe=_flag("CSV: an apostrophe before what a spreadsheet program would run"),
    version=_value("N", "default: the one in production"),
    overwrite=_flag("replace an earlier result"),
)
def score(config: Config, options: Options) -> dict[str, Any]:
    from training.scoring.batch import Places
    from training.scoring.batch import score as score_table

    rejected = options.rejected or options.output.with_name(f"{options.output.name}-rejected")
    places = Places(options.input, options.output, rejected, options.format, options.overwrite, options.safe)
    return score_table(config, places, options.version)


@command(
    "what is in production, since when, and why",
    all=_flag("also of each file in the folder pipelines/ beside the pipeline file"),
)
def status(config: Config, options: Options) -> dict[str, Any]:
    from training.promotion import status as overview

    if not options.all:
        return overview.status(config)
    models: list[dict[str, Any]] = [overview.status(config)]
    for path in sorted((options.config.parent / "pipelines").glob("*.yaml")):
        try:
            models.append(overview.status(configuration.load(path)))
        except ConfigError as error:  # of one file: the others are shown all the same
            print(f"error: {error.message}\n  hint: {error.hint}", file=sys.stderr)
            models.append({"config": str(path), "error": error.message})
    return {"models": models}


@command(
    "every decision on the model, or what was in production at a time",
    at=_value("TIME", "like 2026-11-24T10:00, in UTC"),
)
def history(config: Config, options: Options) -> dict[str, Any]:
    from training.promotion import status as overview

    return overview.past(config, options.at)


@command(
    "sign a version that you vouch for: one trained before there were signatures, or signed by a retired key",
    shared=False,
    version=_value("N", "default: the one in production"),
)
def sign(config: Config, options: Options) -> dict[str, Any]:
    from training.tracking.registry import Registry

    registry = Registry(config.name, config.serving.alias)
    with registry.speaking():
        return registry.sign(options.version)


@command(
    "the key that signs models; rotate it, or retire an old one",
    configured=False,
    action={"nargs": "?", "choices": ["rotate", "retire"], "help": "default: make sure that there is a key"},
    key=_value("KEY", "the one to retire", nargs="?"),
)
def keys(_: None, options: Options) -> dict[str, Any]:
    from training.model import signing

    if options.action == "retire":
        return signing.retire(options.key)
    return signing.rotate() if options.action == "rotate" else signing.keys()


class _Parser(argparse.ArgumentParser):
    """Reports wrong options as every other error is reported."""

    def error(self, message: str) -> NoReturn:
        _fail(ConfigError(message, f"{self.prog} --help prints what there is."))


class _PrintSchema(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(json.dumps(Config.model_json_schema(), indent=2))
        parser.exit()


def main(arguments: Sequence[str] | None = None) -> None:
    """Parses the options, loads the configuration, runs the command, prints its result, exits."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("training").setLevel(logging.INFO)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    try:
        chosen = COMMANDS[options.command]
        result = chosen.run(_configured(options) if chosen.configured else None, options)
    except PipelineError as error:
        _fail(error)
    except Exception as error:  # Python's own exit code for it, 1, would say that the input was refused
        log.exception("not foreseen:")
        _fail(Unforeseen(error))
    print(json.dumps(result))
    if "skipped" in result:
        print(f"skipped: {result['skipped']}", file=sys.stderr)
        sys.exit(SKIPPED)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(description="The training job, one command for each step.", allow_abbrev=False)
    parser.add_argument("--schema", action=_PrintSchema, nargs=0, help="print the schema of pipeline.yaml")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, one in COMMANDS.items():
        added = commands.add_parser(name, help=one.about, description=one.about, allow_abbrev=False)
        if one.configured:
            added.add_argument(
                "--config", type=Path, default=Path("pipeline.yaml"), metavar="FILE", help="default: %(default)s"
            )
            added.add_argument("--name", help="another name for experiment and model")
            added.set_defaults(data="", trials=None, gate=None)
        if one.configured and one.shared:
            added.add_argument("--data", metavar="FILE", help="another table than data.source")
            added.add_argument("--trials", type=int, metavar="N", help="search.trials")
            added.add_argument("--gate", choices=["enforce", "dry_run", "off"], help="gate.mode")
        for option, settings in one.options:
            added.add_argument(option, **settings)
    return parser


def _fail(error: PipelineError) -> NoReturn:
    print(f"error: {error.message}\n  hint: {error.hint}", file=sys.stderr)
    said: dict[str, Any] = {"status": "error", "error": type(error).__name__}
    said |= {"detail": error.message, "hint": error.hint}
    if isinstance(error, TableProblems):
        said["problems"] = [{"detail": one.message, "hint": one.hint} for one in error.problems]
    print(json.dumps(said))
    sys.exit(error.exit_code)


def _configured(options: Options) -> Config:
    given = {
        "name": options.name,
        "data.source": options.data,
        "search.trials": options.trials,
        "gate.mode": options.gate,
    }
    config = configuration.load(options.config, {key: value for key, value in given.items() if value not in (None, "")})
    return config.model_copy(update={"data": alone(config.data)}) if options.data else config
