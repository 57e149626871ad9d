"""A PDF's pages as images: what a document looked like, with a quote marked in its place."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from rag_service.errors import LoadFailed, NoPageImage, TooManyImages, counted
from rag_service.http.ask import Collection, service_of
from rag_service.http.keys import granted
from rag_service.reading import draw_page
from rag_service.service import Service
from rag_service.types import PageImage

router = APIRouter()

_MOST_SECONDS = 10.0  # of processor time; somebody waits for the page
# What is drawn depends on nothing but the address and, for who may see it, the key.
_HEADERS = {"Cache-Control": "private, max-age=3600", "Vary": "Authorization, X-API-Key"}


@router.get("/documents/{document_id}/pages/{number}.png", response_class=Response)
def get_page(
    document_id: str,
    number: Annotated[int, Path(ge=1)],
    request: Request,
    collection: Annotated[Collection, Query()] = "default",
    start: Annotated[int, Query(ge=0)] = 0,
    end: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """A page of a PDF as an image. `text[start:end]` of the document's text, such as a citation's quote, is marked in
    it where it is found; the header `X-Marked-At` then says how far down that is, from 0 to 1."""
    granted(request).check(collection)
    places = request.app.state.drawing
    if not places.acquire(blocking=False):
        raise TooManyImages(request.app.state.settings.max_uploads)
    try:
        image = _drawn(service_of(request), collection, document_id, number, (start, end))
    finally:
        places.release()
    marked = {} if image.marked_at is None else {"X-Marked-At": f"{image.marked_at:.3f}"}
    return Response(image.png, media_type="image/png", headers=_HEADERS | marked)


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
        limits = replace(limits, seconds=min(limits.seconds, _MOST_SECONDS))
        return draw_page(original.data, number, before, quote, limits)
    except LoadFailed as failure:
        raise NoPageImage(f"The page cannot be drawn. {failure.detail}") from failure
