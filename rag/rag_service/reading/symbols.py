"""Characters of fonts that show signs in place of letters: Symbol, Wingdings, as Unicode."""

from __future__ import annotations

# The Symbol font from 0x20, with "\0" where it has no sign of its own (Adobe's table of its encoding).
_SYMBOL_LOW = " !∀#∃%&∋()∗+,−./0123456789:;<=>?≅ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_‾αβχδεφγηιϕκλμνοπθρστυϖωξψζ{|}∼"
_SYMBOL_HIGH = "€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…⏐⎯↵ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓◊〈®©™∑⎛⎜⎝⎡⎢⎣⎧⎨⎩⎪\0〉∫⌠⎮⌡⎞⎟⎠⎤⎥⎦⎫⎬⎭"
_SYMBOL = {0x20 + place: sign for place, sign in enumerate(_SYMBOL_LOW)}
_SYMBOL |= {0xA0 + place: sign for place, sign in enumerate(_SYMBOL_HIGH)}
# Boxes with a tick and with a cross both are ticked boxes.
_WINGDINGS = {
    0x21: "✏", 0x22: "✂", 0x28: "☎", 0x29: "✆", 0x2A: "✉", 0x36: "⌛", 0x3A: "🖥", 0x41: "✌", 0x46: "☞", 0x4A: "☺",
    0x4B: "😐", 0x4C: "☹", 0x4E: "☠", 0x52: "☼", 0x54: "❄", 0x6C: "●", 0x6D: "❍", 0x6E: "■", 0x6F: "☐", 0x70: "☐",
    0x71: "☐", 0x72: "☐", 0x73: "⬧", 0x74: "◆", 0x75: "◆", 0x76: "❖", 0x77: "◆", 0x78: "☒", 0x9F: "•", 0xA7: "▪",
    0xA8: "☐", 0xAB: "★", 0xD8: "➢", 0xDF: "←", 0xE0: "→", 0xE1: "↑", 0xE2: "↓", 0xE7: "←", 0xE8: "→", 0xE9: "↑",
    0xEA: "↓", 0xEF: "⇦", 0xF0: "⇨", 0xF3: "⇔", 0xFB: "✗", 0xFC: "✓", 0xFD: "☒", 0xFE: "☒",
} | {0x80 + digit: chr(0x24EA if not digit else 0x245F + digit) for digit in range(11)}  # fmt: skip
_WINGDINGS_2 = {0x4F: "✗", 0x50: "✓", 0x51: "☒", 0x52: "☒", 0x53: "☒", 0x54: "☒", 0x55: "☒", 0x2A: "☐", 0xA3: "☐"}
_FONTS = {"symbol": _SYMBOL, "wingdings": _WINGDINGS, "wingdings 2": _WINGDINGS_2}


def symbol(font: str, code: int) -> str:
    """The sign that a font shows for a code, as Unicode; "" for one that is not known. Codes of these fonts
    are often written in the private area from 0xF000; there a font that is not known is taken for Symbol."""
    signs = _FONTS.get(font.lower())
    if 0xF000 <= code <= 0xF0FF:
        return (signs or _SYMBOL).get(code - 0xF000, "").replace("\0", "")
    if signs is not None:
        return signs.get(code, "").replace("\0", "")
    return chr(code) if 0x20 <= code < 0xD800 or 0xE000 <= code <= 0x10FFFF else ""


def in_text(font: str, words: str) -> str:
    """Words of a run in a font, with its private characters as Unicode."""
    if not any("\uf000" <= one <= "\uf0ff" for one in words):
        return words
    return "".join(symbol(font, ord(one)) if "\uf000" <= one <= "\uf0ff" else one for one in words)
