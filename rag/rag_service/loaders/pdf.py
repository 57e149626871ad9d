"""PDF through pypdf: the text of each page."""

from __future__ import annotations

import io
import re
from itertools import pairwise
from typing import TYPE_CHECKING

from rag_service.errors import LoadFailed

if TYPE_CHECKING:
    from pypdf import PageObject

# What follows the last end mark in a whole file is at most a little padding.
_TAIL = 4096
_MOST_PAGES = 5000


def page_texts(data: bytes, text_bytes: int) -> list[str]:
    """The text of each page, "" for one without text. Raises LoadFailed: encrypted, damaged, too large."""
    from pypdf import PdfReader
    from pypdf.errors import LimitReachedError, PyPdfError

    if b"%%EOF" not in data.rstrip(b"\x00\r\n \t")[-_TAIL:]:
        raise LoadFailed("damaged", "The PDF is cut off: its end is missing. Copy or export it again.")
    try:
        reader = PdfReader(io.BytesIO(data))
        # Many files are locked against editing only and open with an empty password.
        if reader.is_encrypted and not reader.decrypt(""):
            raise LoadFailed("encrypted", "The PDF is encrypted. Save it without a password, then add it again.")
        if len(reader.pages) > _MOST_PAGES:
            raise LoadFailed("too large", f"The PDF has more than {_MOST_PAGES:,} pages. Split it.")
        pages, left = [], text_bytes
        for page in reader.pages:
            pages.append(_prose(page.extract_text()))
            if not pages[-1]:
                _raise_if_beyond_limit(page)
            left -= len(pages[-1])
            if left < 0:
                raise LoadFailed("too large", f"The PDF's text is larger than {text_bytes:,} bytes. Split it.")
        return pages
    except LimitReachedError as error:
        raise LoadFailed("too large", f"The PDF unpacks to more than is taken ({error}).") from error
    except (PyPdfError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        # pypdf lets errors of many kinds through where a file's structure is broken.
        raise LoadFailed("damaged", f"The PDF is damaged ({type(error).__name__}). Export it again.") from error


def _raise_if_beyond_limit(page: PageObject) -> None:
    """pypdf takes a page that unpacks to too much for one without text. Raises LimitReachedError for it."""
    from pypdf.errors import LimitReachedError, PyPdfError

    try:
        contents = page.get_contents()
        if contents is not None:
            contents.get_data()
    except LimitReachedError:
        raise
    except PyPdfError:
        return  # one broken page is a page without text


def _prose(text: str) -> str:
    """Lines of a page joined to paragraphs; a word that was parted at a line's end is whole again.

    A line much shorter than the longest ends its paragraph (or is a heading), unless the next goes on in lower case.
    """
    text = re.sub(r"(?<=[a-zà-ÿ])-\n(?=[a-zà-ÿ])", "", re.sub(r"[ \t]+\n", "\n", text.replace("\r", "")))
    lines = text.split("\n")
    longest = max(len(line) for line in lines)
    joined = lines[0]
    for before, line in pairwise(lines):
        runs_on = bool(before and line) and (len(before) >= 0.6 * longest or line[0].islower())
        joined += (" " if runs_on else "\n\n") + line
    return joined
