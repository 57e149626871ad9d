"""Watches the live traffic: drift, the live error, a changed data file. Asks for training where the policy says so."""

import argparse
from typing import Any

from training.cli import main
from training.config import Config


def step(config: Config, options: argparse.Namespace) -> dict[str, Any]:
    from training.monitoring import watch  # takes seconds: only once the options are known to be right

    return watch.watch(config, options.dry_run)


if __name__ == "__main__":
    main(
        __doc__,
        step,
        lambda parser: parser.add_argument("--dry-run", action="store_true", help="measure and decide, write nothing"),
    )
