"""What the two services have in common without importing from each other: the same files, byte for byte."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


SAME = (
    "reference.py",
    "reference.html",
    *(f"pages/{name}" for name in ("family.css", "key.js", "reference.css", "reference.js")),
)


@pytest.mark.parametrize(("ours", "theirs"), [("files.py", "page_files.py"), *zip(SAME, SAME, strict=True)])
def test_a_shared_file_is_the_same_in_both_services(ours: str, theirs: str) -> None:
    here, there = ROOT / "api/prediction_api/web" / ours, ROOT / "rag/rag_service/http" / theirs
    assert here.read_bytes() == there.read_bytes(), f"{ours} was changed in one service only: copy it to the other"
