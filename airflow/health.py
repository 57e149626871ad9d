"""Ends with 0 when database, scheduler and dag-processor all say that they are well, otherwise with 1 and what is not.

`health.py PART...` looks at these parts only, where each runs in a container of its own. Airflow's health page answers
200 whatever it reports, so its content is what counts. Standard library only.
"""

import json
import os
import sys
import urllib.request
from collections.abc import Sequence

PARTS = ("metadatabase", "scheduler", "dag_processor")


def ailing(url: str, parts: Sequence[str] = PARTS) -> list[str]:
    """The `parts` that are not healthy, each with its status. Raises OSError when nothing answers at `url`."""
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  the address is our own
        report = json.load(answer)
    statuses = {part: (report.get(part) or {}).get("status") for part in parts}
    return [f"{part}: {status}" for part, status in statuses.items() if status != "healthy"]


def main() -> int:
    """Asks the api-server, on this machine or at AIRFLOW_HEALTH_URL, and prints what is wrong."""
    port = os.environ.get("AIRFLOW__API__PORT", "8080")
    url = os.environ.get("AIRFLOW_HEALTH_URL") or f"http://127.0.0.1:{port}/api/v2/monitor/health"
    try:
        problems = ailing(url, sys.argv[1:] or PARTS)
    except OSError as error:
        problems = [f"api-server: {error}"]
    sys.stdout.write("; ".join(problems) or "healthy")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
