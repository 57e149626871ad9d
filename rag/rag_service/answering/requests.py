"""Requests that are no question for a single fact: lists, summaries, and comparisons or counts of a table's rows."""

from __future__ import annotations

import re
from collections import defaultdict

from rag_service.language import content_stems, language_of, words
from rag_service.types import Block, Extracted

_LIST = re.compile(
    r"^\W*(please |can you |could you )?(list\b|enumerate\b|(name|give|show|tell)\b.{0,20}\b(all|every|each)\b"
    r"|(what|which) are (all|the different)\b|liste\b|zähle?\b.*\bauf\b|nenne?\b.{0,20}\balle\b|énumère|enumera)",
    re.IGNORECASE,
)
_SUMMARY = re.compile(
    r"^\W*(please |can you |could you )?(summari[sz]e\b|(give|write|make)\b.{0,30}\b(summary|overview)\b|sum up\b"
    r"|what is .{0,40}\b(document|file|text)s? about\b"
    r"|fasse\b.*\bzusammen\b|zusammenfassung\b|résume|resume\b|riassumi)",
    re.IGNORECASE,
)
_IN_ORDER = re.compile(
    r"\b(steps?|stages?|order|procedure|instructions?|schritte?|étapes?|pasos?|passi|шаг\w*)\b", re.I
)
_SUPERLATIVE = re.compile(
    r"(?<!\bat )\b(most|least|best|worst|(?:low|high|few|large|small|bigg|great|long|short|old|young|new|cheap|tall)est"
    r"|(?:niedrigs|höchs|meis|wenigs|größ|kleins|längs|kürzes|ältes|jüngs|bes)te[nrs]?)\b",
    re.IGNORECASE,
)
_COUNT = re.compile(r"\b(?:how many|wie viele)\b", re.IGNORECASE)
SINGLE_FACTS = (
    "The service answers questions for single facts from the documents, and lists the items of a section. It does not "
    "summarise, and found no section with items for this request. Ask for one fact, or name the section's subject."
)

ONE_ROW = (
    "This question compares or counts the rows of a table. The service answers from single rows, such as those cited "
    "here, and neither compares nor counts them. Ask about one row by its name."
)


def asks_for_list(question: str) -> bool:
    return bool(_LIST.search(question))


def asks_for_summary(question: str) -> bool:
    return bool(_SUMMARY.search(question))


def asks_over_rows(question: str, row: str) -> bool:
    """Whether the question compares or counts rows such as this one, which does not say the answer itself: no word of
    its superlative, no number of what is counted, and nothing that the question names."""
    superlatives = {one.lower() for one in _SUPERLATIVE.findall(question)}
    if superlatives:
        return not superlatives & set(words(row))
    count = _COUNT.search(question)
    if count is None:
        return False
    language = language_of(question)
    asked = content_stems(question, language)
    counted = content_stems(" ".join(words(question[count.end() :])[:1]), language)
    for cell in row.replace("_", " ").split(" | "):
        name, _, value = cell.rpartition(": ")
        in_number = value[:1].isdigit()
        if (counted if in_number else asked) & content_stems(name if in_number else value, language):
            return False
    return True


def items_around(content: Extracted, start: int, request: str) -> tuple[int, list[Block]]:
    """The list items of the section in which the place lies, in order: from the heading before it to the next of its
    level or higher. A table's rows where there is no item. Of several lists those that the request names most words of,
    and how many: in the headings over a list and in the sentence that announces it."""
    section, level = (0, len(content.text)), 0
    for one in content.blocks:
        if one.kind == "heading" and one.start <= start:
            section, level = (one.start, len(content.text)), one.level
        elif one.kind == "heading" and one.level <= (level or one.level):
            section = section[0], one.start
            break
    inside = [one for one in content.blocks if section[0] <= one.start < section[1]]
    kind = "item" if any(one.kind == "item" for one in inside) else "row"
    language = language_of(request)
    wanted = content_stems(request, language)
    lists: dict[int, list[Block]] = defaultdict(list)
    over = title = ""
    for one in inside:
        words = content.text[one.start : one.end]
        if one.kind == "heading":
            over, title = one.label or words, ""
        elif one.kind == "paragraph" and words.endswith((":", "：")):
            title = words
        elif one.kind == kind:
            is_ordered = bool(_IN_ORDER.search(request)) and re.match(r"\w{1,4}[.)]", words) is not None
            lists[len(wanted & content_stems(f"{over} {title}", language)) + is_ordered].append(one)
    return max(lists.items(), default=(0, []))
