"""Every benchmark can be started: what it imports is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

RAG = Path(__file__).parent.parent
# All in one process, since most of the seconds that each takes are the imports that they share.
ASK_EACH = """
import runpy, sys
from pathlib import Path
for sys.argv in [[file, "--help"] for file in sys.argv[1:]]:
    sys.path[0] = str(Path(sys.argv[0]).parent)
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as ended:
        assert not ended.code, sys.argv
"""


def test_a_benchmark_says_how_it_is_called() -> None:
    files = [one for one in sorted((RAG / "benchmarks").glob("*.py")) if "__main__" in one.read_text()]
    command = [sys.executable, "-c", ASK_EACH, *files]
    environment = {**os.environ, "PYTHONPATH": str(RAG)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    said = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("usage:")]
    assert (done.returncode, said) == (0, [file.name for file in files]), done.stderr
