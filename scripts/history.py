"""Every decision on the model, or what was in production at a time."""

import argparse
from typing import Any

from training.cli import main
from training.config import Config


def step(config: Config, options: argparse.Namespace) -> dict[str, Any]:
    from training.promotion import status  # takes seconds: only once the options are known to be right

    return status.past(config, options.at)


if __name__ == "__main__":
    main(
        __doc__,
        step,
        lambda parser: parser.add_argument("--at", metavar="TIME", help="like 2026-11-24T10:00, in UTC"),
    )
