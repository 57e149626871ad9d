"""Every benchmark can be started: what it imports is there."""

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# All in one process, since most of the seconds that each takes are the imports that they share.
ASK_EACH = """
import runpy, sys
for sys.argv in [[file, "--help"] for file in sys.argv[1:]]:
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as ended:
        assert not ended.code, sys.argv
"""


def test_a_benchmark_says_how_it_is_called() -> None:
    files = sorted(BENCHMARKS.glob("*.py"))
    command = [sys.executable, "-c", ASK_EACH, *files]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    said = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("usage:")]
    assert (done.returncode, said) == (0, [file.name for file in files]), done.stderr
