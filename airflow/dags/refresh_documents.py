"""The DAG `refresh_documents`: the documents folder read again beside the old, and used where the answers are good."""

import logging
import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException
from library import Library
from webhook import task_failed

log = logging.getLogger(__name__)

SCHEDULE = os.environ.get("DOCUMENTS_SCHEDULE") or "none"  # a cron expression or preset; none: only by hand

ABOUT = """
### The documents, read again and measured

| task | does | ends with |
| --- | --- | --- |
| `copy` | a copy of the collection, NAME@next | the copy; it costs no embedding |
| `read` | every file of the documents folder, given to the copy | a verdict for each file in the log |
| `evaluate` | questions made from the copy's documents | its figures in the log, or failed |
| `promote` | only where both went well | the collection is what the copy was |

The collection answers as before until `promote`, and what others change in it meanwhile stays. To undo a promotion:
`POST /collections/NAME/rollback`, or *Versions* on the service's page. A file that the service cannot read is reported
in the log of `read` and stops nothing; hidden files, and links that lead out of the folder, are left out. Where the
service is busy a task waits, and where it is away it tries again for a minute. The figures are explained in the
rag/docs/how-to/evaluate.md.
"""


def folder() -> Path:
    """The documents folder as the tasks see it. Raises AirflowFailException where there is none."""
    home = os.environ.get("PIPELINE_HOME", "/opt/pipeline")
    found = Path(home, os.environ.get("DOCUMENTS_DIR", "rag/documents"))  # an absolute one stays as it is
    if not found.is_dir():
        raise AirflowFailException(f"There is no folder {found}. DOCUMENTS_DIR names the one with the documents.")
    return found


def files_in(home: Path) -> dict[str, Path]:
    """Each file at any depth by its place in the folder, but for hidden ones, and for links that lead out of it: what
    they show is this machine's, and anyone who asks could read it."""
    paths = {path.relative_to(home).as_posix(): path for path in sorted(home.rglob("*")) if path.is_file()}
    inside = home.resolve()
    return {
        name: path for name, path in paths.items() if "/." not in f"/{name}" and path.resolve().is_relative_to(inside)
    }


def asked() -> dict[str, Any]:
    """What the form says."""
    return dict(get_current_context()["params"])


def the_copy() -> Library:
    return Library(f"{asked()['collection']}@next")


@task
def copy() -> None:
    """What `read` changes and `evaluate` asks."""
    Library(asked()["collection"]).copy()


@task
def read() -> None:
    """Gives every file to the copy. One that cannot be read is reported, and stops nothing."""
    form, home = asked(), folder()
    library = the_copy()
    files = files_in(home)
    if not files:
        raise AirflowFailException(f"{home} holds no file.")
    counts: Counter[str] = Counter()
    for number, (name, path) in enumerate(files.items(), start=1):
        verdict = library.give(name, path)
        counts[verdict["verdict"]] += 1
        why = f": {verdict['reason']}" if verdict.get("reason") else ""
        log.info("%d of %d: %s %s%s", number, len(files), name, verdict["verdict"], why)
    if form["follow_removals"]:
        for name, document in library.names().items():
            if name not in files:
                library.remove(document)
                counts["removed"] += 1
                log.info("%s removed: it is not in %s any more", name, home)
    log.info("%s", ", ".join(f"{count} {verdict}" for verdict, count in counts.items()))


@task
def evaluate() -> None:
    """Fails where a figure is below its threshold, or could not be measured."""
    form = asked()
    report = the_copy().evaluate(form["questions"], form["gate"])
    for name, figure in report["figures"].items():
        log.info("%-32s %s", name, "-" if figure is None else "{value:.3f} ({low:.3f} to {high:.3f})".format(**figure))
    if report["missed"]:
        raise AirflowFailException(" ".join(report["missed"]))


@task
def promote() -> None:
    """Puts the copy in place of the collection."""
    Library(asked()["collection"]).promote()


@dag(
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    schedule=None if SCHEDULE == "none" else SCHEDULE,
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 6,
        "retry_delay": timedelta(seconds=10),
        "execution_timeout": timedelta(hours=2),
        "on_failure_callback": task_failed,
    },
    tags=["documents"],
    doc_md=ABOUT,
    params={
        "collection": Param("default", type="string", pattern=r"^\w[\w .-]{0,63}$", title="Collection"),
        "follow_removals": Param(
            False,
            type="boolean",
            title="Follow removals",
            description="Remove from the collection what is not in the folder, also what was uploaded by hand.",
        ),
        "questions": Param(150, type="integer", minimum=1, maximum=2000, title="Questions"),
        "gate": Param(
            {"recall@4": 0.8, "answer_containment": 0.7},
            type="object",
            title="Thresholds",
            description="The least that each figure must reach (the most for ece and quotes).",
            additionalProperties={"type": "number"},
        ),
    },
)
def refresh_documents() -> None:
    """One after the other; a failure leaves the collection as it was."""
    copy() >> read() >> evaluate() >> promote()


refresh_documents()
