"""Fetching the real wine set, against a local server: nothing is written unless the rows are the ones expected."""

import hashlib
import io
import socket
import sys
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from real_wines import real_wines

DATA = Path(__file__).parents[2] / "data"
sys.path.insert(0, str(DATA))

import fetch  # found by the line above: data/ is a folder of scripts

HEADER = ";".join(f'"{column}"' for column in fetch.COLUMNS)
RED = f"{HEADER}\n7.4;0.70;0;1.9;0.076;11;34;0.9978;3.51;0.56;9.53333333333333;5\n"
WHITE = f"{HEADER}\r\n7;0.27;0.36;20.7;0.045;45;170;1.001;3;0.45;8.8;6\r\n"
BUILT = (
    ",".join([*fetch.COLUMNS, "type"])
    + "\n7.4,0.7,0,1.9,0.076,11,34,0.9978,3.51,0.56,9.533333333,5,red"
    + "\n7,0.27,0.36,20.7,0.045,45,170,1.001,3,0.45,8.8,6,white\n"
)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address it is served at."""
    folder = tmp_path / "site"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def expected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two rows above in place of the real 6,497, which are not ours to commit."""
    monkeypatch.setattr(fetch, "SHA256", hashlib.sha256(BUILT.encode()).hexdigest())


def publish(folder: Path, red: str = RED, white: str = WHITE) -> None:
    (folder / "winequality-red.csv").write_bytes(red.encode())
    (folder / "winequality-white.csv").write_bytes(white.encode())
    with zipfile.ZipFile(folder / "wine.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "winequality-red.csv", "winequality-red.csv")
        archive.write(folder / "winequality-white.csv", "winequality-white.csv")


@pytest.mark.parametrize("path", ["/", "/wine.zip"])
@pytest.mark.usefixtures("expected")
def test_semicolons_become_one_table_with_types(site: tuple[Path, str], tmp_path: Path, path: str) -> None:
    folder, address = site
    publish(folder)
    output = tmp_path / "WineQuality.csv"
    assert fetch.main(["--url", address + path, "--output", str(output)]) == 0
    assert output.read_bytes() == BUILT.encode()


def refused(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line said when `url` is refused; the file that was there before must have stayed."""
    output = tmp_path / "WineQuality.csv"
    output.write_text("the old file")
    assert fetch.main(["--url", url, "--output", str(output)]) == 1
    assert output.read_text() == "the old file"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [output.name]
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    return message


@pytest.mark.usefixtures("expected")
def test_other_rows_are_refused(site: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, address = site
    publish(folder, red=RED.replace("7.4", "7.5"))
    assert "SHA-256" in refused(address, tmp_path, capsys)


def test_other_columns_are_refused(site: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, address = site
    publish(folder, white="<html>moved</html>")
    assert "columns" in refused(address, tmp_path, capsys)


def test_text_among_the_numbers_is_refused(
    site: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, address = site
    publish(folder, red=RED.replace("7.4", "high"))
    assert "row 2" in refused(address, tmp_path, capsys)


def test_an_archive_that_is_none_is_refused(
    site: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, address = site
    (folder / "wine.zip").write_text("<html>moved</html>")
    assert "archive" in refused(f"{address}/wine.zip", tmp_path, capsys)


def test_an_archive_without_the_files_is_refused(
    site: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, address = site
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("other.csv", "a,b")
    (folder / "wine.zip").write_bytes(content.getvalue())
    assert "winequality-red.csv" in refused(f"{address}/wine.zip", tmp_path, capsys)


def test_a_file_too_large_is_refused(
    site: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = site
    publish(folder)
    monkeypatch.setattr(fetch, "MOST_BYTES", 100)
    assert "larger" in refused(address, tmp_path, capsys)
    assert "larger" in refused(f"{address}/wine.zip", tmp_path, capsys)


def test_what_is_not_text_is_refused(
    site: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, address = site
    publish(folder)
    (folder / "winequality-red.csv").write_bytes(b"\xff\xfe\x00")
    assert "not text" in refused(address, tmp_path, capsys)


def test_a_missing_file_is_said(site: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, address = site
    assert "winequality-red.csv: File not found" in refused(address, tmp_path, capsys)


def test_no_server_is_said_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: a connection is refused
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
        assert "data/wine-sample.csv" in refused(address, tmp_path, capsys)


def test_the_real_rows_give_the_pinned_checksum(tmp_path: Path) -> None:
    folder = real_wines("red").parent
    output = tmp_path / "WineQuality.csv"
    assert fetch.main(["--url", folder.as_uri(), "--output", str(output)]) == 0
    assert output.read_text().count("\n") == 6498
