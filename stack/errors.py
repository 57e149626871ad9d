"""What can go wrong while driving the stack.

StackError
├── PortTaken          another program listens where one of ours should
├── ProgramFailed      a program ended, or did not become healthy in time
├── StepFailed         a program answered, but not with what the step needs
│   └── NoAnswer       it did not answer at all
└── EngineMissing      no container engine answers, or it has no Compose
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

INTERRUPTED = 130  # as shells have it: 128 and the number of SIGINT


class StackError(Exception):
    """Carries a sentence that says what was found, and a hint that says what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class PortTaken(StackError):
    """Another program listens where one of ours should."""

    def __init__(self, port: int, variable: str, program: str) -> None:
        super().__init__(
            f"port {port}, where {program} should listen, is taken",
            f"stop the program that uses it, or choose another: {variable}={port + 1000} make …",
        )


class ProgramFailed(StackError):
    """A program ended, or did not become healthy in time. `tail` holds the last lines of its log."""

    def __init__(self, program: str, what: str, log: str, tail: str) -> None:
        super().__init__(f"{program} {what}", f"the whole log: {log}")
        self.tail = tail


class StepFailed(StackError):
    """A program answered, but not with what the step needs."""


class NoAnswer(StepFailed):
    """A program did not answer. `kind` is httpx's name for what happened, as `ReadTimeout`."""

    def __init__(self, asked: str, kind: str) -> None:
        hint = "is it running? `make up`, or `make run` in another terminal; its log: `make logs`, or in var/log"
        super().__init__(f"{asked} did not answer ({kind})", hint)
        self.kind = kind


class EngineMissing(StackError):
    """No container engine answers, or it has no Compose."""

    def __init__(self, said: str, what: str = "no container engine answers", remedy: str = "start Docker") -> None:
        super().__init__(f"{what} ({said})", f"{remedy}, or use `make demo`, which needs no containers")


def guarded(
    work: Callable[[], int],
    name: str = "",
    interrupted: str = "interrupted; everything is stopped",
    code: int = INTERRUPTED,
) -> int:
    """The exit code of `work`, or 1 after saying on stderr what failed and what to do; `code` after Ctrl-C."""
    prefix = f"{name}: " if name else ""
    try:
        return work()
    except StackError as error:
        if isinstance(error, ProgramFailed):
            print(error.tail, file=sys.stderr)
        print(f"{prefix}{error}\n  hint: {error.hint}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # as in `make status | head`: nobody reads on, and Python would say so once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print(f"{prefix}{interrupted}", file=sys.stderr)
        return code
