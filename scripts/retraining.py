"""Whether the monitor asked for training in this DAG run. Exit code 99 when it did not: Airflow skips the task."""

import argparse
import sys
from typing import Any

from training.cli import main
from training.config import Config

SKIPPED = 99


def step(config: Config, _: argparse.Namespace) -> dict[str, Any]:
    from training.monitoring import watch  # takes seconds: only once the options are known to be right

    found = watch.asked(config)
    if not found["asked"]:
        sys.stderr.write(f"{found['text']}\n")
        sys.exit(SKIPPED)
    return found


if __name__ == "__main__":
    main(__doc__, step)
