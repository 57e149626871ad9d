"""One command line for all scripts: progress on stderr, one JSON object on stdout, exit codes 0 to 3 (see `errors`)."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from training import config as configuration
from training.config import Config
from training.data.files import find
from training.errors import PipelineError, Unforeseen

log = logging.getLogger(__name__)

Step = Callable[[Config, argparse.Namespace], dict[str, Any]]


def main(
    about: str | None,
    step: Step,
    add_options: Callable[[argparse.ArgumentParser], Any] | None = None,
    training: bool = True,
) -> None:
    """Parses the options, loads the configuration, runs `step`, prints its result, exits.

    `training` adds the options that the training's scripts share, because they name the run that a later one looks for.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument(
        "--config", type=Path, default=Path("pipeline.yaml"), metavar="FILE", help="default: %(default)s"
    )
    parser.add_argument("--name", help="another name for experiment and model")
    parser.set_defaults(data="", trials=None, gate=None)
    if training:
        parser.add_argument("--data", metavar="FILE", help="another table than data.source")
        parser.add_argument("--trials", type=int, metavar="N", help="search.trials")
        parser.add_argument("--gate", choices=["enforce", "dry_run", "off"], help="gate.mode")
    parser.add_argument("--schema", action="store_true", help="print the schema of the configuration and stop")
    if add_options:
        add_options(parser)
    options = parser.parse_args()
    if options.schema:
        print(json.dumps(Config.model_json_schema(), indent=2))
        return
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("training").setLevel(logging.INFO)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    try:
        result = step(_configured(options), options)
    except PipelineError as error:
        _fail(error)
    except Exception as error:  # Python's own exit code for it, 1, would say that the input was refused
        log.exception("not foreseen:")
        _fail(Unforeseen(error))
    print(json.dumps(result))


def _fail(error: PipelineError) -> NoReturn:
    print(f"error: {error.message}\n  hint: {error.hint}", file=sys.stderr)
    print(json.dumps({"status": "error", "error": type(error).__name__, "detail": error.message, "hint": error.hint}))
    sys.exit(error.exit_code)


def _configured(options: argparse.Namespace) -> Config:
    given = {
        "name": options.name,
        "data.source": options.data,
        "search.trials": options.trials,
        "gate.mode": options.gate,
    }
    config = configuration.load(options.config, {key: value for key, value in given.items() if value not in (None, "")})
    if not options.data:
        return config
    # Another table stands for itself: no sample in its place, and the configured segment only if it has that column.
    data = config.data.model_copy(update={"sample": config.data.sample if options.data == config.data.sample else None})
    columns = find(data, quiet=True).columns
    if data.segment and columns and data.segment not in columns:
        log.warning("%s has no column '%s': groups are not judged", options.data, data.segment)
        data = data.model_copy(update={"segment": None})
    return config.model_copy(update={"data": data})
