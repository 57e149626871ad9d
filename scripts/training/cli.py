"""The command line: progress on stderr, one JSON object on stdout, exit codes 0 to 3 (see `errors`) and 99.

A command imports its part of the job when it runs: that takes seconds, and wrong options are reported at once.
"""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from training import config as configuration
from training.config import Config
from training.data.files import alone
from training.errors import ConfigError, PipelineError, TableProblems, Unforeseen

log = logging.getLogger(__name__)

SKIPPED = 99  # Airflow marks a task as skipped by this exit code
Options = argparse.Namespace
Answer = dict[str, Any]
Step = Callable[[Any, Options], Answer]


def check(config: Config, _: Options) -> Answer:
    from training.data import table

    return table.check(config)


def train(config: Config, _: Options) -> Answer:
    from training import train as training
    from training.model import signing

    signing.keys()  # a key that cannot be made is reported now, not after the search
    return training.train(config)


def promote(config: Config, options: Options) -> Answer:
    from training.promotion import promote as promotion

    found = promotion.promote(config, options.strict)
    why = "; ".join(reason["text"] for reason in found["reasons"] if not reason["passed"])
    skipped = options.skip and found["action"] not in ("promoted", "unchanged")
    return found | ({"skipped": f"version {found['version']}: {found['action']}: {why}"} if skipped else {})


def verify(config: Config, options: Options) -> Answer:
    from training.promotion import verify as verification

    found = verification.verify(config)
    skipped = options.skip and not found.get("moved")
    return found | ({"skipped": "the alias named that version before this run"} if skipped else {})


def rollback(config: Config, options: Options) -> Answer:
    from training.promotion import promote as promotion

    return promotion.rollback(config, options.to)


def monitor(config: Config, options: Options) -> Answer:
    from training.monitoring import watch

    return watch.watch(config, options.dry_run)


def retraining(config: Config, _: Options) -> Answer:
    from training.monitoring import watch

    found = watch.asked(config)
    return found | ({} if found["asked"] else {"skipped": found["text"]})


def score(config: Config, options: Options) -> Answer:
    from training.scoring import batch

    rejected = options.rejected or options.output.with_name(f"{options.output.name}-rejected")
    places = batch.Places(options.input, options.output, rejected, options.format, options.overwrite, options.safe)
    return batch.score(config, places, options.version)


def status(config: Config, options: Options) -> Answer:
    from training.promotion import status as overview

    if not options.all:
        return overview.status(config)
    models: list[Answer] = [overview.status(config)]
    for path in sorted((options.config.parent / "pipelines").glob("*.yaml")):
        try:
            models.append(overview.status(configuration.load(path)))
        except ConfigError as error:  # of one file: the others are shown all the same
            _say(error)
            models.append({"config": str(path), "error": error.message})
    return {"models": models}


def history(config: Config, options: Options) -> Answer:
    from training.promotion import status as overview

    return overview.past(config, options.at)


def sign(config: Config, options: Options) -> Answer:
    from training.tracking.registry import Registry

    with Registry(config.name, config.serving.alias).speaking() as registry:
        return registry.sign(options.version)


