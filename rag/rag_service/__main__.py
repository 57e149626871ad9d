"""The command line: `python -m rag_service serve | ingest PATH… | ask "…" | eval | reindex | …`; `--help` has all."""

from __future__ import annotations

import argparse
import logging
import socket
import sys
from collections.abc import Sequence
from contextlib import closing

from rag_service.commands import add_commands
from rag_service.errors import BadSettings, PortTaken, RagError
from rag_service.health import check
from rag_service.settings import Settings, read_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """0: done. 1: refused, or a file failed. 2: wrong use, a wrong setting, or the port is taken."""
    options = _parser().parse_args(arguments)
    level = logging.INFO if options.command in ("serve", "work") else logging.WARNING
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
    serve = commands.add_parser("serve", help="serve over HTTP on RAG_HOST and RAG_PORT")
    serve.set_defaults(run=_serve)
    add_commands(commands)
    health = commands.add_parser("health", help="exit 0 if the service on RAG_PORT is ready")
    health.set_defaults(run=_health)
    return parser


def _serve(settings: Settings, options: argparse.Namespace) -> int:
    with closing(bound(settings.host, settings.port)) as listener:
        from rag_service.app import create_app
        from rag_service.http.connection import DrainingServer, server_config

        if not settings.drain_seconds:  # a proxy that cannot connect asks a replica that is ready
            listener.listen(512)
        config = server_config(create_app(settings))
        logging.getLogger("rag_service").info("listening on %s port %d", *listener.getsockname()[:2])
        DrainingServer(config, settings.drain_seconds).run(sockets=[listener])
    return 0


def bound(host: str, port: int) -> socket.socket:
    """The socket to serve on, before anything slow begins. Raises PortTaken."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise PortTaken(host, port, error.strerror or str(error)) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise PortTaken(host, port, error.strerror or str(error)) from error
    return listener


def _health(settings: Settings, options: argparse.Namespace) -> int:
    return check(settings.port)


if __name__ == "__main__":
    sys.exit(main())
