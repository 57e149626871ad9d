"""Markdown as people read it: the words stay, the marks go."""

from __future__ import annotations

import re

_FENCE = re.compile(r"^\s*(```|~~~)")
_TABLE_RULE = re.compile(r"^\s*\|?\s*:?-{2,}[-|:\s]*$")
_RULE = re.compile(r"^\s*([-*_])(\s*\1){2,}\s*$")
_INLINE = (
    (re.compile(r"<!--.*?-->"), ""),
    (re.compile(r"!\[([^\]\n]*)\]\([^)\n]*\)"), r"\1"),
    (re.compile(r"\[([^\]\n]+)\]\([^)\n]*\)"), r"\1"),
    (re.compile(r"\[([^\]\n]+)\]\[[^\]\n]*\]"), r"\1"),
    (re.compile(r"<(https?://[^>\s]+)>"), r"\1"),
    (re.compile(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1"), r"\2"),
    (re.compile(r"(?<![\w*])\*(?=\S)([^*\n]+?)(?<=\S)\*(?![\w*])"), r"\1"),
    (re.compile(r"(?<![\w_])_(?=\S)([^_\n]+?)(?<=\S)_(?![\w_])"), r"\1"),
    (re.compile(r"`([^`\n]+)`"), r"\1"),
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
    if not stripped or _RULE.match(line) or re.fullmatch(r"=+", stripped):
        blocks.append("")
    elif _TABLE_RULE.match(line):
        return
    elif heading := re.match(r"#{1,6}\s+(.*?)\s*#*$", stripped):
        blocks.extend(("", _inline(heading[1]), ""))
    elif re.match(r"([-*+]|\d+[.)])\s|\|", stripped):
        blocks.append(_inline(re.sub(r"^[*+]\s", "- ", stripped.strip("|").strip())))
    elif blocks and blocks[-1]:
        blocks[-1] += " " + _inline(re.sub(r"^>\s?", "", stripped))
    else:
        blocks.append(_inline(re.sub(r"^>\s?", "", stripped)))


def _inline(text: str) -> str:
    for pattern, replacement in _INLINE:
        text = pattern.sub(replacement, text)
    return text


def _without_front_matter(lines: list[str]) -> list[str]:
    if lines and lines[0].strip() == "---" and "---" in (line.strip() for line in lines[1:60]):
        return lines[[line.strip() for line in lines].index("---", 1) + 1 :]
    return lines
