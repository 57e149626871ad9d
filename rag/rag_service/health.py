"""Whether the service on this machine is ready: `python -m rag_service.health`, or `python -m rag_service health`.

Containers ask this every ten seconds. So it takes nothing from the service, whose libraries need most of a second of
processor time to be imported, and reads its one variable itself.
"""

from __future__ import annotations

import http.client
import os
import sys
from contextlib import closing

DEFAULT_PORT = 8001


def check(port: int) -> int:
    """The exit status: 0 where the service answers that it is ready, else 1."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=4)) as connection:
        try:
            connection.request("GET", "/readyz")
            return 0 if connection.getresponse().status == 200 else 1
        except (OSError, http.client.HTTPException) as error:
            print(f"The service on port {port} does not answer: {error}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(check(int(os.environ.get("RAG_PORT") or DEFAULT_PORT)))
