"""Any bytes at all: a table's header, or one clear refusal."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.config import Data
from training.errors import SourceError
from training.source import SEPARATORS, find


@given(st.binary(max_size=300) | st.text(alphabet='ab,;"\n\r\ufeff\x00é', max_size=60).map(str.encode))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_file_is_read_or_refused_with_a_hint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    try:
        source = find(Data(source=str(path), target="y"))
    except SourceError as error:
        assert str(path) in error.message
        assert error.hint
    else:
        assert len(source.columns) >= 2
        assert len(set(source.columns)) == len(source.columns)
        assert source.separator in SEPARATORS
