"""What a text is found by: its words, whatever their ending."""

from __future__ import annotations

from rag_service.language import language_of, stem, words


def terms_of(text: str, language: str | None = None) -> list[str]:
    """The stems of a text's words, in order, by its language (two letters; none: it is found out). Questions and
    passages go through this alike."""
    language = language or language_of(text)
    return [stem(word, language) for word in words(text, language)]
