"""What each column of a table is, and what is wrong or doubtful about it, from the summaries of `cells.survey`."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from training.config import Config
from training.data.cells import COMPACT_DATE, FALSE, MINUS, MOST_TEXTS, TRUE, Summary, is_date
from training.data.checks import FEWEST_LOOKED_AT, MOST_LABELS, Findings
from training.data.files import identifier

Kind = Literal["number", "category", "boolean", "date"]
WHOLE = re.compile(f"[+{MINUS}-]?[0-9]+")
GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}")  # one and a bit, or a thousand and more
INVISIBLE = dict.fromkeys([0x200B, 0x200E, 0x200F, 0xFEFF])  # spaces without width, and signs of direction
MOSTLY = 0.5  # above this share of cells of a kind, a column is one of that kind with mistakes in it
FEW_TEXTS = 20  # up to this many different amounts with a unit may be meant as categories
ONE_EACH = 0.97  # from this share of different values on, a column names its rows
FEWEST_NAMES = 20  # cells; fewer texts may all differ by chance
DIGITS_OF_DATE = re.compile(
    r"(?:(?:0?[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])|(?:0?[1-9]|[12]\d|3[01])(?:0[1-9]|1[0-2]))(?:19|20)\d\d"
)  # 10142018, 14102018
MOST_WORDS = 5  # for "no value" in one column
FEWEST_DECIMALS = 10  # different ones
EXACT = 2.0**53  # identifiers are larger, or near to each other
FEWEST_CODES = 0.05  # share of the cells of a column of codes that are no numbers
CODES = "If the column holds codes, let each begin with a letter: it is a category then."
NO_AMOUNT = ("text", "date", "other date", "period")
UNIX_TIME = "If it is Unix time, write it as a date of ISO 8601 (2024-01-31T13:30:00Z). Otherwise: "
ADVICE = {
    "infinite": ("a finite number", "Correct the cell, or leave it empty."),
    "thousands": (
        "a number without thousands separators",
        "Remove the separators, or name them: data.thousands (with data.decimal where the decimals follow a comma).",
    ),
    "groups of two": ("a number without separators", "Remove the commas."),
    "other decimal": (
        "a number with a decimal point",
        "Set data.decimal: ',' (and data.thousands, where thousands are separated), or write the numbers with a point.",
    ),
    "minus": ("a number with its minus in front", "Write -12.5: not (12.5) or 12.5-, and with a hyphen."),
    "currency": ("a number without a currency", "Remove the currency; data.units can show it to users."),
    "percent": ("a number without %", "Remove the % sign; data.units can show it to users."),
    "hexadecimal": ("a decimal number", "Write the column as decimal numbers, or add it to data.ignore."),
    "unit": ("a number without its unit", "Remove the unit; data.units can show it to users."),
    "time of day": ("a number", "Write the time as hours (13.5), or together with its date as a timestamp."),
    "duration": ("a number", "Write the duration in one unit, such as seconds or hours (1.5)."),
    "date": ("a number", "Correct the cell, or leave it empty."),
    "other date": ("a number", "Correct the cell, or leave it empty."),
    "period": ("a number", "Correct the cell, or leave it empty."),
    "text": ("a number", "Correct the cell, or leave it empty if the value is not known."),
}


@dataclass(frozen=True)
class Column:
    """What a column of features is; `format` and `timed` are those of a date (see `cells.FORMATS`)."""

    name: str
    kind: Kind
    format: str = ""
    timed: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        if self.kind != "date":
            return ()
        return ("days", "month", "weekday", *(["seconds"] if self.timed else []))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the model that are made of it."""
        return tuple(f"{self.name} {part}" for part in self.parts) or (self.name,)


def columns_of(summaries: Mapping[str, Summary], config: Config, findings: Findings) -> dict[str, Column]:
    comma = any(summary.shapes["other decimal"] > MOSTLY * summary.present > 0 for summary in summaries.values())
    looks = {name: _Look(name, summary, config, findings, comma) for name, summary in summaries.items()}
    looks.pop(config.data.target).target()
    found = {name: look.feature() for name, look in looks.items()}
    made = {config.data.target.casefold(): config.data.target}
    for one in (one for one in found.values() if one.name not in config.data.ignore):
        for name in dict.fromkeys((one.name, *one.columns)):
            other = made.setdefault(identifier(name).casefold(), one.name)
            if other != one.name:
                findings.refuse(
                    f"column '{name}' is also made of the date in column '{one.name if other == name else other}'",
                    "Rename one of the two, or add it to data.ignore.",
                )
    return found


