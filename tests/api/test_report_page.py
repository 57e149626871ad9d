"""The monitor's page, which MLflow shows, held to what the services' pages are held to."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from chromium import DESKTOP, PHONE, contrasts_too_low
from playwright.sync_api import Page, expect

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    python = ROOT / ".venvs" / "training" / "bin" / "python"
    maker = Path(__file__).with_name("monitor_report.py")
    subprocess.run([python, maker, path], env={"PYTHONPATH": str(ROOT / "scripts")}, check=True)
    return path


@pytest.mark.parametrize(("scheme", "size"), [("light", DESKTOP), ("dark", DESKTOP), ("light", PHONE), ("dark", PHONE)])
def test_everybody_can_read_it(report: Path, page: Page, scheme: Any, size: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(size)
    page.goto(report.as_uri())
    expect(page.get_by_role("heading", level=1)).to_have_text(
        "Training was requested: 2 of 3 windows drifted; 2 windows, 2 needed."
    )
    assert [one["id"] for one in Axe().run(page).response["violations"]] == []
    assert contrasts_too_low(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
