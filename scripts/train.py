"""Searches, fits, exports, registers."""

from training import steps
from training.cli import main

if __name__ == "__main__":
    main("Searches, fits, exports, registers.", lambda config, _: steps.train(config))
