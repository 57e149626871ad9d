"""Judges the trained version against production and moves the alias, or refuses with reasons."""

from training import promotion
from training.cli import main

if __name__ == "__main__":
    main(
        "Judges the trained version against production and moves the alias, or refuses with reasons.",
        lambda config, options: promotion.promote(config, options.strict),
        lambda parser: parser.add_argument("--strict", action="store_true", help="exit 1 when the gate refuses"),
    )