def keys(_: None, options: Options) -> Answer:
    from training.model import signing

    if options.action == "retire":
        return signing.retire(options.key)
    return signing.rotate() if options.action == "rotate" else signing.keys()


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        _fail(ConfigError(message, f"See {self.prog} --help."))


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
        result = options.run(_configured(options) if "config" in options else None, options)
    except PipelineError as error:
        _fail(error)
    except Exception as error:  # Python's own exit code for it, 1, would say that the input was refused
        log.exception("unexpected error:")
        _fail(Unforeseen(error))
    print(json.dumps(result))
    if "skipped" in result:
        print(f"skipped: {result['skipped']}", file=sys.stderr)
        sys.exit(SKIPPED)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(description="The training job, one command for each step.", allow_abbrev=False)
    parser.add_argument("--schema", action=_PrintSchema, nargs=0, help="print the schema of pipeline.yaml")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    model = _Parser(add_help=False)
    model.add_argument("--config", type=Path, default="pipeline.yaml", metavar="FILE", help="default: %(default)s")
    model.add_argument("--name", help="another name for experiment and model")
    model.set_defaults(data=None, trials=None, gate=None)
    run = _Parser(add_help=False, parents=[model])  # what names a training run, so that later commands find it
    run.add_argument("--data", metavar="SOURCE", help="another table than data.source")
    run.add_argument("--trials", type=int, metavar="N", help="search.trials")
    run.add_argument("--gate", choices=["enforce", "dry_run", "off"], help="gate.mode")

    def command(step: Step, about: str, *parents: _Parser) -> Callable[..., argparse.Action]:
        added = commands.add_parser(step.__name__, help=about, description=about, allow_abbrev=False, parents=parents)
        added.set_defaults(run=step)
        return added.add_argument

    command(check, "read and check the table; change nothing", run)
    command(train, "search, fit, export, sign, register", run)
    about = "judge the trained version against production; move the alias, or refuse with reasons"
    option = command(promote, about, run)
    option("--strict", action="store_true", help="exit 1 when the gate refuses")
    option("--skip", action="store_true", help="exit 99 when the gate refuses")
    option = command(
        verify, "wait until the service serves the promoted version; move the alias back if it refuses it", run
    )
    option("--skip", action="store_true", help="exit 99 if it is served but this DAG run did not move the alias")
    option = command(rollback, "move the alias back to the version that served before", run)
    option("--to", metavar="VERSION", help="another version than the one before")
    about = "measure the live traffic: drift, error, a changed data file; request training if the policy says so"
    option = command(monitor, about, run)
    option("--dry-run", action="store_true", help="measure and decide, write nothing")
    command(retraining, "report whether the monitor requested training in this DAG run; exit 99 if not", run)
    option = command(score, "predict every row of a table as the prediction service would", model)
    option("--input", metavar="SOURCE", required=True, help="a table, as data.source names one")
    option("--output", metavar="FOLDER", required=True, type=Path, help="the rows with their predictions")
    option("--rejected", metavar="FOLDER", type=Path, help="the other rows, with reasons; default: OUTPUT-rejected")
    option("--format", choices=["parquet", "csv"], default="parquet", help="default: %(default)s")
    option(
        "--safe", action="store_true", help="CSV: an apostrophe before cells that a spreadsheet would run as formulas"
    )
    option("--version", metavar="N", help="default: the one in production")
    option("--overwrite", action="store_true", help="replace an earlier result")
    option = command(status, "what is in production, since when, and why", run)
    option("--all", action="store_true", help="also for each file in the folder pipelines/ beside the pipeline file")
    option = command(history, "every decision on the model, or what was in production at a time", run)
    option("--at", metavar="TIME", help="like 2026-11-24T10:00, in UTC")
    about = "sign a version that you trust: one trained before signatures existed, or signed by a retired key"
    option = command(sign, about, model)
    option("--version", metavar="N", help="default: the one in production")
    option = command(keys, "show, rotate or retire the keys that sign models")
    option(
        "action", nargs="?", choices=["rotate", "retire"], help="default: list the keys, and make one if there is none"
    )
    option("key", nargs="?", metavar="KEY", help="the one to retire")
    return parser


def _say(error: PipelineError) -> None:
    print(f"error: {error.message}\n  hint: {error.hint}", file=sys.stderr)


def _fail(error: PipelineError) -> NoReturn:
    _say(error)
    said: Answer = {"status": "error", "error": type(error).__name__, "detail": error.message, "hint": error.hint}
    if isinstance(error, TableProblems):
        said["problems"] = [{"detail": one.message, "hint": one.hint} for one in error.problems]
    print(json.dumps(said))
    sys.exit(error.exit_code)


def _configured(options: Options) -> Config:
    given = {"name": options.name, "data.source": options.data}
    given |= {"search.trials": options.trials, "gate.mode": options.gate}
    config = configuration.load(options.config, {key: value for key, value in given.items() if value not in (None, "")})
    if not options.data:
        return config
    # What is promoted was trained on the last copy of what is at an address.
    return config.model_copy(update={"data": alone(config.data, renew=options.run is not promote)})
