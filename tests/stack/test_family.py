"""What the two services have in common without importing from each other: the same files, byte for byte."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["page_files.py", "pages/family.css"])
def test_a_shared_file_is_the_same_in_both_services(name: str) -> None:
    ours, theirs = ((ROOT / folder / name).read_bytes() for folder in ("api/prediction_api", "rag/rag_service"))
    assert ours == theirs, f"{name} was changed in one service only: copy it to the other"
