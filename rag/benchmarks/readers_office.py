"""How much of office files the readers give, against pandoc's plain text of the same files.

    pip install --target /tmp/pandoc pypandoc_binary
    python benchmarks/readers_office.py FOLDER /tmp/pandoc/pypandoc/files/pandoc docx odt epub rtf

Recall: the share of pandoc's words that the reader gives. Precision: the share of the reader's words that pandoc gives
or that stand in the file's XML as text (pandoc leaves out headers, text boxes and diagrams). Both are means of files.
"""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from rag_service.errors import LoadFailed
from rag_service.reading import Limits, extract

MEGABYTE = 1024 * 1024
LIMITS = Limits(32 * MEGABYTE, 30, 512 * MEGABYTE, 16 * MEGABYTE)


def words(text: str) -> Counter[str]:
    """How often each word and number stands in a text; marks of markup are none."""
    return Counter(re.findall(r"[^\W_]+", text.lower()))


def source_words(path: Path) -> Counter[str]:
    """What stands in a file's XML outside of its tags."""
    if not zipfile.is_zipfile(path):
        return Counter()
    with zipfile.ZipFile(path) as archive:
        parts = [archive.read(name).decode("utf-8", "replace") for name in archive.namelist() if name.endswith(".xml")]
    said = " ".join(
        re.sub(r"</(?:\w+:)?p>|<[^>]*?(?:descr|string)=\"([^\"]*)\"[^>]*>", r" \1 ", part) for part in parts
    )
    return words(re.sub(r"<[^>]+>", "", said))


def measured(path: Path, pandoc: str) -> tuple[float, float] | None:
    """Recall and precision of one file; None where pandoc does not read it, or finds no word."""
    command = [pandoc, "-t", "plain", "--wrap=none", "--track-changes=accept", str(path)]
    shown = subprocess.run(command, capture_output=True, check=False)
    wanted = words(shown.stdout.decode("utf-8", "replace"))
    if shown.returncode or not wanted:
        return None
    given = words(extract(path.name, path.read_bytes(), LIMITS).text)
    known = wanted | source_words(path)
    return (wanted & given).total() / wanted.total(), (given & known).total() / max(given.total(), 1)


def main(folder: str, pandoc: str, *suffixes: str) -> None:
    """Prints a line for each file that falls short, and the figures of each type."""
    for suffix in suffixes:
        scores, refused = [], 0
        for path in sorted(Path(folder).rglob(f"*.{suffix}")):
            try:
                score = measured(path, pandoc)
            except LoadFailed as failure:
                refused += 1
                print(f"  refused {path.name}: {failure.code}: {failure.detail}")
                continue
            if score:
                scores.append(score)
                if min(score) < 0.9:
                    print(f"  {score[0]:.2f} {score[1]:.2f} {path.name}")
        recall, precision = (sum(one) / max(len(scores), 1) for one in zip(*scores, strict=True))
        seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        print(f"{suffix}: {len(scores)} files, recall {recall:.3f}, precision {precision:.3f}, refused {refused}")
        print(f"  {seconds:.0f} s of CPU so far, pandoc's included")


if __name__ == "__main__":
    main(*sys.argv[1:])
