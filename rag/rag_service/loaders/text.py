"""Plain text: its encoding found, its characters made fit to store and to quote."""

from __future__ import annotations

import re

from rag_service.errors import LoadFailed

_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\u200b\ufeff\ufffe\uffff]")


def tidy(text: str) -> str:
    """Text without control characters, lone surrogates and runs of white space; at most one empty line in a row."""
    text = re.sub(r"\r\n|[\r\u2028\u2029\f\v]", "\n", text).replace("\u00a0", " ")
    text = _CONTROLS.sub("", text).encode("utf-8", "replace").decode("utf-8")
    text = re.sub(r"(?<=\S)[ \t]{2,}", " ", text)
    lines = [line.rstrip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def decode(data: bytes) -> str:
    """Text from bytes: by its mark, as UTF-8, else by the likeliest encoding. Raises LoadFailed `not text`."""
    text = _decoded(data)
    if sum(1 for _ in _CONTROLS.finditer(text)) + text.count("\ufffd") > 1 + len(text) / 100:
        raise LoadFailed("not text", "The file's bytes are not text, whatever its name says.")
    return text


def _decoded(data: bytes) -> str:
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode(_likeliest(data), "replace")


def _likeliest(data: bytes) -> str:
    """Short Western texts tell too little to guess by; for them the commonest old encoding is the better guess."""
    from charset_normalizer import from_bytes

    best = from_bytes(data[:200_000]).best() if len(data) >= 500 else None
    return best.encoding if best is not None else "cp1252"
