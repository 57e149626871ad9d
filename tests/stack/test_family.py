"""What the two services have in common without importing from each other: the same files, byte for byte."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("ours", "theirs"), [("files.py", "page_files.py"), ("pages/family.css", "pages/family.css")])
def test_a_shared_file_is_the_same_in_both_services(ours: str, theirs: str) -> None:
    here, there = ROOT / "api/prediction_api/web" / ours, ROOT / "rag/rag_service/http" / theirs
    assert here.read_bytes() == there.read_bytes(), f"{ours} was changed in one service only: copy it to the other"
