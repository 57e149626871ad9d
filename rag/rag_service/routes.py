"""HTTP to calls and back; no decisions here. Blocking calls are plain functions and so run in threads."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Query, Request, Response, UploadFile
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from rag_service.documents import Answer, Hit
from rag_service.errors import TooManyFiles
from rag_service.reference import reference_page
from rag_service.runtime import Runtime

router = APIRouter()

Collection = Annotated[str, StringConstraints(pattern=r"^[\w][\w .-]{0,63}$")]
Question = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
TopK = Annotated[int, Field(ge=1, le=20, strict=True)]


class Ask(BaseModel):
    model_config = ConfigDict(extra="forbid")
    question: Question = Field(examples=["What does sulphur dioxide do in wine?"])
    collection: Collection = "default"
    top_k: TopK = 4


class Search(BaseModel):
    model_config = ConfigDict(extra="forbid")
    query: Question = Field(examples=["sulphur dioxide"])
    collection: Collection = "default"
    top_k: TopK = 4


def _runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


@router.post("/ask")
def ask(body: Ask, request: Request) -> dict[str, Any]:
    """An answer with verbatim quotes, or the plain word that the documents do not answer."""
    with _runtime(request).place() as parts:
        answer = parts.answerer.ask(body.question, body.collection, body.top_k)
        generator = parts.generator.name if parts.generator else None
        request.app.state.metrics.answered(answer)
        return _shaped(answer, {"embedder": parts.embedder.name, "generator": generator}, request)


@router.post("/search")
def search(body: Search, request: Request) -> dict[str, Any]:
    """The passages nearest to a query, with how each search ranked them."""
    with _runtime(request).place() as parts:
        return {"hits": [_hit(hit) for hit in parts.answerer.search(body.query, body.collection, body.top_k)]}


@router.post("/documents")
def add_documents(
    request: Request, files: Annotated[list[UploadFile], File()], collection: Annotated[Collection, Form()] = "default"
) -> dict[str, Any]:
    """Adds files; a verdict for each: indexed, unchanged or failed with the reason."""
    runtime = _runtime(request)
    if len(files) > runtime.settings.max_files:
        raise TooManyFiles(len(files), runtime.settings.max_files)
    library = runtime.parts().library
    most = runtime.settings.max_file_bytes + 1  # one byte more tells that a file is too large
    verdicts = [library.add(file.filename or "unnamed", file.file.read(most), collection) for file in files]
    return {"collection": collection, "documents": [asdict(verdict) for verdict in verdicts]}


@router.get("/documents")
def list_documents(request: Request, collection: Annotated[Collection | None, Query()] = None) -> dict[str, Any]:
    """The documents of a collection, or of all."""
    return {"documents": [asdict(document) for document in _runtime(request).store.documents(collection)]}


@router.get("/documents/{document_id}")
def get_document(
    document_id: str, request: Request, collection: Annotated[Collection, Query()] = "default"
) -> dict[str, Any]:
    """A document's extracted text, which every quote's offsets refer to, and its pages."""
    store = _runtime(request).store
    content = store.content(collection, document_id)
    summary = store.find(collection, document_id=document_id)
    return {**(asdict(summary) if summary else {}), "text": content.text, "pages": [asdict(p) for p in content.pages]}


@router.delete("/documents/{document_id}", status_code=204)
def delete_document(
    document_id: str, request: Request, collection: Annotated[Collection, Query()] = "default"
) -> Response:
    """Removes a document everywhere."""
    _runtime(request).store.delete(collection, document_id)
    return Response(status_code=204)


@router.get("/collections")
def list_collections(request: Request) -> dict[str, Any]:
    """The collections that hold documents."""
    counts = _runtime(request).store.collections()
    return {"collections": [{"name": name, "documents": count} for name, count in counts.items()]}


@router.get("/livez")
@router.get("/health", include_in_schema=False)
@router.get("/healthz", include_in_schema=False)
@router.get("/ping", include_in_schema=False)
async def livez() -> dict[str, str]:
    """200 as long as the process answers."""
    return {"status": "alive"}


@router.get("/readyz")
async def readyz(request: Request) -> dict[str, Any]:
    """200 once the models are loaded; says which, and why there is no generator if there is none."""
    parts = _runtime(request).parts()
    return {
        "status": "ready",
        "embedder": parts.embedder.name,
        "generator": parts.generator.name if parts.generator else None,
        "without_generator": parts.without_generator,
    }


@router.get("/metrics", include_in_schema=False)
def metrics(request: Request) -> Response:
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/docs", include_in_schema=False)
def docs(request: Request) -> HTMLResponse:
    return HTMLResponse(reference_page(request.app.openapi()))


@router.get("/openapi.json", include_in_schema=False)
def openapi(request: Request) -> JSONResponse:
    return JSONResponse(request.app.openapi())


def _shaped(answer: Answer, model: dict[str, str | None], request: Request) -> dict[str, Any]:
    return {**asdict(answer), "model": model, "request_id": request.scope["request_id"]}


def _hit(hit: Hit) -> dict[str, Any]:
    shaped = asdict(hit)
    return {**shaped.pop("passage"), **shaped}
