"""The monitor's page, which MLflow shows, held to what the services' pages are held to."""

import subprocess
from pathlib import Path

from chromium import hindrances
from playwright.sync_api import Page, expect

ROOT = Path(__file__).resolve().parents[2]


def test_everybody_can_use_it(tmp_path: Path, page: Page) -> None:
    path = tmp_path / "report.html"
    python = ROOT / ".venvs" / "training" / "bin" / "python"
    maker = Path(__file__).with_name("monitor_report.py")
    subprocess.run([python, maker, path], env={"PYTHONPATH": str(ROOT / "scripts")}, check=True)
    page.goto(path.as_uri())
    expect(page.get_by_role("heading", level=1)).to_have_text(
        "Training was requested: 2 of 3 windows drifted; 2 windows, 2 needed."
    )
    assert hindrances(page) == []
