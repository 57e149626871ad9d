"""Judges the trained version against production and moves the alias, or refuses with reasons."""

import argparse
from typing import Any

from training.cli import main
from training.config import Config


def step(config: Config, options: argparse.Namespace) -> dict[str, Any]:
    from training.promotion import promote  # takes seconds: only once the options are known to be right

    return promote.promote(config, options.strict)


if __name__ == "__main__":
    main(
        __doc__,
        step,
        lambda parser: parser.add_argument("--strict", action="store_true", help="exit 1 when the gate refuses"),
    )
