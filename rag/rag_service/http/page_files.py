"""The pages, the files that they fetch, and the headers under which a browser shows them: nothing but these files.

Both services of the project have this module as it stands here; neither imports from the other.
"""

from html import escape
from os import PathLike, stat_result
from pathlib import Path

from starlette.datastructures import URL
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parent / "pages"
_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",  # a browser that knows it refuses innerHTML altogether
}
PAGE_HEADERS = {
    "Content-Security-Policy": "; ".join(f"{kind} {allowed}" for kind, allowed in _POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",  # kept by the browser, but asked for again: the answer is mostly 304
}


class PageFiles(StaticFiles):
    """What lies in `pages/`, with these headers."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)

    def file_response(
        self, full_path: str | PathLike[str], stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(PAGE_HEADERS)
        return response


def site_links(pages: str, url: URL, here: str = "") -> str:
    """The navigation that all pages of the stack have on top; nothing where there is one page only.

    `pages` is `Name=place Name=place …`; a place is a port of the host that was called (`:8001/`), a path or an
    address. `here` is the name of this page, which was called as `url`.
    """
    host = url.netloc if url.port is None else url.netloc.rpartition(":")[0]
    links = []
    for name, _, place in (pair.partition("=") for pair in pages.split()):
        href = escape(f"{url.scheme}://{host}{place}" if place.startswith(":") else place)
        current = ' aria-current="page"' if name == here else ""
        links.append(f'<a href="{href}"{current}>{escape(name)}</a>')
    return f'<nav class="site" aria-label="Services">{"".join(links)}</nav>' if len(links) > 1 else ""


def page(file: str, links: str) -> Response:
    """A page for people under its navigation; it fetches the rest itself."""
    html = (FOLDER / file).read_text(encoding="utf-8").replace("<!-- links -->", links)
    return HTMLResponse(html, headers=PAGE_HEADERS)
