"""The command line's work: ingest, ask, reindex, collections, mcp, each a client of the application, which runs in this
process, or at `--url`; and eval, which needs the service itself."""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rag_service.errors import BadSettings, LoadFailed, SparkMissing, counted
from rag_service.evaluation.gate import as_row, as_text, read_gate
from rag_service.evaluation.run import Plan, Step, evaluate, evaluate_and_log, swept
from rag_service.indexing.ingest import files_left_out, files_under, read_file
from rag_service.remote import Client, first_key, in_process, running
from rag_service.service import Service
from rag_service.settings import COLLECTION, COLLECTION_RULE, Settings

_EXAMPLES = {
    "mcp": "  python -m rag_service mcp --url http://127.0.0.1:8001      # the command that an assistant is to start",
    "ingest": "  python -m rag_service ingest manuals/ notes.pdf --collection pumps",
    "embed": "  python -m rag_service embed /srv/manuals --collection pumps --master local[4]\n"
    "  python -m rag_service embed s3://bucket/manuals --master spark://host:7077 --parts s3://bucket/parts",
    "ask": '  python -m rag_service ask "How much sulphur dioxide may red wine hold?"\n'
    '  python -m rag_service ask "…" --json --url http://127.0.0.1:8001',
    "collection": "  python -m rag_service collection list\n"
    "  python -m rag_service collection next pumps      # a copy, pumps@next, to change and evaluate\n"
    "  python -m rag_service ingest manuals/ --collection pumps@next\n"
    "  python -m rag_service eval --collection pumps@next --gate recall@4=0.8\n"
    "  python -m rag_service collection promote pumps   # or rollback, to undo it",
}

_MOST_NAMED = 10  # files that were left out

# A worker listens to nothing: while this is there, its models are loaded.
WORKER_READY = Path(tempfile.gettempdir()) / "rag-worker-ready"


def add_commands(commands: Any) -> None:
    """Puts this module's commands under the others."""
    ingest = _command(commands, "ingest", "add files, or folders of files", _ingest)
    ingest.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    ingest.add_argument("--collection", default="default")
    bulk = _command(commands, "embed", "add a large folder, or s3://bucket/prefix, at once on Spark", _embed, url=False)
    bulk.add_argument("source", metavar="FROM")
    bulk.add_argument("--collection", default="default")
    bulk.add_argument("--master", default="local[*]", help="Spark's master (default local[*]: this machine's cores)")
    bulk.add_argument("--parts", metavar="PLACE", help="where parts are kept meanwhile (default RAG_DATA_DIR)")
    ask = _command(commands, "ask", "ask one question", _ask)
    ask.add_argument("question")
    ask.add_argument("--top-k", type=int, default=4, choices=range(1, 21), metavar="1..20")
    ask.add_argument("--collection", default="default")
    ask.add_argument("--json", action="store_true", help="print the whole answer as JSON")
    _command(commands, "reindex", "make all passages again from the stored text", _reindex)
    collection = _command(
        commands, "collection", "list collections; copy, promote, roll back or delete one", _collection
    )
    collection.add_argument("action", choices=["list", "next", "promote", "rollback", "delete"])
    collection.add_argument("name", nargs="?", default="default")
    move = commands.add_parser("move", help="copy the SQLite store of RAG_DATA_DIR into the database of RAG_STORE")
    move.set_defaults(run=_move)
    _command(commands, "mcp", "tools for assistants on standard input and output (Model Context Protocol)", _mcp)
    work = commands.add_parser("work", help="add uploads that wait in PostgreSQL, until it is stopped")
    work.set_defaults(run=_work)
    _add_eval(commands)


def _add_eval(commands: Any) -> None:
    command = commands.add_parser("eval", help="ask questions with known answers and print the figures")
    command.add_argument(
        "--questions",
        type=Path,
        metavar="FILE",
        help="SQuAD format, asked of the file's own texts; or .jsonl, what people rated on the page",
    )
    command.add_argument("--collection", default="default", help="whose documents the questions are made from")
    command.add_argument("--count", type=int, default=150, help="how many are made at most (default 150)")
    command.add_argument("--top-k", type=int, default=4, choices=range(1, 21), metavar="1..20")
    command.add_argument("--seed", type=int, default=7)
    command.add_argument("--calibrate", action="store_true", help="fit the confidence to the outcome and keep it")
    command.add_argument(
        "--gate", nargs="+", default=[], metavar="FIGURE=NUMBER|FILE", help="exit 1 if a figure misses its threshold"
    )
    command.add_argument(
        "--sweep",
        metavar="NAME=VALUE,…",
        help="a table with a row for each value of top_k, depth, weights, chunk_tokens or overlap_tokens",
    )
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=_evaluate)


