"""Waits until the prediction service serves the promoted version."""

from training import promotion
from training.cli import main

if __name__ == "__main__":
    main("Waits until the prediction service serves the promoted version.", lambda config, _: promotion.verify(config))
