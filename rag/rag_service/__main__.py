"""The command line: `python -m rag_service serve | ingest PATH… | ask "…" | health`."""

from __future__ import annotations

import argparse
import json
import logging
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rag_service.documents import Verdict
from rag_service.errors import BadSettings, PortTaken, RagError
from rag_service.ingestion import files_under
from rag_service.runtime import Runtime
from rag_service.settings import Settings, read_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """0: done. 1: refused, or a file failed. 2: wrong use, a wrong setting, or the port is taken."""
    options = _parser().parse_args(arguments)
    level = logging.INFO if options.command == "serve" else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    try:
        settings = read_settings()
        status: int = options.run(settings, options)
    except RagError as error:
        print(f"{error.detail} {error.hint}".strip(), file=sys.stderr)
        return 2 if isinstance(error, BadSettings | PortTaken) else 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rag_service", description="Answers from your documents.")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="answer over HTTP on RAG_HOST and RAG_PORT")
    serve.set_defaults(run=_serve)
    ingest = commands.add_parser("ingest", help="add files, or folders of files")
    ingest.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    ingest.set_defaults(run=_ingest)
    ask = commands.add_parser("ask", help="ask one question; prints the answer as JSON")
    ask.add_argument("question")
    ask.add_argument("--top-k", type=int, default=4, choices=range(1, 21), metavar="1..20")
    ask.set_defaults(run=_ask)
    for command in (ingest, ask):
        command.add_argument("--collection", default="default")
        command.add_argument("--url", help="a running service, such as http://127.0.0.1:8001; else the store is opened")
    health = commands.add_parser("health", help="exit 0 if the service on RAG_PORT answers; for containers")
    health.set_defaults(run=_health)
    return parser


def _serve(settings: Settings, options: argparse.Namespace) -> int:
    with closing(listening(settings.host, settings.port)) as listener:
        import uvicorn

        from rag_service.main import create_app

        config = uvicorn.Config(create_app(settings), access_log=False, log_config=None, server_header=False)
        logging.getLogger("rag_service").info("listening on %s port %d", *listener.getsockname()[:2])
        uvicorn.Server(config).run(sockets=[listener])
    return 0


def listening(host: str, port: int) -> socket.socket:
    """The socket to serve on, bound before anything slow begins. Raises PortTaken."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise PortTaken(host, port, error.strerror or str(error)) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise PortTaken(host, port, error.strerror or str(error)) from error
    return listener


def _ingest(settings: Settings, options: argparse.Namespace) -> int:
    missing = [str(path) for path in options.paths if not path.exists()]
    if missing:
        print(f"There is no such file or folder: {', '.join(missing)}", file=sys.stderr)
        return 2
    files = list(files_under(options.paths))
    counts = {"indexed": 0, "unchanged": 0, "failed": 0}
    with _adder(settings, options) as add:
        for number, (name, path) in enumerate(files, start=1):
            verdict: Verdict = add(name, path.read_bytes())
            counts[verdict.verdict] += 1
            why = f": {verdict.reason}" if verdict.reason else f" ({verdict.passages} passages)"
            print(f"[{number}/{len(files)}] {name}  {verdict.verdict}{why}", flush=True)
    print(f"{len(files)} files: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    return 1 if counts["failed"] or not files else 0


@contextmanager
def _adder(settings: Settings, options: argparse.Namespace) -> Iterator[Any]:
    """A function that adds one file: through a running service, or straight to the store."""
    if options.url:
        yield lambda name, data: Verdict(
            **_post(options.url, "/documents", files={"files": (name, data)}, data={"collection": options.collection})[
                "documents"
            ][0]
        )
        return
    # No answer is needed here, so no generator is looked for.
    runtime = Runtime(settings.model_copy(update={"generator": "none"}))
    with closing(runtime):
        library = runtime.load().library
        yield lambda name, data: library.add(name, data, options.collection)


def _ask(settings: Settings, options: argparse.Namespace) -> int:
    question = {"question": options.question, "collection": options.collection, "top_k": options.top_k}
    if options.url:
        answer = _post(options.url, "/ask", json=question)
    else:
        with closing(Runtime(settings)) as runtime:
            answer = asdict(runtime.load().answerer.ask(**question))
    print(json.dumps(answer, indent=2, ensure_ascii=False))
    return 0


def _post(url: str, path: str, **content: Any) -> dict[str, Any]:
    """The service's answer. Raises RagError with the service's own words, or saying that it is not there."""
    import httpx2

    try:
        response = httpx2.post(url.rstrip("/") + path, timeout=300, **content)
        answer: dict[str, Any] = response.json()
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        raise RagError(f"{url} does not answer as expected ({error}).", "Is the service running there?") from error
    if response.status_code >= 400:
        raise RagError(str(answer.get("detail")), str(answer.get("hint", "")))
    return answer


def _health(settings: Settings, options: argparse.Namespace) -> int:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", settings.port, timeout=4)
    with closing(connection):
        try:
            connection.request("GET", "/readyz")
            return 0 if connection.getresponse().status == 200 else 1
        except OSError as error:
            print(f"The service on port {settings.port} does not answer: {error}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
