"""Plain text: its encoding found, its characters made fit to store and to quote."""

from __future__ import annotations

import re

from rag_service.errors import LoadFailed

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200b\ufeff\ufffe\uffff]")


def tidy(text: str) -> str:
    """Text without control characters, lone surrogates and runs of white space; at most one empty line in a row."""
    text = re.sub(r"\r\n|[\r\u2028\u2029\f\v]", "\n", text).replace("\u00a0", " ")
    text = _CONTROLS.sub("", text).encode("utf-8", "replace").decode("utf-8")
    text = re.sub(r"(?<=\S)[ \t]{2,}", " ", text)
    lines = [line.rstrip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def decode(data: bytes) -> str:
    """Text from bytes: by its mark, as UTF-8, else by the likeliest encoding. Raises LoadFailed `not text`."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    if b"\x00" in data:
        raise LoadFailed("not text", "The file's bytes are not text, whatever its name says.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return _guessed(data)


def _guessed(data: bytes) -> str:
    from charset_normalizer import from_bytes

    best = from_bytes(data[:200_000]).best()
    # Short Western texts tell too little to guess by; the commonest old encoding is then the better guess.
    encoding = best.encoding if best is not None and len(data) >= 500 else "cp1252"
    text = data.decode(encoding, "replace")
    controls = len(_CONTROLS.findall(text)) + text.count("\ufffd")
    if controls > len(text) / 100:
        raise LoadFailed("not text", "The file's bytes are not text, whatever its name says.")
    return text
