"""The documentation's promises: links lead somewhere, tasks and variables that are named exist, pages are short."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
PAGES = [name for name in FILES if name.endswith(".md") and not name.startswith(("rag/tests/", "scripts/"))]
GUIDES = [name for name in PAGES if name.startswith(("README", "docs/", "rag/README", "rag/docs/"))]

FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = [".env.example", ".env.production.example", "rag/.env.example"]
# Variables of other programs, and of single tests and commands of ours.
# Set by Compose and make run:
OTHERS = {"AIRFLOW_URL", "PROMETHEUS_URL", "RAG_URL", "SIGNING_PUBLIC_KEYS", "API_DRAIN_SECONDS"}
OTHERS |= {"MLFLOW_TRACKING_URI", "SPARK_CONF_DIR", "SPARK_SUBMIT_OPTS", "RAG_TEST_KILLS", "SIGNING_KEY"}


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@cache
def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_a_file_and_a_heading(name: str) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", FENCED.sub("", text(name))):
        if re.match(r"\w+:", target):
            continue
        page = (ROOT / name).parent / target if target else ROOT / name
        assert page.exists(), f"{name} links to {target}, which does not exist"
        assert not anchor or anchor in anchors(page.resolve()), f"{name} links to {target}#{anchor}: no such heading"


@pytest.mark.parametrize("name", GUIDES)
def test_a_page_has_at_most_150_lines_and_its_sentences_140_characters(name: str) -> None:
    assert len(text(name).splitlines()) <= 150
    prose = [line for line in FENCED.sub("", text(name)).splitlines() if "|" not in line and "](" not in line]
    assert [line for line in prose if len(line) > 140] == []


@pytest.mark.parametrize("name", PAGES)
def test_tasks_exist(name: str) -> None:
    tasks = set(re.findall(r"^([a-z0-9]+(?:-[a-z0-9]+)*):", text("Makefile"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^|= )make ([a-z][a-z0-9-]*)", text(name), re.MULTILINE)) - {"alone"}
    assert named <= tasks


@pytest.mark.parametrize("name", PAGES)
def test_variables_are_in_the_example_files(name: str) -> None:
    listed = {
        variable for example in EXAMPLES for variable in re.findall(r"^#?([A-Z_]+)=", text(example), re.MULTILINE)
    }
    ours = {variable.split("_")[0] for variable in listed if "_" in variable} - {"AWS"}
    named = set(re.findall(r"(?<![\w-])[A-Z]+(?:_[A-Z]+)+\b(?![.*])", text(name)))
    assert {one for one in named if one.split("_")[0] in ours} - listed - OTHERS == set()


def test_files_that_name_a_page_name_one_that_exists() -> None:
    """Messages, comments and alerts say `docs/….md`; those of rag/ mean rag/docs."""
    missing = []
    for name in FILES:
        if name.endswith((".py", ".yml", ".yaml", ".json", ".in", ".example", ".js")) or "Dockerfile" in name:
            folder = "rag/" if name.startswith("rag/") else ""
            for page in re.findall(r"(?<![\w/.-])((?:rag/)?docs/[\w/-]+\.md)", text(name)):
                if not (ROOT / (folder if not page.startswith("rag/") else "") / page).is_file():
                    missing.append(f"{name}: {page}")
    assert missing == []
