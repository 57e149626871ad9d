"""Any bytes at all: a table's header, or one clear refusal."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from training.config import Data
from training.data.files import SEPARATORS, check_rows, find, locate
from training.errors import SourceError


@given(st.binary(max_size=300) | st.text(alphabet='ab,;"\n\r\ufeff\x00é', max_size=60).map(str.encode))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_file_is_read_or_refused_with_a_hint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    data = Data(source=str(path), target="y")
    try:
        source = find(data)
    except SourceError as error:
        refusal = error
    else:
        refusal = None
        assert len(source.columns) >= 2
        assert len(set(source.columns)) == len(source.columns)
        assert source.separator in SEPARATORS
    assert refusal is None or (str(path) in refusal.message and refusal.hint)


def test_a_very_long_cell_is_a_cell(tmp_path: Path) -> None:
    path, text = tmp_path / "table.csv", "x" * 200_000
    path.write_text(f'a,b\n1,2\n"{text}",3\n')
    source = find(Data(source=str(path), target="b"))
    check_rows(source)
    assert locate(source, {"a": text}, " ") == {"a": (path, 3)}


@pytest.mark.parametrize("order", [["here.csv", "absent.csv"], ["absent.csv", "here.csv"]])
def test_a_file_that_is_named_and_not_there_is_refused_unless_none_is(tmp_path: Path, order: list[str]) -> None:
    for name in ("here.csv", "sample.csv"):
        (tmp_path / name).write_text("a,b\n1,2\n")
    with pytest.raises(SourceError, match=r"absent\.csv: no such file"):
        find(Data(source=[str(tmp_path / name) for name in order], target="b"))
    absent = [str(tmp_path / "absent.csv"), str(tmp_path / "*.parquet")]
    assert find(Data(source=absent, sample=str(tmp_path / "sample.csv"), target="b")).synthetic
