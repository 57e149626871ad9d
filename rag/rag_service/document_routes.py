"""HTTP to calls and back for what is in the store: documents, jobs, snapshots, reindexing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import IO, Annotated, Any

from fastapi import APIRouter, Depends, File, Form, Query, Response, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from rag_service.errors import TooManyFiles
from rag_service.jobs import Job
from rag_service.routes import Collection, runtime_of
from rag_service.runtime import Runtime

router = APIRouter()


class NewSnapshot(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(examples=["before-refresh"])


Running = Annotated[Runtime, Depends(runtime_of)]


@router.post("/documents")
def add_documents(
    runtime: Running,
    response: Response,
    files: Annotated[list[UploadFile], File()],
    collection: Annotated[Collection, Form()] = "default",
    background: Annotated[bool, Query()] = False,
) -> dict[str, Any]:
    """Adds files; a verdict for each: indexed, unchanged or failed with the reason. With `background=true` the answer
    comes at once, with status 202 and a job: GET /jobs/{job} shows how far it is, and the verdicts as they fall."""
    if len(files) > runtime.settings.max_files:
        raise TooManyFiles(len(files), runtime.settings.max_files)
    library = runtime.parts().library
    most = runtime.settings.max_file_bytes + 1  # one byte more tells that a file is too large
    if background:
        response.status_code = 202
        return {"collection": collection, **_added_later(runtime, files, collection, most)}
    verdicts = [library.add(file.filename or "unnamed", file.file.read(most), collection) for file in files]
    return {"collection": collection, "documents": [asdict(verdict) for verdict in verdicts]}


def _added_later(runtime: Runtime, files: Sequence[UploadFile], collection: str, most: int) -> dict[str, Any]:
    held = ExitStack()
    copies: list[tuple[str, IO[bytes]]] = []

    def work(job: Job) -> None:
        job.expects(len(copies))
        with held:
            for name, copy in copies:
                job.works_on(name)
                copy.seek(0)
                job.ends_step(runtime.parts().library.add(name, copy.read(most), collection, tell=job.tells))

    with ExitStack() as on_refusal:
        on_refusal.push(held)
        for file in files:  # copied: the request's own files end with it
            copy = held.enter_context(tempfile.TemporaryFile(dir=runtime.settings.data_dir))
            shutil.copyfileobj(file.file, copy)
            copies.append((file.filename or "unnamed", copy))
        progress = runtime.jobs.start("ingest", work)
        on_refusal.pop_all()
    return asdict(progress)


@router.get("/documents")
def list_documents(runtime: Running, collection: Annotated[Collection | None, Query()] = None) -> dict[str, Any]:
    """The documents of a collection, or of all."""
    return {"documents": [asdict(document) for document in runtime.store.documents(collection)]}


@router.get("/documents/{document_id}")
def get_document(
    document_id: str, runtime: Running, collection: Annotated[Collection, Query()] = "default"
) -> dict[str, Any]:
    """A document's extracted text, which every quote's offsets refer to, its pages and its headings."""
    content = runtime.store.content(collection, document_id)
    summary = runtime.store.find(collection, document_id=document_id)
    return {**(asdict(summary) if summary else {}), **asdict(content)}


@router.delete("/documents/{document_id}", status_code=204)
def delete_document(
    document_id: str, runtime: Running, collection: Annotated[Collection, Query()] = "default"
) -> Response:
    """Removes a document everywhere."""
    runtime.store.delete(collection, document_id)
    return Response(status_code=204)


@router.get("/collections")
def list_collections(runtime: Running) -> dict[str, Any]:
    """The collections that hold documents."""
    counts = runtime.store.collections()
    return {"collections": [{"name": name, "documents": count} for name, count in counts.items()]}


@router.get("/jobs")
def list_jobs(runtime: Running) -> dict[str, Any]:
    """Long work that runs or has ended since the start, the newest first, without verdicts."""
    return {"jobs": [asdict(progress) for progress in runtime.jobs.all()]}


@router.get("/jobs/{job}")
def get_job(job: str, runtime: Running) -> dict[str, Any]:
    """How far a job is: `state` running, done or failed; `done` of `total`; `current`, with its `passages` of
    `passages_total`; a verdict for each file."""
    return asdict(runtime.jobs.find(job))


@router.post("/snapshots", status_code=201)
def take_snapshot(body: NewSnapshot, runtime: Running) -> dict[str, Any]:
    """Keeps all collections as they are now under a name, in place of a snapshot of the same name."""
    return asdict(runtime.snapshots.take(body.name))


@router.get("/snapshots")
def list_snapshots(runtime: Running) -> dict[str, Any]:
    """The snapshots, the newest first."""
    return {"snapshots": [asdict(snapshot) for snapshot in runtime.snapshots.all()]}


@router.post("/snapshots/{name}/restore")
def restore_snapshot(name: str, runtime: Running) -> dict[str, Any]:
    """Makes all collections what they were, in one step; questions are answered meanwhile."""
    return asdict(runtime.snapshots.restore(name))


@router.delete("/snapshots/{name}", status_code=204)
def delete_snapshot(name: str, runtime: Running) -> Response:
    """Forgets a snapshot."""
    runtime.snapshots.delete(name)
    return Response(status_code=204)


@router.post("/reindex", status_code=202)
def reindex(runtime: Running) -> dict[str, Any]:
    """Makes all vectors anew from the stored text, with the embedder and passage size of the settings. A job; the old
    vectors answer until it has ended."""
    return asdict(runtime.start_reindex())
