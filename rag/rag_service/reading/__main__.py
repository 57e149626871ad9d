"""The process that reads files: for each it forks a child with limits, which writes the file's text as JSON.

It speaks with the service over a socket, its standard input: a message is the kind of a file, the limits, and what else
the kind's reader takes, with two open files, the one to read and the one to write to; the reply is the child's exit
status. Parsers are imported here, once, and only children see what is in a file.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import socket
import sys
from contextlib import suppress
from typing import Any

from rag_service.errors import LoadFailed
from rag_service.reading import DRAWING
from rag_service.reading.blocks import assemble


def serve(service: socket.socket) -> None:
    """Reads files, one after the other, until the service closes its end."""
    while True:
        message, files, _, _ = socket.recv_fds(service, 4096, 2)
        if not message:
            return
        arguments = json.loads(message)
        importlib.import_module(f"rag_service.reading.{arguments[0]}")
        child = os.fork()
        if child == 0:
            service.close()
            _read_as_child(arguments, *files)
        for file in files:
            os.close(file)
        service.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def _read_as_child(arguments: list[Any], given: int, taken: int) -> None:
    """Ends the process: with 0 where the answer is written, else the reader broke."""
    status = 1
    try:
        with open(given, "rb") as source, open(taken, "w", encoding="utf-8") as target:
            written = answer(source.read(), *arguments)
            target.write(json.dumps(written, default=vars))  # a third of the time of `asdict` and `json.dump`
        status = 0
    finally:
        os._exit(status)  # nothing of the parent's is to be ended here


def answer(data: bytes, kind: str, memory: int, seconds: int, text_bytes: int, *options: str) -> Any:
    """The fields of `Extracted`, or code and reason. Limits the process: to `memory` bytes of address space and
    `seconds` of processor time."""
    with suppress(ValueError):  # macOS refuses this limit: there the others alone hold
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))  # SIGXCPU: the first limit was reached
    # JSON may write a character with six bytes, and a block takes about a hundred; the kernel holds the output file to
    # this whatever a parser does.
    resource.setrlimit(resource.RLIMIT_FSIZE, (6 * text_bytes + 64 * 1024 * 1024,) * 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    sys.setrecursionlimit(2000)
    try:
        reader = importlib.import_module(f"rag_service.reading.{kind}")
        return reader.draw(data) if kind == DRAWING else assemble(reader.read(data, text_bytes, *options), text_bytes)
    except LoadFailed as failure:
        return {"code": failure.code, "reason": failure.detail}
    except MemoryError:
        return {"code": "too much memory", "reason": f"Reading the file needs more than {memory:,} bytes of memory."}
    except Exception as error:  # whatever a broken file does to a parser is the file's verdict
        return {"code": "damaged", "reason": f"The file broke its reader ({type(error).__name__}). Save it again."}


if __name__ == "__main__":
    # A supervisor may ignore it; then no child could be waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with socket.socket(fileno=0) as to_service:
        serve(to_service)
