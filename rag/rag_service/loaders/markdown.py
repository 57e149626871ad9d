"""Markdown as people read it: the words stay, the marks go."""

from __future__ import annotations

import re

from rag_service.loaders.text import heading

_FENCE = re.compile(r"^\s*(```|~~~)")
_TABLE_RULE = re.compile(r"^\s*\|?\s*:?-{2,}[-|:\s]*$")
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
    """The words of a Markdown source. Lines of a paragraph are joined; code, list items and table rows keep theirs."""
    blocks: list[str] = []
    in_code = False
    lines = source.replace("\r\n", "\n").split("\n")
    for line in _without_front_matter(lines):
        if _FENCE.match(line):
            in_code = not in_code
            blocks.append("")
        elif in_code:
            blocks.append(line)
        else:
            _append_prose(blocks, line)
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
