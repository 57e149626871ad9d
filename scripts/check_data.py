"""Reads and checks the table; changes nothing."""

from training import steps
from training.cli import main

if __name__ == "__main__":
    main("Reads and checks the table; changes nothing.", lambda config, _: steps.check(config))
