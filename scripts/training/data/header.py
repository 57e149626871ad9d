"""The names of a table's columns: what is wrong with them, and how those of two files differ."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from training.errors import SourceError

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")


def check_names(file: Path, names: tuple[str, ...], separator: str) -> None:
    """Raises SourceError with all that is wrong with a header."""
    if len(names) < 2:
        name = (names or ("",))[0]
        hint = f"Separate columns by one of: {', '.join(SEPARATORS.values())}."
        if any(sign in name for sign in SEPARATORS):
            hint = "Each line as a whole stands in double quotes: remove them, so that they are around cells only."
        raise SourceError(f"{file}: line 1: expected at least two columns, found one: {name[:80]!r}", hint)
    if quoted := [name for name in names if name.startswith('"')]:
        raise SourceError(
            f"{file}: line 1: expected names, found {quoted[0]} with its double quotes",
            "Remove the spaces between a separator and a double quote, in the whole file.",
        )
    numbers = [name for name in names if NUMBER.fullmatch(name)]
    if 2 * len(numbers) >= len(names) and not _counted(numbers):
        raise SourceError(
            f"{file}: line 1: expected the names of the columns, found numbers ({', '.join(numbers[:3])}): "
            "is there a header? Line 1 looks like data",
            "Add a line with the names of the columns on top.",
        )
    faults = []
    if unnamed := [index for index, name in enumerate(names, 1) if not name]:
        faults.append(f"column {unnamed[0]} has no name")
    alike: dict[str, list[str]] = {}
    for name in filter(None, names):
        alike.setdefault(name.casefold(), []).append(name)  # as Spark looks a name up
    several = [same for same in alike.values() if len(same) > 1]
    faults += [f"column '{same[0]}' appears {len(same)} times, capitals or not" for same in several]
    if faults:
        hint = "Give each column a name of its own."
        if len(faults) == 1 and unnamed == [len(names)]:
            hint = f"Does every line end in a {SEPARATORS.get(separator, 'empty cell')}? Remove it."
        elif len(faults) == 1 and unnamed == [1]:
            hint = "If it is pandas' own index, leave it out: to_csv(..., index=False)."
        elif any(NUMBER.fullmatch(same[0]) for same in several):
            hint = "Is the header missing? If so, add a line with the names of the columns on top. Otherwise: " + hint
        raise SourceError(f"{file}: line 1: {'; '.join(faults)}", hint)


def _counted(names: list[str]) -> bool:
    """Whether the names count on by one, as pandas names columns (0, 1, 2), or are years."""
    return (
        len(names) > 2
        and all(map(str.isdigit, names))
        and all(int(one) + 1 == int(next_) for one, next_ in pairwise(names))
    )


def difference(columns: Sequence[str], other: Sequence[str]) -> str:
    """How another file's columns differ from those of the first."""
    gone, new = ([f"'{name}'" for name in one if name not in two] for one, two in ((columns, other), (other, columns)))
    faults = [f"{what} {', '.join(names)}" for what, names in (("without", gone), ("also", new)) if names]
    return "; ".join(faults) or ("" if columns == other else "the columns are in another order")
