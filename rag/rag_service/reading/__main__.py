"""The child process: reads one file from standard input and writes its text as JSON to standard output.

Its limits are set before a parser is imported. Arguments: kind, address space in bytes, processor seconds, the
largest text in bytes, and what else the kind's reader takes.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
from typing import Any


def main(arguments: list[str]) -> int:
    """0 and a JSON object: the fields of `Extracted`, or code and reason. Any other exit is a reader that broke."""
    kind, options = arguments[0], arguments[4:]
    memory, seconds, text_bytes = (int(value) for value in arguments[1:4])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))  # SIGXCPU: the first limit was reached
    # JSON may write a character with six bytes, and a block takes about a hundred; the kernel holds the output file to
    # this whatever a parser does.
    resource.setrlimit(resource.RLIMIT_FSIZE, (6 * text_bytes + 64 * 1024 * 1024,) * 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    sys.setrecursionlimit(2000)

    from rag_service.errors import LoadFailed
    from rag_service.reading import DRAWING
    from rag_service.reading.blocks import assemble

    answer: Any
    try:
        reader = importlib.import_module(f"rag_service.reading.{kind}")
        given = sys.stdin.buffer.read()
        answer = (
            reader.draw(given) if kind == DRAWING else assemble(reader.read(given, text_bytes, *options), text_bytes)
        )
    except LoadFailed as failure:
        answer = {"code": failure.code, "reason": failure.detail}
    except MemoryError:
        answer = {"code": "too much memory", "reason": f"Reading the file needs more than {memory:,} bytes of memory."}
    except Exception as error:  # whatever a broken file does to a parser is the file's verdict
        answer = {"code": "damaged", "reason": f"The file broke its reader ({type(error).__name__}). Save it again."}
    sys.stdout.write(json.dumps(answer, default=vars))  # a third of the time of `asdict` and `json.dump`
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
