"""What a driver has done so far: a line for each step as it ends, and a table at the end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table


@dataclass
class Step:
    """One row of the table; `result` is set by the step itself."""

    name: str
    seconds: float = 0.0
    result: str = ""


@dataclass
class Report:
    """The steps so far, printed one by one as they end, and as a table at the end."""

    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    steps: list[Step] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Times what happens inside. A step that raises is reported as failed, and the error goes on."""
        step = Step(name)
        self.steps.append(step)
        start = time.monotonic()
        try:
            yield step
        except BaseException:  # Ctrl-C too: whatever ends a step, its line says so, and it goes on upwards
            step.result = "failed"
            raise
        finally:
            step.seconds = time.monotonic() - start
            self.print_step(step)

    def add(self, name: str, seconds: float, result: str) -> None:
        """A step that was timed elsewhere."""
        self.steps.append(Step(name, seconds, result))
        self.print_step(self.steps[-1])

    def say(self, line: str) -> None:
        """A line about the step that is under way."""
        self.console.print(line, markup=False)

    def print_step(self, step: Step) -> None:
        """One line, as soon as it is known."""
        self.say(f"{step.name:<24} {step.seconds:7.1f} s   {step.result}")

    def print_table(self, title: str) -> None:
        """All steps with their times and results."""
        table = Table(title=title, title_justify="left")
        table.add_column("step")
        table.add_column("seconds", justify="right")
        table.add_column("result", overflow="fold")
        for step in self.steps:
            table.add_row(step.name, f"{step.seconds:.1f}", step.result)
        self.console.print(table, markup=False)
