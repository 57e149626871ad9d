"""The command line's work on the store: ingest, reindex, snapshot, restore; here, or by a running service (`--url`)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rag_service.documents import Verdict
from rag_service.errors import LoadFailed, RagError
from rag_service.ingestion import Tell, files_under, read_file
from rag_service.remote import call, follow
from rag_service.runtime import Runtime
from rag_service.settings import Settings


def add_commands(commands: Any) -> None:
    """Puts this module's commands under the others."""
    ingest = commands.add_parser("ingest", help="add files, or folders of files")
    ingest.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    ingest.add_argument("--collection", default="default")
    ingest.set_defaults(run=_ingest)
    reindex = commands.add_parser("reindex", help="make all vectors anew from the stored text")
    reindex.set_defaults(run=_reindex)
    snapshot = commands.add_parser("snapshot", help="keep all collections under a name; without one, list the names")
    snapshot.add_argument("name", nargs="?")
    snapshot.set_defaults(run=_snapshot)
    restore = commands.add_parser("restore", help="make all collections what they were at a snapshot")
    restore.add_argument("name")
    restore.set_defaults(run=_restore)
    for command in (ingest, reindex, snapshot, restore):
        command.add_argument("--url", help="a running service, such as http://127.0.0.1:8001; else the store is opened")


class Bar:
    """How far it is, on the terminal's last line; nothing where standard error is no terminal. Written out here: a
    library that draws bars would come into the image for these lines alone."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def show(self, done: int, total: int, current: str | None, passages: int = 0, passages_total: int = 0) -> None:
        if self._shown and total:
            filled = int(30 * (done + passages / max(passages_total, 1)) / total)
            line = f"[{'#' * filled}{'-' * (30 - filled)}] {done}/{total} {current or ''}"
            line += f" ({passages}/{passages_total} passages)" if passages_total else ""
            print(f"\r\x1b[K{line[:110]}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _ingest(settings: Settings, options: argparse.Namespace) -> int:
    missing = [str(path) for path in options.paths if not path.exists()]
    if missing:
        print(f"There is no such file or folder: {', '.join(missing)}", file=sys.stderr)
        return 2
    files = list(files_under(options.paths))
    counts = {"indexed": 0, "unchanged": 0, "failed": 0}
    bar = Bar()
    with _adder(settings, options) as add:
        for number, (name, path) in enumerate(files, start=1):

            def tell(passages: int, total: int, done: int = number - 1, name: str = name) -> None:
                bar.show(done, len(files), name, passages, total)

            tell(0, 0)
            try:
                verdict: Verdict = add(name, read_file(path, settings.max_file_bytes), tell)
            except LoadFailed as failure:
                verdict = Verdict(name, "failed", code=failure.code, reason=failure.detail)
            counts[verdict.verdict] += 1
            why = f": {verdict.reason}" if verdict.reason else f" ({verdict.passages} passages)"
            bar.clear()
            print(f"[{number}/{len(files)}] {name}  {verdict.verdict}{why}", flush=True)
    print(f"{len(files)} files: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    return 1 if counts["failed"] or not files else 0


@contextmanager
def _adder(settings: Settings, options: argparse.Namespace) -> Iterator[Any]:
    """A function that adds one file and tells how far it is: through a running service, or straight to the store."""
    if options.url:
        yield lambda name, data, tell: _sent(options.url, options.collection, name, data, tell)
        return
    with _opened(settings) as runtime:
        library = runtime.load().library
        yield lambda name, data, tell: library.add(name, data, options.collection, tell=tell)


def _sent(url: str, collection: str, name: str, data: bytes, tell: Tell) -> Verdict:
    """A file added by a running service, as a job: a long one would otherwise outlast any wait for an answer."""
    files, where = {"files": (name, data)}, {"collection": collection}
    job = call(url, "POST", "/documents?background=true", files=files, data=where)
    ended = follow(url, job, lambda seen: tell(seen["passages"], seen["passages_total"]))
    return Verdict(**ended["documents"][0])


@contextmanager
def _opened(settings: Settings) -> Iterator[Runtime]:
    """The store and the embedder. No answer is needed here, so no generator is looked for."""
    with closing(Runtime(settings.model_copy(update={"generator": "none"}))) as runtime:
        yield runtime


def _reindex(settings: Settings, options: argparse.Namespace) -> int:
    bar = Bar()

    def show(job: dict[str, Any]) -> None:
        bar.show(job["done"], job["total"], job["current"], job["passages"], job["passages_total"])

    if options.url:
        job = follow(options.url, call(options.url, "POST", "/reindex"), show)
    else:
        with _opened(settings) as runtime:
            job = asdict(runtime.jobs.run("reindex", runtime.reindex, lambda progress: show(asdict(progress))))
    bar.clear()
    if job["error"]:
        raise RagError(job["error"])
    print(f"{job['done']} documents reindexed")
    return 0


def _snapshot(settings: Settings, options: argparse.Namespace) -> int:
    if options.url:
        kept = [call(options.url, "POST", "/snapshots", json={"name": options.name})] if options.name else None
        shown = kept or call(options.url, "GET", "/snapshots")["snapshots"]
    else:
        with _opened(settings) as runtime:
            taken = [runtime.snapshots.take(options.name)] if options.name else runtime.snapshots.all()
            shown = [asdict(snapshot) for snapshot in taken]
    for one in shown:
        print(f"{one['name']}  {one['created_at']}  {one['documents']} documents, {one['passages']} passages")
    return 0


def _restore(settings: Settings, options: argparse.Namespace) -> int:
    if options.url:
        snapshot = call(options.url, "POST", f"/snapshots/{options.name}/restore")
    else:
        with _opened(settings) as runtime:
            snapshot = asdict(runtime.snapshots.restore(options.name))
    print(f"{snapshot['documents']} documents are again what they were at {snapshot['created_at']}")
    return 0
