"""Markdown as people read it: the words stay, the marks go."""

from __future__ import annotations

import re

from rag_service.loaders.text import heading, table_row

_FENCE = re.compile(r"^\s*(```|~~~)")
_TABLE_RULE = re.compile(r"^\s*\|?\s*:?-{2,}[-|:\s]*$")
_BAR = re.compile(r"(?<!\\)\|")
_RULE = re.compile(r"^\s*([-*_])(\s*\1){2,}\s*$")
_MARK = re.compile(r"[*_`<\[]")
# Every repetition is bounded: without that, a line of brackets alone would take time that grows with its square.
_INLINE = (
    (re.compile(r"<!--.{0,2000}?-->"), ""),
    (re.compile(r"!\[([^\]\n]{0,500})\]\([^)\n]{0,500}\)"), r"\1"),
    (re.compile(r"\[([^\]\n]{1,500})\]\([^)\n]{0,500}\)"), r"\1"),
    (re.compile(r"\[([^\]\n]{1,500})\]\[[^\]\n]{0,500}\]"), r"\1"),
    (re.compile(r"<(https?://[^>\s]{1,500})>"), r"\1"),
    (re.compile(r"(\*\*|__)(?=\S)(.{1,500}?)(?<=\S)\1"), r"\2"),
    (re.compile(r"(?<![\w*])\*(?=\S)([^*\n]{1,500}?)(?<=\S)\*(?![\w*])"), r"\1"),
    (re.compile(r"(?<![\w_])_(?=\S)([^_\n]{1,500}?)(?<=\S)_(?![\w_])"), r"\1"),
    (re.compile(r"`([^`\n]{1,500})`"), r"\1"),
)


def to_text(source: str) -> str:
    """The words of a Markdown source. Lines of a paragraph are joined; code, list items and table rows keep theirs.

    A row of a table says its column's names, as it does from a CSV file: a passage or a quote may hold it alone.
    """
    blocks: list[str] = []
    in_code = False
    before, names = "", list[str]()  # the line before; those of the columns, while a table goes on
    header_alone = False  # the last block is the table's first row, which the others say
    lines = source.replace("\r\n", "\n").split("\n")
    for line in _without_front_matter(lines):
        if _FENCE.match(line):
            in_code = not in_code
            blocks.append("")
        elif in_code:
            blocks.append(line)
        elif names and "|" in line:
            if header_alone:
                blocks.pop()
                header_alone = False
            blocks.append(table_row(names, _cells(line)))
        elif "|" in before and _TABLE_RULE.match(line) and len(_cells(line)) == len(_cells(before)):
            names = _cells(before)
            header_alone = list(filter(None, _cells(blocks[-1]))) == list(filter(None, names))
        else:
            if names:
                blocks.append("")
                names = []
            _append_prose(blocks, line)
        before = line
    return "\n".join(blocks)


def _append_prose(blocks: list[str], line: str) -> None:
    stripped = line.strip()
    underlined = re.fullmatch(r"=+|-+", stripped)
    if underlined and blocks and blocks[-1] and not blocks[-1].startswith("- ") and " | " not in blocks[-1]:
        blocks[-1:] = ["", heading(1 if stripped[0] == "=" else 2, blocks[-1]), ""]
    elif not stripped or _RULE.match(line) or underlined:
        blocks.append("")
    elif _TABLE_RULE.match(line):
        return
    elif title := re.match(r"(#{1,6})\s+(.*?)\s*#*$", stripped):
        blocks.extend(("", heading(len(title[1]), _inline(title[2])), ""))
    elif re.match(r"([-*+]|\d+[.)])\s|\|", stripped):
        blocks.append(_inline(re.sub(r"^[*+]\s", "- ", re.sub(r"\s*\|\s*", " | ", stripped.strip("|").strip()))))
    elif blocks and blocks[-1]:
        blocks[-1] += " " + _inline(re.sub(r"^>\s?", "", stripped))
    else:
        blocks.append(_inline(re.sub(r"^>\s?", "", stripped)))


def _cells(line: str) -> list[str]:
    """The cells of a table's line; a bar behind a backslash is one of the cell's own."""
    return [
        _inline(cell.strip().replace("\\|", "|"))
        for cell in _BAR.split(line.strip().removeprefix("|").removesuffix("|"))
    ]


def _inline(text: str) -> str:
    if not _MARK.search(text):
        return text
    for pattern, replacement in _INLINE:
        text = pattern.sub(replacement, text)
    return text


def _without_front_matter(lines: list[str]) -> list[str]:
    if lines and lines[0].strip() == "---" and "---" in (line.strip() for line in lines[1:60]):
        return lines[[line.strip() for line in lines].index("---", 1) + 1 :]
    return lines
