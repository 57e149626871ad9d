"""Waits until the prediction service serves the promoted version."""

import argparse
from typing import Any

from training.cli import main
from training.config import Config


def step(config: Config, _: argparse.Namespace) -> dict[str, Any]:
    from training import promotion  # takes seconds: only once the options are known to be right

    return promotion.verify(config)


if __name__ == "__main__":
    main(__doc__, step)
