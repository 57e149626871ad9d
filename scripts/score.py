"""Scores a table of any size as the prediction service would, and sets aside the rows that it would refuse."""

import argparse
from pathlib import Path
from typing import Any

from training.cli import main
from training.config import Config


def step(config: Config, options: argparse.Namespace) -> dict[str, Any]:
    from training.scoring.batch import score  # takes seconds: only once the options are known to be right
    from training.scoring.staging import Places

    rejected = options.rejected or options.output.with_name(f"{options.output.name}-rejected")
    places = Places(options.input, options.output, rejected, options.format, options.overwrite)
    return score(config, places, options.version)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--input", required=True, metavar="FILE", help="CSV or Parquet; a path or a glob")
    parser.add_argument("--output", required=True, type=Path, metavar="FOLDER", help="the rows with their predictions")
    parser.add_argument(
        "--rejected", type=Path, metavar="FOLDER", help="the other rows, with reasons; default: OUTPUT-rejected"
    )
    parser.add_argument("--format", choices=["parquet", "csv"], default="parquet", help="default: %(default)s")
    parser.add_argument("--version", metavar="N", help="default: the one in production")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier result")


if __name__ == "__main__":
    main(__doc__, step, add_options, training=False)
