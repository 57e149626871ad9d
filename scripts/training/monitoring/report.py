"""One page on one window, for a person: what was found, what was decided, why. No script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from training.monitoring.findings import Findings

TEMPLATE = Path(__file__).with_name("report.html")


def page(findings: Findings, charts: Mapping[str, str]) -> str:
    """The page; `charts` maps each column's name to its SVG. Everything else is escaped."""
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    ordered = sorted(findings.measured.columns, key=lambda column: -column.psi / (column.limit or 1))
    pictures = [Markup(charts[column.name]) for column in ordered]  # noqa: S704  drawn by us, and escaped there
    text = TEMPLATE.read_text(encoding="utf-8")
    return template.from_string(text).render(found=findings, columns=ordered, pictures=pictures)
