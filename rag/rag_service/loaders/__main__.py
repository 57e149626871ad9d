"""The child process: reads one file from standard input and writes its text as JSON to standard output.

Its limits are set before a parser is imported. Arguments: kind, address space in bytes, processor seconds, and the
largest text in bytes.
"""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import astuple
from typing import Any


def main(arguments: list[str]) -> int:
    """0 and a JSON object: text, pages and headings, or code and reason. Any other exit is a reader that broke."""
    kind, (memory, seconds, text_bytes) = arguments[0], (int(value) for value in arguments[1:])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))  # the end where the service died and cannot end it
    # JSON may write a character with six bytes; the kernel holds the output file to this whatever a parser does.
    resource.setrlimit(resource.RLIMIT_FSIZE, (6 * text_bytes + 1024 * 1024,) * 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    sys.setrecursionlimit(2000)

    from rag_service.errors import LoadFailed
    from rag_service.loaders import parsers

    answer: dict[str, Any]
    try:
        extracted = parsers.parse(kind, sys.stdin.buffer.read(), text_bytes)
        answer = {
            "text": extracted.text,
            "pages": [astuple(page) for page in extracted.pages],
            "headings": [astuple(heading) for heading in extracted.headings],
        }
    except LoadFailed as failure:
        answer = {"code": failure.code, "reason": failure.detail}
    except MemoryError:
        answer = {"code": "too much memory", "reason": f"Reading the file needs more than {memory:,} bytes of memory."}
    except Exception as error:  # whatever a broken file does to a parser is the file's verdict
        answer = {"code": "damaged", "reason": f"The file broke its reader ({type(error).__name__}). Save it again."}
    json.dump(answer, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