def _command(commands: Any, name: str, says: str, run: Any, url: bool = True) -> argparse.ArgumentParser:
    examples = f"examples:\n{_EXAMPLES[name]}" if name in _EXAMPLES else None
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=says, description=says, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if url:
        command.add_argument("--url", help="a running service, such as http://127.0.0.1:8001; else the store is opened")
    command.set_defaults(run=run)
    return command


def client(settings: Settings, url: str | None, needs_generator: bool = False) -> AbstractContextManager[Client]:
    """The application of a command. Without an answer to write, no generator is looked for."""
    if url:
        return running(url, first_key(settings.api_key_file))
    from rag_service.app import create_app  # FastAPI takes half a second to import

    changed: dict[str, object] = {"watch": None, "api_key_file": None}
    changed |= {} if needs_generator else {"generator": "none"}
    return in_process(create_app(settings.model_copy(update=changed), lasting=False))


def bar() -> Any:
    """How far it is, on the terminal's last line; nothing where standard error is no terminal."""
    from tqdm import tqdm

    return tqdm(disable=None, leave=False, bar_format="{bar:30} {desc}")


def show(bar: Any, done: int, total: int, current: str | None, passages: int = 0, passages_total: int = 0) -> None:
    """`passages` of `passages_total` of the current file are embedded."""
    bar.n, bar.total = done + passages / max(passages_total, 1), total
    within = f" ({passages}/{passages_total} passages)" if passages_total else ""
    bar.set_description_str(f"{done}/{total} {current or ''}{within}")


def _ingest(settings: Settings, options: argparse.Namespace) -> int:
    missing = [str(path) for path in options.paths if not path.exists()]
    if missing:
        print(f"There is no such file or folder: {', '.join(missing)}", file=sys.stderr)
        return 2
    files = list(files_under(options.paths))
    counts = {"indexed": 0, "unchanged": 0, "failed": 0}
    with client(settings, options.url) as service, bar() as shown:
        for number, (name, path) in enumerate(files, start=1):
            show(shown, number - 1, len(files), name)
            try:
                data = read_file(path, settings.max_file_bytes)
                verdict = _sent(service, options.collection, name, data, shown, number - 1, len(files))
            except LoadFailed as failure:
                verdict = {"verdict": "failed", "reason": failure.detail}
            counts[verdict["verdict"]] += 1
            why = f": {verdict['reason']}" if verdict.get("reason") else f" ({counted(verdict['passages'], 'passage')})"
            shown.clear()
            print(f"[{number}/{len(files)}] {name}  {verdict['verdict']}{why}", flush=True)
            for warning in verdict.get("warnings", ()):
                page = f"page {warning['page']}: " if warning["page"] else ""
                print(f"    {page}{warning['detail']}", flush=True)
    print(_summary(counts))
    if others := files_left_out(options.paths):
        names = ", ".join([*others[:_MOST_NAMED], *(["…"] if len(others) > _MOST_NAMED else [])])
        print(f"{counted(len(others), 'file')} left out, of types that are not read: {names}")
    return 1 if counts["failed"] or not files else 0


def _embed(settings: Settings, options: argparse.Namespace) -> int:
    if not re.fullmatch(COLLECTION, options.collection):
        raise BadSettings(f"{options.collection!r} is no valid collection name.", f"Use {COLLECTION_RULE}.")
    try:
        from rag_service.bulk.embed import embed
    except ImportError as error:
        raise SparkMissing(str(error)) from error

    counts = embed(
        settings,
        options.source,
        options.collection,
        options.master,
        options.parts,
        lambda line: print(line, flush=True),
    )
    print(_summary(counts))
    return 1 if counts["failed"] else 0


def _summary(counts: Mapping[str, int]) -> str:
    return counted(sum(counts.values()), "file") + ": " + ", ".join(f"{many} {what}" for what, many in counts.items())


def _sent(service: Client, collection: str, name: str, data: bytes, bar: Any, done: int, total: int) -> dict[str, Any]:
    """The verdict on a file, which is added as a job: a long one would otherwise outlast any wait for an answer."""
    files, where = {"files": (name, data)}, {"collection": collection}
    job = service.call("POST", "/documents?background=true", files=files, data=where)
    ended = service.follow(job, lambda seen: show(bar, done, total, name, seen["passages"], seen["passages_total"]))
    verdict: dict[str, Any] = ended["documents"][0]
    return verdict


