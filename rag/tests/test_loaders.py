"""Files of every kind become text; bad ones get a reason, and do nothing to the process that asked."""

from __future__ import annotations

import os
import resource
import signal
import sys
from importlib import import_module
from pathlib import Path

import pytest
from pdf_files import pdf

from rag_service.errors import LoadFailed
from rag_service.reading import Limits, extract, kind_of, reader_processes
from rag_service.reading.__main__ import answer
from rag_service.reading.blocks import assemble
from rag_service.types import Extracted


def read(name: str, data: bytes, limits: Limits) -> Extracted:
    """What the child process reads, which must be what its reader returns here."""
    extracted = extract(name, data, limits)
    reader = import_module(f"rag_service.reading.{kind_of(name, data)}")
    assert assemble(reader.read(data, limits.text_bytes), limits.text_bytes) == extracted
    return extracted


def failure(name: str, data: bytes, limits: Limits) -> LoadFailed:
    with pytest.raises(LoadFailed) as caught:
        extract(name, data, limits)
    return caught.value


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("a.txt", b"", "empty"),
        ("a.txt", b" \n\t ", "empty"),
        ("a.md", b"---\ntitle: nothing else\n---\n", "empty"),
        ("a.html", b"<script>alert(1)</script>", "empty"),
        ("no-suffix", b"text", "unknown type"),
        ("a.txt", b"\x89PNG\r\n\x1a\n and what follows", "unknown type"),
        ("a.txt", b"\x00\x01\x02" * 9, "not text"),
        ("a.txt", bytes(range(1, 32)) * 30, "not text"),
        ("a.txt", b"x" * (1024 * 1024 + 1), "too large"),
    ],
)
def test_a_file_that_is_no_document_says_why(name: str, data: bytes, code: str, limits: Limits) -> None:
    assert failure(name, data, limits).code == code


def test_text_that_grows_beyond_its_limit_is_refused(limits: Limits) -> None:
    small = Limits(limits.file_bytes, limits.seconds, limits.memory_bytes, text_bytes=1000)

    assert failure("a.txt", b"wine " * 300, small).code == "too large"


def test_a_reader_without_enough_memory_fails_alone(limits: Limits) -> None:
    tight = Limits(limits.file_bytes, limits.seconds, memory_bytes=24 * 1024 * 1024, text_bytes=limits.text_bytes)

    assert failure("a.txt", b"wine\n\n" * 100_000, tight).code in ("damaged", "too much memory")
    assert extract("a.pdf", pdf("text"), limits).text == "text"


def test_a_reader_that_takes_too_much_processor_time_is_ended(limits: Limits) -> None:
    hasty = Limits(100 * limits.file_bytes, seconds=1, memory_bytes=limits.memory_bytes, text_bytes=limits.text_bytes)

    caught = failure("a.txt", b"ab cd\n" * 1_500_000, hasty)

    assert caught.code == "too slow"
    assert "processor time" in caught.detail


def test_a_reader_that_only_waits_is_ended_later(limits: Limits) -> None:
    hasty = Limits(limits.file_bytes, seconds=0.0001, memory_bytes=limits.memory_bytes, text_bytes=limits.text_bytes)

    assert "too busy" in failure("a.txt", b"some text\n\n" * 90_000, hasty).detail


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("Rosé für alle".encode(), "Rosé für alle"),
        ("\ufeffRosé".encode(), "Rosé"),
        ("Rosé".encode("utf-16"), "Rosé"),
        ("\ufeffRosé".encode("utf-16-be"), "Rosé"),
        ("Rosé".encode("utf-32"), "Rosé"),
        ("Rosé without a mark".encode("utf-16-le"), "Rosé without a mark"),
        ("Rosé without a mark".encode("utf-16-be"), "Rosé without a mark"),
        ("Rosé für alle".encode("latin-1"), "Rosé für alle"),
        ("Вино бывает красным и белым. ".encode("cp1251") * 20, "Вино бывает красным и белым. " * 20),
        (b"one\r\ntwo\rthree\x07", "one\ntwo\nthree"),
    ],
)
def test_encodings_are_found(data: bytes, text: str, limits: Limits) -> None:
    assert read("a.txt", data, limits).text == text.strip()


def readers() -> set[int]:
    """The processes that wait for files to read."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {int(one) for one in children if b"rag_service.reading" in Path(f"/proc/{one}/cmdline").read_bytes()}


def test_a_process_reads_one_file_after_the_other(limits: Limits) -> None:
    extract("a.txt", b"one", limits)
    before = readers()

    assert extract("a.md", b"# two", limits).text == "two"
    assert failure("a.pdf", b"%PDF-1.7 broken", limits).code == "damaged"
    assert readers() == before


def test_a_reader_that_was_killed_is_replaced(limits: Limits) -> None:
    extract("a.txt", b"one", limits)
    for one in readers():
        os.kill(one, signal.SIGKILL)

    assert extract("a.txt", b"two", limits).text == "two"


def test_files_are_read_where_whoever_started_the_service_ignores_ended_children(limits: Limits) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        reader_processes.end_all()  # the next one inherits it
        assert extract("a.txt", b"Red wine is dry.", limits).text == "Red wine is dry."
    finally:
        signal.signal(signal.SIGCHLD, before)
        reader_processes.end_all()


def test_files_are_read_on_a_system_that_refuses_to_limit_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: int, _: tuple[int, int]) -> None:
        if kind == resource.RLIMIT_AS:
            raise ValueError("current limit exceeds maximum limit")  # as macOS does

    monkeypatch.setattr(resource, "setrlimit", refuse)
    monkeypatch.setattr(sys, "setrecursionlimit", lambda _: None)

    assert answer(b"Red wine is dry.", "text", 2**29, 30, 1000).text == "Red wine is dry."
