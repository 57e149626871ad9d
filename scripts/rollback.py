"""Moves the alias back to the version that served before."""

from training import promotion
from training.cli import main

if __name__ == "__main__":
    main(
        "Moves the alias back to the version that served before.",
        lambda config, options: promotion.rollback(config, options.to),
        lambda parser: parser.add_argument("--to", metavar="VERSION", help="another version than the one before"),
    )