def _ask(settings: Settings, options: argparse.Namespace) -> int:
    question = {"question": options.question, "collection": options.collection, "top_k": options.top_k}
    with client(settings, options.url, needs_generator=True) as service:
        answer = service.call("POST", "/ask", json=question)
    if options.json:
        print(json.dumps(answer, indent=2, ensure_ascii=False))
        return 0
    print(answer["answer"])
    if not answer["abstained"] and answer["confidence"] < 0.5:  # less likely right than wrong
        print(f"Unsure ({answer['confidence']:.0%}): read what the documents say below before you rely on it.")
    if answer["unmet"]:
        print(f"Nothing was found about: {', '.join(answer['unmet'])}")
    for number, citation in enumerate(answer["citations"], start=1):
        page = f", page {citation['page']}" if citation["page"] else ""
        print(f"\n[{number}] {citation['document']}{page}\n    {citation['quote']}")
        if citation["contradicts"]:
            print(f"    Contradicted by {', '.join(citation['contradicts'])}")
    return 0


def _reindex(settings: Settings, options: argparse.Namespace) -> int:
    facts = ("done", "total", "current", "passages", "passages_total")
    with client(settings, options.url) as service, bar() as shown:
        begun = service.call("POST", "/reindex")
        job = service.follow(begun, lambda seen: show(shown, *(seen[fact] for fact in facts)))
    print(f"{counted(job['done'], 'document')} reindexed")
    return 0


def _collection(settings: Settings, options: argparse.Namespace) -> int:
    with client(settings, options.url) as service:
        if options.action == "delete":
            service.call("DELETE", f"/collections/{options.name}")
        elif options.action != "list":
            service.call("POST", f"/collections/{options.name}/{options.action}")
        for one in service.call("GET", "/collections")["collections"]:
            others = [f"{one[key]} in {key}" for key in ("next", "previous") if one[key] is not None]
            print(f"{one['name']}  {counted(one['documents'], 'document')}" + "".join(f", {other}" for other in others))
    return 0


def _move(settings: Settings, options: argparse.Namespace) -> int:
    if settings.store is None:
        raise BadSettings("RAG_STORE is not set; it names the database to move to.", "See docs/how-to/postgresql.md.")
    from rag_service.store.move import move
    from rag_service.store.postgres import PostgresStore

    with closing(PostgresStore(settings.store, settings.store_password_file)) as target:
        counts = move(settings.store_path, target, settings.store)
    for table, count in counts.items():
        print(f"{table:<12} {count:>9,}")
    if not counts:
        print("Everything was moved before.")
    return 0


def _mcp(settings: Settings, options: argparse.Namespace) -> int:
    from rag_service.http.mcp import serve_stdio

    with client(settings, options.url, needs_generator=True) as service:
        serve_stdio(service)
    return 0


def _work(settings: Settings, options: argparse.Namespace) -> int:
    if settings.store is None:
        raise BadSettings(
            "`work` adds uploads that wait in PostgreSQL, but RAG_STORE is not set.",
            "Set RAG_STORE (docs/how-to/postgresql.md). With SQLite, the service adds uploads itself.",
        )
    stopped = threading.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: stopped.set())
    with closing(Service(settings.model_copy(update={"generator": "none", "work": True}))) as service:
        service.start()
        service.loaded.wait()
        service.parts()  # raises what kept the models from loading
        WORKER_READY.touch()
        stopped.wait()
    WORKER_READY.unlink(missing_ok=True)
    return 0


def _evaluate(settings: Settings, options: argparse.Namespace) -> int:
    gate = read_gate(options.gate)
    plan = Plan(options.collection, options.count, options.top_k, options.seed, options.questions, options.calibrate)
    with closing(Service(settings)) as service, bar() as shown:
        service.load()

        def step(done: int, total: int) -> None:
            show(shown, done, total, None)
            if done == total:
                shown.clear()

        if options.sweep:
            return _sweep(service, plan, step, *options.sweep.partition("=")[::2])
        report = evaluate_and_log(service, plan, gate, step)
    print(json.dumps(asdict(report), indent=2, ensure_ascii=False) if options.json else as_text(report))
    for sentence in report.missed:
        print(sentence, file=sys.stderr)
    return 0 if report.passed else 1


def _sweep(service: Service, plan: Plan, step: Step, name: str, values: str) -> int:
    """A table of Markdown: each value with its figures."""
    plans = {value: swept(plan, name, value) for value in values.split(",")}
    for place, (value, one) in enumerate(plans.items()):
        figures = evaluate(service, one, step).figures
        if not place:
            print(as_row(name), "| --- " * as_row(name).count(" | ") + "| --- |", sep="\n")
        print(as_row(value, {key: f"{one.value:.4f}" if one else "" for key, one in figures.items()}), flush=True)
    return 0
