"""`make test`: every suite in its own environment, then the coverage of all of them together."""

import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import IO

from stack.programs import java_home
from stack.settings import Settings, read_settings

LEAST_COVERAGE = 85


@dataclass(frozen=True)
class Suite:
    """Tests in `tests`, run in `folder` by the environment `venv`; `source` is the code whose branches are counted."""

    name: str
    venv: str
    tests: Sequence[str]
    source: Sequence[str]
    path: str = "."
    folder: str = "."


AT_ONCE = 3
CLUSTER = "tests/training/test_cluster.py"
# What is done with a model after it was trained: half of the training job's tests, in a process of its own.
OPERATING = [f"tests/training/test_{name}.py" for name in ("batch", "feedback", "monitor", "steps", "verification")]
SUITES = (  # the longest first
    Suite(
        "training",
        "training",
        ["tests/training", "tests/data", *(f"--ignore={name}" for name in (CLUSTER, *OPERATING))],
        ["scripts/training", "data", "stack/state"],
        "scripts",
    ),
    Suite("rag", "rag", ["tests"], ["rag_service"], "rag", "rag"),
    Suite("operating", "training", OPERATING, ["scripts/training"], "scripts"),
    Suite("api", "api", ["tests/api"], ["api/prediction_api"], "api"),
    Suite("cluster", "training", [CLUSTER], ["scripts/training"], "scripts"),
    Suite("dags", "airflow", ["tests/dags"], ["airflow", "stack/state"]),
    Suite("stack", "dev", ["tests/stack"], ["stack", "airflow"]),
    Suite("clients", "clients", ["tests/clients"], []),
)
# They are tests themselves: `make e2e`, `make faults`.
NOT_COUNTED = "stack/e2e*.py,stack/faults/*"


def run_suite(settings: Settings, suite: Suite, options: Sequence[str], output: IO[str]) -> int:
    """Runs one suite with its output into a file; returns pytest's exit code."""
    if suite.name == "clients" and not (settings.root / ".venvs" / "clients" / ".installed").exists():
        print("tests/clients skipped: their environment could not be installed, as `make setup` says")
        return 0
    environment = dict(settings.environment) | {
        "PYTHONPATH": str(settings.root / suite.path),
        "COVERAGE_FILE": str(settings.var / "coverage" / f".coverage.{suite.name}"),
        "JAVA_HOME": java_home(settings.root),
        "PYSPARK_PYTHON": settings.python(suite.venv),
        "PYTHONDONTWRITEBYTECODE": "",  # collecting the tests takes half as long with what was compiled before
    }
    sources = [f"--cov={source}" for source in suite.source]
    pytest = [settings.python(suite.venv), "-m", "pytest", "--cov-branch", "--cov-report=", *sources]
    command = [*pytest, *suite.tests, *options]
    folder = settings.root / suite.folder
    return subprocess.run(command, cwd=folder, env=environment, check=False, stdout=output, stderr=output).returncode


def run_suites(settings: Settings, suites: Sequence[Suite], options: Sequence[str]) -> dict[str, tuple[int, float]]:
    """Runs three suites at a time, since each waits for its servers about half of the time and two cores are common;
    prints the output of each when it has ended. Returns exit codes and seconds by name."""
    folder, results, printing = settings.var / "coverage", {}, Lock()

    def run(suite: Suite) -> None:
        began, log = time.monotonic(), folder / f"{suite.name}.log"
        with log.open("w", encoding="utf-8") as output:
            code = run_suite(settings, suite, options, output)
        seconds = time.monotonic() - began
        with printing:
            print(f"\n== {suite.name}\n{log.read_text(encoding='utf-8', errors='replace')}", flush=True)
            results[suite.name] = (code, seconds)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(run, suites))
    return results


def report_coverage(settings: Settings) -> int:
    """Prints the branch coverage of all suites together; 0 when it is high enough."""
    folder = settings.var / "coverage"
    environment = dict(settings.environment) | {"COVERAGE_FILE": str(folder / ".coverage")}
    coverage = [settings.python("dev"), "-m", "coverage"]
    subprocess.run(
        [*coverage, "combine", "--keep", "--quiet", str(folder)], cwd=settings.root, env=environment, check=True
    )
    report = [*coverage, "report", "--skip-covered", "--skip-empty", f"--omit={NOT_COUNTED}"]
    report.append(f"--fail-under={LEAST_COVERAGE}")
    return subprocess.run(report, cwd=settings.root, env=environment, check=False).returncode


def main(arguments: Sequence[str]) -> int:
    """Runs the suites named in `arguments`, or all; 0 when all passed and, for all of them, coverage is high enough."""
    settings = read_settings()
    folder = settings.var / "coverage"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(".coverage*"):
        old.unlink()
    named = [argument for argument in arguments if not argument.startswith("-")]
    options = [argument for argument in arguments if argument.startswith("-")]
    start = time.monotonic()
    suites = [suite for suite in SUITES if not named or suite.name in named]
    print(
        f"running {', '.join(suite.name for suite in suites)}: each one's output follows when it has ended", flush=True
    )
    results = run_suites(settings, suites, options)
    covered = 0 if named else report_coverage(settings)
    for name, (code, seconds) in results.items():
        print(f"{name:<10} {'passed' if code == 0 else f'FAILED ({code})':<12} {seconds:6.1f} s")
    print(f"{'total':<23} {time.monotonic() - start:6.1f} s")
    return 1 if covered or any(code for code, _ in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
