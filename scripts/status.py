"""What is in production, since when, and why."""

from training import promotion
from training.cli import main

if __name__ == "__main__":
    main("What is in production, since when, and why.", lambda config, _: promotion.status(config))
