"""Moves the alias back to the version that served before."""

import argparse
from typing import Any

from training.cli import main
from training.config import Config


def step(config: Config, options: argparse.Namespace) -> dict[str, Any]:
    from training.promotion import promote  # takes seconds: only once the options are known to be right

    return promote.rollback(config, options.to)


if __name__ == "__main__":
    main(
        __doc__,
        step,
        lambda parser: parser.add_argument("--to", metavar="VERSION", help="another version than the one before"),
    )
