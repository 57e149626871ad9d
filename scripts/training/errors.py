"""Everything that can go wrong in the training job.

PipelineError                 exit code 1: refused, nothing was changed; the same input would be refused again
├── ConfigError               exit code 2: pipeline.yaml or an option is wrong
├── DataError                 the table cannot be used as it is
│   ├── SourceError           the file itself: absent, empty, a folder, encoding, header
│   ├── ValueProblem          a cell: which row and column, what was expected, what was found
│   └── TableProblems         several of these at once
├── TrialFailed               a candidate cannot be fitted on this table
├── ParityError               the ONNX graph and the fitted model disagree
├── NothingToPromote          no model was trained with this data, configuration and code
├── GateRefused               the gate was not met, under --strict
├── RefusedByService          the prediction service does not take the promoted version
├── NothingServed             nothing was in production at the time asked for
├── WrongModel                a version's file is not the one that was registered
│   ├── WrongSignature        it was not signed by the training side
│   └── FileGone              it, or its run, was deleted in the tracking server
├── NewerFormat               what is read was written by a newer version of this program
├── OutputExists              the place to write to is taken
└── Interruption              exit code 3: something around the job failed; trying again may help
    ├── SourceAway            the database or the bucket of the table cannot be reached
    ├── TrackingError         the tracking server is away or refuses
    ├── AliasMoved            somebody else moved the alias in the midst of it
    ├── SparkFailed           Spark did not come to the end of a job
    ├── OutputBusy            another scoring writes into the same place
    ├── ClusterError          the Spark cluster has no executors, or lost one
    ├── NotServed             the prediction service does not serve the promoted version
    └── Unforeseen            anything else: Spark lost its JVM, the disk is full, a mistake in this program

Each carries a sentence that says what happened and a hint that says what to do.
"""

from collections.abc import Sequence
from pathlib import Path


class PipelineError(Exception):
    """Base of all expected failures: a sentence, and a hint for the person who must act."""

    exit_code = 1

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(PipelineError):
    exit_code = 2


class DataError(PipelineError): ...


class SourceError(DataError): ...


class ValueProblem(DataError):
    def __init__(self, file: str, row: int | None, column: str, expected: str, found: str, hint: str) -> None:
        place = f"row {row}, " if row is not None else ""
        super().__init__(f"{file}: {place}column '{column}': expected {expected}, found {found}", hint)


class TableProblems(DataError):
    """The message has a line for each problem, with its hint."""

    def __init__(self, name: str, problems: Sequence[DataError]) -> None:
        lines = [f"{problem.message} | {problem.hint}" for problem in problems]
        super().__init__("\n".join([f"{name}: {len(problems)} problems", *lines]), "Each line says what to do.")
        self.problems = tuple(problems)


class ParityError(PipelineError):
    def __init__(self, difference: float, allowed: float) -> None:
        super().__init__(
            f"ONNX and the fitted model differ by {difference:.3g} on the test rows; at most {allowed:.3g} is allowed",
            "Leave the winning candidate out of search.candidates and report the case; nothing was registered.",
        )


class TrialFailed(PipelineError):
    def __init__(self, candidate: str, reason: str) -> None:
        super().__init__(
            f"a trial of {candidate} failed: {' '.join(reason.split())[:500]}",
            "If the reason is not in the table, leave the candidate out of search.candidates and report the case.",
        )


class NothingToPromote(PipelineError):
    def __init__(self, name: str, key: str) -> None:
        super().__init__(
            f"no version of '{name}' was trained with this data, configuration and code (run key {key})",
            "Run `pipeline.py train` with the same options first.",
        )


class GateRefused(PipelineError):
    def __init__(self, reasons: list[str]) -> None:
        super().__init__(
            "not promoted: " + "; ".join(reasons),
            "The production model is unchanged. Change data or search, or set gate.mode to 'off' to promote anyway.",
        )


class RefusedByService(PipelineError):
    def __init__(self, alias: str, refusal: str, back_to: str) -> None:
        now = f"is version {back_to} again" if back_to else "names no version now: there was none before"
        super().__init__(
            f"{refusal}; {alias} {now}",
            "The service keeps its previous model. Fix the named fault and train again, or try the "
            "version again: pipeline.py rollback --to.",
        )


class NothingServed(PipelineError): ...


class WrongModel(PipelineError):
    def __init__(self, name: str, version: str, found: str, hint: str) -> None:
        super().__init__(f"version {version} of '{name}': {found}", hint)


class WrongSignature(WrongModel): ...


class FileGone(WrongModel):
    def __init__(self, name: str, version: str, what: str) -> None:
        hint = f"Delete version {version} in MLflow's page, and train again."
        super().__init__(name, version, f"its {what} is no longer in the tracking server", hint)


class NewerFormat(PipelineError):
    def __init__(self, what: str, found: object, known: int) -> None:
        super().__init__(
            f"{what} has format {found}, of a newer version of this program; this one reads up to {known}",
            "Use the version that wrote it, or a later one (docs/how-to/operations.md, Upgrade).",
        )


class OutputExists(PipelineError):
    def __init__(self, path: Path, replaceable: bool) -> None:
        hint = "Name another place, or give --overwrite to replace it."
        if not replaceable:
            hint = "Name another place: it does not look like an earlier result, so --overwrite does not replace it."
        super().__init__(f"{path}: expected nothing there yet, found something", hint)


class Interruption(PipelineError):
    exit_code = 3


class SourceAway(Interruption):
    def __init__(self, place: str, reason: str) -> None:
        super().__init__(
            f"{place}: cannot be reached: {reason}",
            "Check host and port, and that this machine may reach it (in containers: docs/how-to/production.md).",
        )


class TrackingError(Interruption):
    def __init__(self, uri: str, reason: str) -> None:
        super().__init__(
            f"tracking server {uri}: {reason}",
            "Start it (`make run` or `docker compose up mlflow`) or set MLFLOW_TRACKING_URI to where it listens.",
        )


class AliasMoved(Interruption):
    def __init__(self, alias: str, before: str | None, now: str | None) -> None:
        super().__init__(
            f"{alias} was moved from version {before or '(none)'} to {now or '(none)'} meanwhile; nothing was changed",
            "Try again: the gate then compares with the version that is in production now.",
        )


class SparkFailed(Interruption):
    def __init__(self, reason: str) -> None:
        super().__init__(
            f"Spark: {reason}", "The lines above say more; nothing was written. Try again once that is fixed."
        )


class OutputBusy(Interruption):
    def __init__(self, path: Path) -> None:
        super().__init__(f"another scoring is writing to {path}", "Name another place, or wait until it has ended.")


class ClusterError(Interruption):
    def __init__(self, master: str) -> None:
        super().__init__(
            f"{master}: no executors, or one was lost during the training",
            "Try again: the search continues where it stopped. If it fails each time, check on the master's page for "
            "workers with enough free memory (SPARK_EXECUTOR_MEMORY) and cores.",
        )


class NotServed(Interruption): ...


class Unforeseen(Interruption):
    def __init__(self, error: Exception) -> None:
        super().__init__(
            f"{type(error).__name__}: {' '.join(str(error).split())[:500]}",
            "The traceback above says where. Try again; if it happens each time, please report it as a bug.",
        )
