"""`make test`: every suite in its own environment, then the coverage of all of them together."""

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

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


SUITES = (
    Suite("api", "api", ["tests/api"], ["api/prediction_api"], "api"),
    Suite("clients", "clients", ["tests/clients"], []),
    Suite("training", "training", ["tests/training", "tests/data"], ["scripts/training", "data"], "scripts"),
    Suite("dags", "airflow", ["tests/dags"], ["airflow"]),
    Suite("rag", "rag", ["tests"], ["rag_service"], "rag", "rag"),
    Suite("stack", "dev", ["tests/stack"], ["stack", "airflow"]),
)
# It is a test itself: of the containers, by `make e2e`.
NOT_COUNTED = "stack/e2e.py"


def run_suite(settings: Settings, suite: Suite, options: Sequence[str]) -> int:
    """Runs one suite; gives pytest's exit code."""
    if suite.name == "clients" and not (settings.root / ".venvs" / "clients" / ".stamp").exists():
        print("tests/clients skipped: their environment could not be installed, as `make setup` says")
        return 0
    environment = dict(settings.environment) | {
        "PYTHONPATH": str(settings.root / suite.path),
        "COVERAGE_FILE": str(settings.var / "coverage" / f".coverage.{suite.name}"),
        "JAVA_HOME": java_home(settings.root),
        "PYSPARK_PYTHON": settings.python(suite.venv),
    }
    sources = [f"--cov={source}" for source in suite.source]
    pytest = [settings.python(suite.venv), "-m", "pytest", "--cov-branch", "--cov-report=", *sources]
    command = [*pytest, *suite.tests, *options]
    return subprocess.run(command, cwd=settings.root / suite.folder, env=environment, check=False).returncode


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
    results = {}
    for suite in SUITES:
        if named and suite.name not in named:
            continue
        began = time.monotonic()
        print(f"\n== {suite.name}", flush=True)
        code = run_suite(settings, suite, options)
        results[suite.name] = (code, time.monotonic() - began)
    covered = 0 if named else report_coverage(settings)
    for name, (code, seconds) in results.items():
        print(f"{name:<10} {'passed' if code == 0 else f'FAILED ({code})':<12} {seconds:6.1f} s")
    print(f"{'total':<23} {time.monotonic() - start:6.1f} s")
    return 1 if covered or any(code for code, _ in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
