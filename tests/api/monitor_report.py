"""Writes the monitor's page on a drifted window of made figures, in the training job's environment: its Python and this
file, with the page's path."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from training.monitoring.drift import PREDICTIONS, Column, Histogram, LiveError
from training.monitoring.policy import Decision, Window
from training.monitoring.report import Report
from training.monitoring.window import Feedback, Statistics
from training.reason import Reason

END = datetime(2026, 3, 1, 12, tzinfo=UTC)


def column(known: Histogram, *live: int) -> Column:
    return Column(known, live, missing=3, outside=2, limit=0.2, level=0.001, worth=1.0)


def window(hours: int, *drifted: str) -> Window:
    return Window(f"w{hours}", "3", END - timedelta(hours=hours + 1), END - timedelta(hours=hours), 200, drifted)


def report() -> Report:
    columns = [
        column(Histogram(PREDICTIONS, (40, 60, 80, 20), 0, (3.0, 4.5, 5.5, 6.5, 9.0)), 50, 50, 80, 20),
        column(
            Histogram("free sulfur dioxide (mg/l)", (50, 50, 50, 50), 5, (1.0, 9.0, 20.0, 40.0, 289.0)), 180, 9, 6, 5
        ),
        column(Histogram("type", (120, 80), categories=("white", "red"), kind="category"), 20, 175),
        column(Histogram("bottled", (100, 100), 0, (20000.0, 20200.0, 20400.0), kind="date"), 0, 200),
    ]
    found = Statistics(
        window(0, "free sulfur dioxide (mg/l)", "type"),
        columns,
        LiveError("mae", 150, 0.9, 0.8, 1.0, 0.5, 0.6),
        Feedback(150, 5.6, 0.8, 0.71, 1, 2, 3, 4),
        1,
    )
    reasons = (Reason("drift", True, "2 of 3 windows drifted"), Reason("enough_windows", True, "2 windows, 2 needed"))
    return Report("wine-quality", found, [window(2), window(1, "type")], Decision("retrain", reasons, "key"))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(report().files()["report.html"], encoding="utf-8")
