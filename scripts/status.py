"""What is in production, since when, and why."""

import argparse
from typing import Any

from training.cli import main
from training.config import Config


def step(config: Config, _: argparse.Namespace) -> dict[str, Any]:
    from training.promotion import status  # takes seconds: only once the options are known to be right

    return status.status(config)


if __name__ == "__main__":
    main(__doc__, step)
