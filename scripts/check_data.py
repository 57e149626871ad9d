"""Reads and checks the table; changes nothing."""

import argparse
from typing import Any

from training.cli import main
from training.config import Config


def step(config: Config, _: argparse.Namespace) -> dict[str, Any]:
    from training.data import table  # takes seconds: only once the options are known to be right

    return table.check(config)


if __name__ == "__main__":
    main(__doc__, step)
