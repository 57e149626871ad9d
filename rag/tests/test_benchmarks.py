"""Every benchmark can be started: what it imports is there."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"
FILES = [one for one in sorted(FOLDER.glob("*.py")) if "__main__" in one.read_text()]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_benchmark_says_how_it_is_called(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process, which has imported already what most seconds of its start go to."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(sys, "argv", [str(file), "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(file), run_name="__main__")
    assert not ended.value.code
    assert capsys.readouterr().out.split()[:2] == ["usage:", file.name]
