"""The DAG `refresh_documents`: reads the documents folder into a copy, and uses the copy if its answers are good."""

import logging
import os
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException
from library import Library
from webhook import task_failed

log = logging.getLogger(__name__)

SCHEDULE = os.environ.get("DOCUMENTS_SCHEDULE") or "none"  # a cron expression or preset; none: only by hand

ABOUT = """
### Read the documents again, evaluate, and switch if the answers are good

| task | does | result |
| --- | --- | --- |
| `copy` | copies the collection to NAME@next | the copy; nothing is embedded |
| `read` | adds every file of the documents folder to the copy | a verdict for each file in the log |
| `evaluate` | asks questions made from the copy's documents | figures in the log; fails if one misses its threshold |
| `promote` | runs only if the other tasks succeeded | the copy replaces the collection |

The collection answers as before until `promote`, and changes that others make in it meanwhile are kept. To undo a
promotion: `POST /collections/NAME/rollback`, or *Versions* on the service's page. A file that the service cannot read
is reported in the log of `read` and does not stop the others. Hidden files, and links that lead out of the folder, are
left out. If the service is busy, a task waits; if it does not answer, the task tries again for a minute.
rag/docs/how-to/evaluate.md explains the figures.
"""


def folder() -> Path:
    """The documents folder as the tasks see it. Raises AirflowFailException where there is none."""
    home = os.environ.get("PIPELINE_HOME", "/opt/pipeline")
    found = Path(home, os.environ.get("DOCUMENTS_DIR", "rag/documents"))  # an absolute one stays as it is
    if not found.is_dir():
        raise AirflowFailException(f"There is no folder {found}. Set DOCUMENTS_DIR to the folder with the documents.")
    return found


def files_in(home: Path) -> dict[str, Path]:
    """Each file at any depth by its place in the folder. Hidden files and links that lead out of the folder are left
    out: they could show other files of this machine to everybody who asks."""
    paths = {path.relative_to(home).as_posix(): path for path in sorted(home.rglob("*")) if path.is_file()}
    inside = home.resolve()
    return {
        name: path for name, path in paths.items() if "/." not in f"/{name}" and path.resolve().is_relative_to(inside)
    }


def asked() -> dict[str, Any]:
    """The values of the form."""
    return dict(get_current_context()["params"])


def the_copy() -> Library:
    return Library(f"{asked()['collection']}@next")


@task
def copy() -> None:
    """Makes the copy that `read` changes and `evaluate` asks."""
    Library(asked()["collection"]).copy()


@task
def read() -> None:
    """Adds every file to the copy. A file that cannot be read is reported and does not stop the others."""
    form, home = asked(), folder()
    library = the_copy()
    files = files_in(home)
    if not files:
        raise AirflowFailException(f"{home} has no files.")
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
                log.info("%s removed: it is no longer in %s", name, home)
    log.info("%s", ", ".join(f"{count} {verdict}" for verdict, count in counts.items()))


@task
def evaluate() -> None:
    """Fails if a figure misses its threshold or could not be measured."""
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
    schedule=None if SCHEDULE == "none" else SCHEDULE,
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 6,
        "retry_delay": timedelta(seconds=10),
        "execution_timeout": timedelta(hours=2),
        "on_failure_callback": task_failed,
    },
    description="Read the documents again, and use them if the answers are good",
    tags=["documents"],
    doc_md=ABOUT,
    params={
        "collection": Param("default", type="string", pattern=r"^\w[\w .-]{0,63}$", title="Collection"),
        "follow_removals": Param(
            False,
            type="boolean",
            title="Follow removals",
            description="Remove documents that are not in the folder, including those uploaded by hand.",
        ),
        "questions": Param(150, type="integer", minimum=1, maximum=2000, title="Questions"),
        "gate": Param(
            {"recall@4": 0.8, "answer_containment": 0.7},
            type="object",
            title="Thresholds",
            description="The minimum for each figure (for ece and quotes the maximum).",
            additionalProperties={"type": "number"},
        ),
    },
)
def refresh_documents() -> None:
    """One task after the other; a failure leaves the collection unchanged."""
    copy() >> read() >> evaluate() >> promote()


refresh_documents()
