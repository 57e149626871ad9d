"""HTTP to calls and back for documents, images of their pages, and collections."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import IO, Annotated, Any

from fastapi import APIRouter, Depends, File, Form, Path, Query, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError

from rag_service.errors import LoadFailed, NoPageImage, TooManyFiles, TooManyImages, counted
from rag_service.http import answers
from rag_service.http.answers import (
    Added,
    Collections,
    Documents,
    InUse,
    NextBegun,
    Questions,
    TextOfDocument,
    UploadJob,
    WholeDocument,
)
from rag_service.http.ask import Collection, Metadata, Name, OfQuery, service_of
from rag_service.http.keys import Grant, granted
from rag_service.indexing.ingest import clean_name
from rag_service.indexing.jobs import Job, Progress
from rag_service.reading import draw_page
from rag_service.service import Service, place_in
from rag_service.store.protocol import NEXT, PREVIOUS
from rag_service.types import PageImage

router = APIRouter()

Running = Annotated[Service, Depends(service_of)]
Granted = Annotated[Grant, Depends(granted)]
_METADATA: TypeAdapter[dict[str, str]] = TypeAdapter(Metadata)

_MOST_DRAW_SECONDS = 10.0  # of processor time; somebody waits for the page
# What is drawn depends on nothing but the address and, for who may see it, the key.
_IMAGE_HEADERS = {"Cache-Control": "private, max-age=3600", "Vary": "Authorization, X-API-Key"}


@router.post("/documents", response_model=None, responses={200: {"model": Added}, 202: {"model": UploadJob}})
def add_documents(
    service: Running,
    grant: Granted,
    response: Response,
    files: Annotated[list[UploadFile], File()],
    collection: Annotated[Collection, Form()] = "default",
    metadata: Annotated[
        str,
        Form(description='Strings that searches can ask for, such as {"year": "2024"}.'),
    ] = "",
    background: Annotated[bool, Query()] = False,
) -> Added | UploadJob:
    """Adds files; a verdict for each: indexed, unchanged or failed with the reason, and with warnings of what was not
    read. With `background=true` the answer comes at once, with status 202 and a job: GET /jobs/{job} shows how far it
    is, and the verdicts as they fall. Over PostgreSQL that is a promise: whatever is killed, the files are added."""
    grant.check(collection)
    if len(files) > service.settings.max_files:
        raise TooManyFiles(counted(len(files), "file"), service.settings.max_files)
    names = Counter(clean_name(file.filename or "unnamed") for file in files)
    if twice := sorted(name for name, count in names.items() if count > 1):
        raise _invalid(
            "files", f"a name stands for one document, but these come more than once: {', '.join(twice[:5])}"
        )
    if collection.endswith(PREVIOUS):
        service.store.view(collection)  # raises where it is not there; where it is, it is a state to go back to
        raise _invalid("collection", "a state to go back to is not changed: use the collection itself, or @next")
    facts = _facts(metadata)
    library = service.parts().library
    most = service.settings.max_file_bytes + 1  # one byte more shows that a file is too large
    if background:
        response.status_code = 202
        return UploadJob(**vars(_added_later(service, files, collection, facts, most)), collection=collection)
    verdicts = [
        library.add(file.filename or "unnamed", file.file.read(most), collection, metadata=facts) for file in files
    ]
    return Added(collection, verdicts)


def _facts(metadata: str) -> dict[str, str] | None:
    try:
        return _METADATA.validate_json(metadata) if metadata.strip() else None
    except ValidationError as error:
        raise _invalid("metadata", str(error.errors()[0]["msg"])) from error


def _invalid(field: str, message: str) -> RequestValidationError:
    return RequestValidationError([{"loc": ("body", field), "msg": message, "type": "value_error"}])


def _added_later(
    service: Service, files: Sequence[UploadFile], collection: str, metadata: Mapping[str, str] | None, most: int
) -> Progress:
    if service.keeps_uploads:
        contents = ((file.filename or "unnamed", file.file.read(most)) for file in files)
        return service.jobs.upload(collection, metadata, contents, len(files))
    held = ExitStack()
    copies: list[tuple[str, IO[bytes]]] = []

    def work(job: Job) -> None:
        with held:
            job.reaches(0, len(copies))
            for name, copy in copies:
                job.works_on(name)
                copy.seek(0)
                library = service.parts().library
                verdict = library.add(name, copy.read(most), collection, metadata=metadata, on_passages=job.on_passages)
                job.ends_step(verdict)

    with ExitStack() as on_refusal:
        on_refusal.push(held)
        for file in files:  # copied: the request's own files end with it
            copy = held.enter_context(tempfile.TemporaryFile(dir=service.settings.data_dir))
            shutil.copyfileobj(file.file, copy)
            copies.append((file.filename or "unnamed", copy))
        progress = service.jobs.start("ingest", work)
        on_refusal.pop_all()
    return progress


@router.get("/documents")
def list_documents(
    service: Running,
    grant: Granted,
    collection: Annotated[Collection | None, Query()] = None,
    after: Annotated[str, Query(max_length=400)] = "",
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    name: Annotated[str, Query(max_length=255)] = "",
) -> Documents:
    """The documents of a collection, or of all, by name, at most `limit`; with `name`, those that have it in theirs.
    Where there may be more, `next` is the `after` of the next page."""
    if collection is not None:
        grant.check(collection)
    seen = [name for name in service.store.collections() if grant.sees(name)] if grant.collections is not None else None
    found = service.store.documents(collection or seen, after, limit, name)
    last = found[-1] if len(found) == limit else None
    if last is None:
        return Documents(found, None)
    return Documents(found, last.name if collection else f"{last.collection}/{last.name}")


@router.get("/documents/{document_id}", response_model=None, responses={200: {"model": WholeDocument}})
def get_document(document_id: str, service: Running, collection: OfQuery) -> dict[str, Any]:
    """A document's extracted text, which every quote's offsets refer to, its blocks, pages, headings and warnings."""
    content = service.store.content(collection, document_id)
    summary = service.store.find(collection, document_id=document_id)
    shaped = {**asdict(content), "headings": [asdict(heading) for heading in content.headings]}
    own = asdict(summary) if summary else {}
    return {**own, **shaped, "metadata": {**content.metadata, **own.get("metadata", {})}}


@router.get("/documents/{document_id}/text")
def get_text(
    document_id: str,
    service: Running,
    collection: OfQuery,
    start: Annotated[int, Query(ge=0)] = 0,
    end: Annotated[int, Query(ge=0)] = 4000,
) -> TextOfDocument:
    """A part of a document's extracted text: what stands around a quote."""
    text = service.store.text(collection, document_id, start, max(start, end))
    return TextOfDocument(text, start, start + len(text))


