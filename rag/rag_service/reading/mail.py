"""Mails (.eml): who wrote to whom, when and about what, then the text; attachments are named, not read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from email import message_from_bytes, policy
from email.message import EmailMessage, Message

from selectolax.lexbor import LexborHTMLParser

from rag_service.errors import LoadFailed
from rag_service.reading import encoding, html, text
from rag_service.reading.blocks import Piece, Reading
from rag_service.reading.characters import flat
from rag_service.reading.html_pieces import pieces_of
from rag_service.types import ReadingWarning

_HEAD = {"subject": "Subject", "from": "From", "to": "To", "cc": "Cc", "date": "Date"}


def read(data: bytes, text_bytes: int) -> Reading:
    """The head and the text of a mail. Raises LoadFailed `damaged`, `encrypted`."""
    if b"\x00" in data[:100]:  # some programs save mails as UTF-16
        data = encoding.decode(data).encode()
    message = message_from_bytes(data.lstrip(b"\xef\xbb\xbf\r\n"), policy=policy.default)
    assert isinstance(message, EmailMessage)
    if not any(name in message for name in (*_HEAD, "mime-version")):
        raise LoadFailed("damaged", "This is not a mail: it has no line such as 'From:' or 'Subject:'. Save it again.")
    if message.get_content_type() in ("multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"):
        raise LoadFailed("encrypted", "The mail is encrypted. Save it without encryption, then add it again.")
    facts = {name: words for name in _HEAD if (words := _header(message, name))}
    return letter(facts, list(_body(message, text_bytes)), list(_attachments(message)))


def letter(facts: dict[str, str], body: Sequence[Piece], attachments: Sequence[str]) -> Reading:
    """A message of these parts; `facts` by the names of a mail's head: subject, from, to, cc, date."""
    lines = [f"{_HEAD[name]}: {words}" for name, words in facts.items() if name in _HEAD and name != "subject"]
    pieces = [Piece("heading", facts.get("subject", ""), 1), Piece("paragraph", "\n".join(lines)), *body]
    names = ", ".join(attachments)
    warnings = [ReadingWarning("not read", f"Attachments are not read: {names}. Add them as files of their own.")]
    metadata = {"title" if name == "subject" else name: words for name, words in facts.items()}
    return Reading(pieces, tuple(warnings if attachments else ()), metadata)


def _header(message: EmailMessage, name: str) -> str:
    try:
        return flat(str(message.get(name, "")))
    except (ValueError, IndexError, AttributeError, TypeError):  # what the standard library says to a broken header
        return ""


def _body(message: EmailMessage, text_bytes: int) -> Iterator[Piece]:
    """The text as plain text where the mail has it, else as HTML; of a mail within it, its head too."""
    for kind in ("plain", "html"):
        part = message.get_body((kind,))
        pieces = _pieces(part, text_bytes) if part is not None else []
        if pieces:
            yield from pieces
            break
    for inner in message.iter_attachments() if message.is_multipart() else ():
        if inner.get_content_type() == "message/rfc822":
            yield from read(inner.get_content().as_bytes(), text_bytes).pieces


def _pieces(part: Message, text_bytes: int) -> Sequence[Piece]:
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes) or not data.strip():
        return []
    try:
        words = encoding.checked(data.decode(part.get_content_charset() or "utf-8"))
    except (LookupError, UnicodeError):  # it is not in the encoding that it names: its bytes decide
        words = html.decode(data)
    is_page = part.get_content_type() == "text/html"
    return pieces_of(LexborHTMLParser(words), text_bytes) if is_page else text.pieces(words)


def _attachments(message: EmailMessage) -> Iterator[str]:
    for part in message.walk():
        name = part.get_filename()
        if name and part.get_content_type() != "message/rfc822":
            yield flat(name)
