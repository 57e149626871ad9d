"""The command line copies, promotes and reindexes, here and through a running service."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from test_command import folder, served  # noqa: F401 (a fixture)

from rag_service.__main__ import main
from rag_service.commands import bar, show
from rag_service.errors import LoadFailed
from rag_service.indexing.ingest import read_file
from rag_service.settings import read_settings
from rag_service.store.sqlite import SqliteStore


def stored() -> str:
    """The text of wine.md as it is in the store."""
    with closing(SqliteStore(read_settings().store_path)) as store:
        document = store.find("default", name="wine.md")
        assert document is not None
        return store.content("default", document.id).text


@pytest.mark.parametrize("remote", [False, True])
def test_copy_change_promote_roll_back_reindex(
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
        assert "default  2 documents, 2 in next" in run("collection", "next")
        (folder / "wine.md").write_text("Wine is made from plums.")
        run("ingest", str(folder), "--collection", "default@next")
        assert stored() == "Wine is made from grapes."
        assert "2 in previous" in run("collection", "promote")
        assert stored() == "Wine is made from plums."
        assert "documents reindexed" in run("reindex")
        run("collection", "rollback")
        assert stored() == "Wine is made from grapes."
        assert "no document in the collection 'none@next'" in run("collection", "promote", "none", status=1)
        run("collection", "delete")
        assert run("collection", "list") == ""

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
    show(bar(), 1, 2, "a.txt")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with bar() as drawn:
        show(drawn, 1, 2, "a.txt", 3, 4)
    assert "1/2 a.txt (3/4 passages)" in capsys.readouterr().err