@router.get(
    "/documents/{document_id}/pages/{number}.png",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}},
)
def get_page(
    document_id: str,
    number: Annotated[int, Path(ge=1)],
    request: Request,
    service: Running,
    collection: OfQuery,
    start: Annotated[int, Query(ge=0)] = 0,
    end: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """A page of a PDF as an image. `text[start:end]` of the document's text, such as a citation's quote, is marked in
    it where it is found; the header `X-Marked-At` then says how far down that is, from 0 to 1."""
    full = TooManyImages(counted(service.settings.max_uploads, "page"))
    with place_in(request.app.state.drawing, full):
        image = _drawn(service, collection, document_id, number, (start, end))
    marked = {} if image.marked_at is None else {"X-Marked-At": f"{image.marked_at:.3f}"}
    return Response(image.png, media_type="image/png", headers=_IMAGE_HEADERS | marked)


def _drawn(service: Service, collection: str, document_id: str, number: int, place: tuple[int, int]) -> PageImage:
    original = service.store.original(collection, document_id)
    if original.data is None:
        most = service.settings.max_original_bytes
        raise NoPageImage(
            f"This document's file was not kept when it was added; PDFs of at most {most:,} bytes are. "
            "To see its pages, delete it and add it again."
        )
    page = next((one for one in original.pages if one.number == number), None)
    if page is None:
        raise NoPageImage(f"The document has {counted(len(original.pages), 'page')}; there is no page {number}.")
    start, end = (min(max(one, page.start), page.end) for one in place)
    before = service.store.text(collection, document_id, page.start, start)
    quote = service.store.text(collection, document_id, start, max(start, end))
    try:
        limits = service.limits()
        limits = replace(limits, seconds=min(limits.seconds, _MOST_DRAW_SECONDS))
        return draw_page(original.data, number, before, quote, limits)
    except LoadFailed as failure:
        raise NoPageImage(f"The page cannot be drawn. {failure.detail}") from failure


@router.delete("/documents/{document_id}", status_code=204)
def delete_document(document_id: str, service: Running, collection: OfQuery) -> Response:
    """Removes a document with all its names from a collection."""
    summary = service.store.find(collection, document_id=document_id)
    if summary is not None and summary.origin is not None:
        service.refuse_watched(collection)
    service.store.delete(collection, document_id)
    return Response(status_code=204)


@router.get("/collections")
def list_collections(service: Running, grant: Granted) -> Collections:
    """The collections that hold documents; `next`: the documents of a refresh that is not in use yet, `previous`: those
    that a rollback would bring back."""
    counts = service.store.collections()
    names = [name for name in counts if not name.endswith((NEXT, PREVIOUS)) and grant.sees(name)]
    return Collections(
        [answers.Collection(name, counts[name], counts.get(name + NEXT), counts.get(name + PREVIOUS)) for name in names]
    )


@router.get("/collections/{collection}/questions")
def sample_questions(collection: Collection, service: Running, grant: Granted, request: Request) -> Questions:
    """A few questions that the collection's documents answer, to begin with."""
    grant.check(collection)
    return Questions(request.app.state.samples.of(service, collection))


@router.delete("/collections/{collection}", status_code=204)
def delete_collection(collection: Collection, service: Running, grant: Granted) -> Response:
    """Deletes a collection with all its documents, and what a rollback would bring back."""
    grant.check(collection)
    service.refuse_watched(collection)
    service.store.drop(collection)
    return Response(status_code=204)


@router.post("/collections/{collection}/next", status_code=201)
def begin_next(collection: Name, service: Running, grant: Granted) -> NextBegun:
    """Copies a collection to NAME@next, in place of an earlier copy: add, remove and evaluate documents there, while
    the collection answers as before. It costs no embedding: a content is stored once."""
    grant.check(collection)
    return NextBegun(service.store.begin_next(collection).collection)


@router.post("/collections/{collection}/promote")
def promote_next(collection: Name, service: Running, grant: Granted) -> InUse:
    """Lets the collection be what NAME@next is, in one step. What others have added to the collection or removed from
    it since the copy was made stays added or removed. What it was before is kept as NAME@previous."""
    grant.check(collection)
    service.refuse_watched(collection)
    service.store.promote_next(collection)
    return InUse(collection, service.store.collections().get(collection, 0))


@router.post("/collections/{collection}/rollback")
def roll_back(collection: Name, service: Running, grant: Granted) -> InUse:
    """Lets the collection be what it was before the last promotion, in one step; a second time undoes that."""
    grant.check(collection)
    service.refuse_watched(collection)
    service.store.roll_back(collection)
    return InUse(collection, service.store.collections().get(collection, 0))