@dataclass(frozen=True)
class _Look:
    """At one column: what it is, and what is wrong with it or doubtful."""

    name: str
    summary: Summary
    config: Config
    findings: Findings
    comma: bool  # other columns have it before their decimals, against the configuration

    def refuse(self, what: str, hint: str) -> None:
        self.findings.refuse(f"column '{self.name}'{what}", hint)

    def warn(self, what: str) -> None:
        self.findings.warnings.append(f"column '{self.name}'{what}")

    def target(self) -> None:
        summary, distinct = self.summary, self.summary.distinct
        if self.config.data.task == "regression":
            if summary.numbers < summary.present:
                self.not_numbers("For labels set data.task: classification.")
            elif summary.wrong:
                self.wrong()
            elif summary.present and summary.low == summary.high:
                self.refuse(f": expected different values, found only {summary.low:g}", "Check data.target.")
        elif distinct < 2:
            self.refuse(f": expected at least two labels, found {distinct}", "Check data.target.")
        elif distinct > MOST_LABELS:
            hint = "To predict a number, set data.task: regression; otherwise join rare labels to one."
            self.refuse(f": expected at most {MOST_LABELS} labels, found {self.different}", hint)
        else:
            self.spellings("labels")

    def feature(self) -> Column:
        if self.name in self.config.data.ignore and self.config.split.by == "group":
            return Column(self.name, "category")  # it decides a row's part and nothing else: any texts will do
        if not self.summary.present:
            self.refuse(" is empty", "Remove it or add it to data.ignore.")
            return Column(self.name, "category")
        found = self.kind()
        if self.summary.wrong and found.kind == "number":
            self.wrong()
        self.missing()
        return found

    def kind(self) -> Column:
        summary, present = self.summary, self.summary.present
        if summary.distinct == 1 and not summary.missing:
            self.warn(f" holds one value, '{next(iter(summary.texts))}': it says nothing of the target")
        if summary.numbers == present:
            return self.number()
        words = {text.casefold() for text in summary.texts}
        if not summary.many and words <= {*TRUE, *FALSE} and words & set(TRUE) and words & set(FALSE):
            if len(summary.texts) > 2:
                self.warn(f" holds booleans in several spellings ({', '.join(sorted(summary.texts))}): read as one")
            return Column(self.name, "category" if self.name == self.config.data.segment else "boolean")
        if summary.shapes["date"] + summary.shapes["other date"] > MOSTLY * present:
            return self.date()
        if summary.shapes["period"] > MOSTLY * present:
            self.warn(
                ": months, quarters or weeks are read as categories: later ones are unknown to the model. Whole dates "
                "(1949-01-01) are read as dates"
            )
        if self.amounts() or summary.numbers > MOSTLY * present:
            self.not_numbers()
            return Column(self.name, "number")
        self.category()
        return Column(self.name, "category")

    def number(self) -> Column:
        summary, present = self.summary, self.summary.present
        if summary.whole == summary.compact == present and summary.distinct > 2:
            return Column(self.name, "date", COMPACT_DATE)
        if summary.whole == present >= FEWEST_LOOKED_AT:
            values = {int(text.replace(MINUS, "-")) for text in summary.texts if WHOLE.fullmatch(text)}
            kept = len(np.unique(np.array(list(values), dtype=np.float64).astype(np.float32)))
            if kept < MOSTLY * len(values):
                moment = any(low <= summary.low and summary.high < 2.2 * low for low in (1e9, 1e12))
                self.refuse(
                    f" looks like an identifier: of {len(values):,} different whole numbers, {kept:,} are left in the "
                    "float32 that the model computes with",
                    (UNIX_TIME if moment else "") + "Add it to data.ignore, or write smaller numbers.",
                )
            elif summary.distinct >= ONE_EACH * present and not present < (summary.high - summary.low) / 1.5 < EXACT:
                self.warn(" looks like an identifier or a row number: add it to data.ignore")
            elif summary.padded:
                self.warn(
                    f" holds codes with leading zeros ({summary.examples['padded']}): they are read as numbers; as "
                    "categories, they begin with a letter"
                )
        self.doubtful_numbers()
        return Column(self.name, "number")

    def doubtful_numbers(self) -> None:
        """Warns of what may be meant otherwise than it is read: -999 for no value, and 1.234 for a thousand."""
        summary = self.summary
        for text, count in summary.nines.items():
            if count > 1 and abs(float(text.replace(MINUS, "-").replace(",", "."))) > 2 * summary.furthest > 0:
                self.warn(
                    f" holds {text} in {count:,} cells, far from all other values: if it means 'no value', add it to "
                    "data.missing"
                )
        dates = [text for text in summary.texts if DIGITS_OF_DATE.fullmatch(text)]
        if len(dates) > MOSTLY * len(summary.texts) or summary.compact > MOSTLY * summary.present:
            self.warn(
                f" holds numbers that look like dates ({(*dates, summary.examples['number'])[0]}): they are read as "
                "numbers. Write every one as a date of ISO 8601 (2018-10-14)"
            )
        parts = [text for text in summary.texts if "." in text]
        if self.config.data.decimal == "." and FEWEST_DECIMALS <= len(parts) < len(summary.texts):
            whole = (text for text in summary.texts if "." not in text)
            if all(map(GROUPED.fullmatch, parts)) and all(len(text.lstrip("+-")) <= 3 for text in whole):
                self.warn(
                    f": {parts[0]} is read with three decimals; if its point separates thousands, set "
                    "data.thousands: '.' and data.decimal: ','"
                )

    def date(self) -> Column:
        summary = self.summary
        best = max(summary.formats, key=lambda one: summary.formats[one], default="iso")
        if (count := summary.present - summary.formats[best]) > 0:
            found = (*summary.examples.values(), *summary.texts)
            other = next((cell for cell in found if not is_date(cell, best)), "")  # among many texts it may not be kept
            hint = "Write every date of the column in one way, best in ISO 8601 (2024-01-31, 2024-01-31T13:30:00Z)."
            hint = self.no_value() + hint
            like = f"a date like {best if best != 'iso' else '2024-01-31'}"
            self.findings.refuse_cell(self.name, like, other, count, hint)
        elif best.startswith("%d/%m") and summary.formats["%m/%d" + best[5:]] == summary.present:
            self.warn(": no date says whether day or month comes first; read as day/month")
        return Column(self.name, "date", best, summary.timed > 0)

    def amounts(self) -> bool:
        """Whether the column holds numbers with something in or around them, which are not meant as categories."""
        summary = self.summary
        shapes = {shape: count for shape, count in summary.shapes.items() if shape not in NO_AMOUNT}
        if not shapes or sum(shapes.values()) + summary.numbers < summary.present:
            return False
        if set(shapes) <= {"unit", "time of day", "duration"} and summary.distinct <= FEW_TEXTS:
            what = "amounts with a unit" if "unit" in shapes else "times"
            self.warn(f": {what} are read as categories, without order")
            return False
        others = [text for text in summary.texts if not WHOLE.fullmatch(text)]
        units = {text.lstrip(f"+-{MINUS}0123456789.,'_ \u2019\u00a0\u202f\u2009") for text in others}
        return set(shapes) != {"unit"} or len(units) <= 3

    def not_numbers(self, more: str = "") -> None:
        """Refuses the first cell that is no number, with the advice for what most such cells are."""
        summary, shapes = self.summary, dict(self.summary.shapes)
        if shapes.keys() == {"thousands", "other decimal"}:  # 1,5 among 63,206: the comma is the decimal one
            shapes = {"other decimal": shapes["other decimal"]}
        shape = max(shapes, key=lambda one: (one == "text", shapes[one]))
        cell, count = summary.examples[shape], summary.present - summary.numbers
        if shape == "thousands" and self.comma and len(GROUPED.findall(cell.replace(",", "."))) == 1:
            shape = "other decimal"
        expected, hint = ADVICE[shape]
        if shape == "other decimal" and self.config.data.decimal == ",":
            expected, hint = "a number with a decimal comma", "Write the numbers as data.decimal says, or change it."
        if shape == "unit" and re.search(r"\w{4}$", cell.lstrip("0123456789")) and " " not in cell:
            hint = f"{hint} {CODES}"  # "2013PASS"
        if shape == "text":
            codes = f" {CODES}" if not more and summary.shapes["text"] > FEWEST_CODES * summary.present else ""
            hint = f"{more} {self.no_value()}{hint}{codes}".strip()
        self.findings.refuse_cell(self.name, expected, cell, count, hint)

    def no_value(self) -> str:
        """Advice on words among numbers or dates that may mean that there is no value."""
        texts = dict.fromkeys((*self.summary.texts, self.summary.examples.get("text", "0")))  # not all need be kept
        known = [text for text in texts if not any(map(str.isdigit, text))]
        if not 0 < len(known) <= MOST_WORDS:
            return ""
        words = ", ".join("'" + word.replace("'", "''") + "'" for word in (*self.config.data.missing, *known))
        return f"If '{known[0]}' means 'no value', set data.missing: [{words}]. "

    def wrong(self) -> None:
        expected, hint = ADVICE["infinite"]
        if limits := self.config.checks.ranges.get(self.name):
            expected = f"{limits[0]:g} to {limits[1]:g}"
            hint = "Correct the cell, or widen checks.ranges in pipeline.yaml."
        self.findings.refuse_cell(self.name, expected, self.summary.examples["wrong"], self.summary.wrong, hint)

    def category(self) -> None:
        distinct, present = self.summary.distinct, self.summary.present
        names = present >= FEWEST_NAMES and distinct >= ONE_EACH * present
        if not names and (distinct <= MOST_LABELS or (distinct <= MOST_TEXTS and distinct <= MOSTLY * present)):
            self.spellings("categories")
            return
        texts = self.summary.texts or self.summary.examples.values()  # of very many, none may be kept
        if np.mean([len(text.split()) for text in texts]) > 3:
            what = "free text"
            hint = "Free text is no feature: add it to data.ignore, or replace it by columns of what it says."
        elif names:
            what, hint = "an identifier", "A model learns nothing from it: add it to data.ignore."
        else:
            what, hint = "names of many things", "Join rare ones to groups, or add it to data.ignore."
        if self.summary.shapes["period"] > MOSTLY * present:
            hint = "Write each month, quarter or week as the date of its first day (1949-01-01): it is a date then."
        elif what != "free text" and sum(any(map(str.isdigit, text)) for text in texts) > MOSTLY * len(texts):
            hint += " If it is a number or a date with something around it, write it alone (12.5, 2024-01-31)."
        self.refuse(
            f" looks like {what}: expected texts that occur again and again, at most {MOST_TEXTS:,} of them, found "
            f"{self.different} in {present:,} cells",
            hint,
        )

    @property
    def different(self) -> str:
        return f"{'about ' if self.summary.many else ''}{self.summary.distinct:,} different texts"

    def spellings(self, what: str) -> None:
        alike: dict[str, list[str]] = {}
        for text in self.summary.texts:
            try:
                key = f"{float(text):.12g}"
            except ValueError:
                key = unicodedata.normalize("NFKC", text).translate(INVISIBLE)
                key = " ".join(key.casefold().strip(". ").split()) or text
            alike.setdefault(key, []).append(text)
        if several := [" = ".join(sorted(texts)) for texts in alike.values() if len(texts) > 1]:
            self.warn(f": {what} differ in spelling only: {'; '.join(several[:5])}")

    def missing(self) -> None:
        allowed, summary = self.config.checks.max_missing, self.summary
        share = summary.missing / (summary.present + summary.missing)
        if share <= allowed:
            return
        found = f": expected at most {allowed:.0%} missing values, found {share:.0%}"
        hint = "Add the column to data.ignore, or raise checks.max_missing."
        if summary.words:
            words = (f"'{word}' counted as missing in {count:,} cells" for word, count in summary.words.most_common(3))
            found = f"{found} ({'; '.join(words)})"
            hint = f"If the word is a value, take it out of data.missing. {hint}"
        self.refuse(found, hint)
