"""Waits until the prediction service serves the promoted version; moves the alias back when it refuses it."""

import argparse
from typing import Any

from training.cli import main
from training.config import Config


def step(config: Config, _: argparse.Namespace) -> dict[str, Any]:
    from training.promotion import verify  # takes seconds: only once the options are known to be right

    return verify.verify(config)


if __name__ == "__main__":
    main(__doc__, step)
