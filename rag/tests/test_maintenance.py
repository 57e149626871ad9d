"""The command line keeps, restores and reindexes, here and through a running service."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_command import folder, served  # noqa: F401 (a fixture)

from rag_service.__main__ import main
from rag_service.errors import LoadFailed
from rag_service.ingestion import read_file
from rag_service.maintenance import Bar
from rag_service.settings import read_settings
from rag_service.store import Store


def stored() -> str:
    """The text of wine.md as it is in the store."""
    store = Store(read_settings().store_path)
    document = store.find("default", name="wine.md")
    assert document is not None
    text = store.content("default", document.id).text
    store.close()
    return text


@pytest.mark.parametrize("remote", [False, True])
def test_keep_change_restore_reindex(
    remote: bool,
    folder: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(*arguments: str, status: int = 0) -> str:
        assert main([*arguments, *where]) == status
        told = capsys.readouterr()
        return told.out + told.err

    def all_of_it() -> None:
        run("ingest", str(folder))
        assert "before  " in run("snapshot", "before")
        (folder / "wine.md").write_text("Wine is made from plums.")
        run("ingest", str(folder))
        assert stored() == "Wine is made from plums."
        assert "2 documents reindexed" in run("reindex")
        assert "2 documents, 2 passages" in run("snapshot")
        assert "2 documents are again" in run("restore", "before")
        assert stored() == "Wine is made from grapes."
        assert "no snapshot none" in run("restore", "none", status=1)
        assert "'../x'" in run("snapshot", "../x", status=1)

    where: list[str] = []
    if not remote:
        all_of_it()
        return
    with served(read_settings()) as port:
        where += ["--url", f"http://127.0.0.1:{port}"]
        all_of_it()


def test_a_file_that_cannot_be_opened_fails_alone_and_a_huge_one_is_not_read_whole(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed) as caught:
        read_file(tmp_path, 10)
    assert caught.value.code == "unreadable"
    (tmp_path / "huge.txt").write_bytes(b"x" * 100)
    assert len(read_file(tmp_path / "huge.txt", 10)) == 11


def test_a_bar_is_drawn_on_a_terminal_only(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Bar().show(1, 2, "a.txt")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    bar = Bar()
    bar.show(1, 2, "a.txt")
    bar.clear()
    assert "[###############---------------] 1/2 a.txt" in capsys.readouterr().err
