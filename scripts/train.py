"""Searches, fits, exports, registers."""

import argparse
from typing import Any

from training.cli import main
from training.config import Config


def step(config: Config, _: argparse.Namespace) -> dict[str, Any]:
    from training import train  # takes seconds: only once the options are known to be right

    return train.train(config)


if __name__ == "__main__":
    main(__doc__, step)
