"""The tables of `make loop`, made from the bundled sample: what the model learns first, what drifts, what is wrong."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TARGET, KIND = "quality", "type"
FIRST_ROWS = 800
WINDOW_ROWS = 500

Row = dict[str, Any]

# One candidate and few trials: the loop is about what happens around the training. Two drifted windows of three call
# for it, without the pause that keeps a real pipeline from training all day.
PIPELINE = """\
name: {name}
data: {{source: wines.csv, target: quality, ignore: [type], feedback: true}}
search: {{candidates: [extra_trees], trials: 2}}
gate: {{limits: {{mae: 0.65}}}}
monitor: {{windows: 2, of: 3, min_rows: 200, cooldown_hours: 0}}
"""


# The second pipeline, which runs beside the first and is not disturbed by it: red or white?
KINDS = """\
name: {name}
data: {{source: ../kinds.csv, target: type, task: classification, ignore: [quality]}}
search: {{candidates: [extra_trees], trials: 2}}
"""


@dataclass(frozen=True)
class Wines:
    """The rows of the sample by kind, numbers as numbers."""

    white: list[Row]
    red: list[Row]

    @classmethod
    def read(cls, path: Path) -> "Wines":
        with path.open(encoding="utf-8", newline="") as file:
            rows = [
                {name: value if name == KIND else float(value) for name, value in row.items()}
                for row in csv.DictReader(file)
            ]
        by_kind = {kind: [row for row in rows if row[KIND] == kind] for kind in ("white", "red")}
        return cls(by_kind["white"], by_kind["red"])

    def first(self) -> list[Row]:
        """White wines only: all that the first model knows."""
        return self.white[:FIRST_ROWS]

    def window(self, number: int) -> list[Row]:
        """Red wines, another part of them for each window: what that model never saw."""
        return self.red[number * WINDOW_ROWS : (number + 1) * WINDOW_ROWS]

    def out_of_step(self) -> list[Row]:
        """All wines, each with the grade of another: a table that passes every check and teaches nothing."""
        rows = self.white + self.red
        return [row | {TARGET: rows[(number * 7 + 1) % len(rows)][TARGET]} for number, row in enumerate(rows)]

    def whole(self) -> list[Row]:
        """All wines with their own grades."""
        return self.white + self.red


def features(rows: Sequence[Row]) -> list[Row]:
    """The rows as the service takes them in the loop: without the grade and the kind."""
    return [{name: value for name, value in row.items() if name not in (TARGET, KIND)} for row in rows]


def labelled(rows: Sequence[Row]) -> list[Row]:
    """The rows with their grade, without the kind."""
    return [{name: value for name, value in row.items() if name != KIND} for row in rows]


def write_table(folder: Path, rows: Sequence[Row], name: str = "wines.csv") -> None:
    """Writes a table; a reader sees the old file or the new one, never half."""
    part = folder / f"{name}.part"
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    part.replace(folder / name)


def write_pipelines(folder: Path, name: str, second: str) -> None:
    """Writes `loop.yaml`, the pipeline file of the loop, and the second one into `pipelines/` beside it."""
    (folder / "loop.yaml").write_text(PIPELINE.format(name=name), encoding="utf-8")
    (folder / "pipelines").mkdir(exist_ok=True)
    (folder / "pipelines" / "kinds.yaml").write_text(KINDS.format(name=second), encoding="utf-8")
