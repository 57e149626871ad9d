"""What can go wrong while driving the stack.

StackError
├── PortTaken          another program listens where one of ours should
├── ProgramFailed      a program ended, or did not become healthy in time
├── StepFailed         a program answered, but not with what the step needs
└── EngineMissing      no container engine answers, or it has no Compose
"""


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


class EngineMissing(StackError):
    """No container engine answers, or it has no Compose."""

    def __init__(self, said: str, what: str = "no container engine answers", remedy: str = "start Docker") -> None:
        super().__init__(f"{what} ({said})", f"{remedy}, or use `make demo`, which needs no containers")
