"""How well the readers read public files: `python benchmarks/readers.py pdf FOLDER` (from rag/).

The reference is what other programs agree on. Of its words, recall is the share that the reader gives too; precision
is the share of the reader's distinct words that any of the programs gives. Files are read as the service reads them.
"""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from statistics import mean

from rag_service.errors import LoadFailed
from rag_service.reading import Limits, extract
from rag_service.types import Extracted

LIMITS = Limits(file_bytes=64 << 20, seconds=60, memory_bytes=512 << 20, text_bytes=16 << 20)
Reference = Callable[[Path], list[str]]


def words(text: str) -> Counter[str]:
    """Words without case and forms; a hyphen is no part of them, nor is the line's end after it."""
    text = unicodedata.normalize("NFKC", text).casefold().translate({0xAD: "-", 0x2010: "-", 2: "-", 0xFFFE: "-"})
    return Counter(re.findall(r"[^\W_]+", re.sub(r"(?<=\w)-\s*(?=\w)", "", text)))


def is_garbage(extracted: Extracted) -> bool:
    """Whether a text is indexed without a warning that is none: signs without a meaning, or words without vowels."""
    strange = len(re.findall(r"[\ufffd\ue000-\uf8ff]", extracted.text))
    latin = re.findall(r"[a-z]{4,}", extracted.text.lower())
    dumb = sum(not re.search("[aeiouy]", word) for word in latin)
    return not extracted.warnings and (
        strange > 0.05 * len(extracted.text) or (len(latin) > 20 and dumb > len(latin) / 3)
    )


def measure(files: list[Path], references: Reference) -> None:
    """Prints a line for each file that is not read well, and the figures of all."""
    recalls, precisions, refused, garbage, pages, cpu = [], [], [], [], 0, []
    for file in files:
        texts = references(file)
        agreed, known = reduce(Counter.__and__, map(words, texts)), reduce(Counter.__or__, map(words, texts))
        read, seconds = _read(file, file.read_bytes())
        if isinstance(read, LoadFailed):
            if agreed.total() >= 10 and read.code != "encrypted":
                refused.append(f"{file.name}: {read.code}")
            continue
        ours = words(read.text)
        pages += max(len(read.pages), 1)
        cpu.append(seconds)
        garbage += [file.name] if is_garbage(read) else []
        if agreed.total() >= 10:
            recalls.append((agreed & ours).total() / agreed.total())
            precisions.append(len(ours.keys() & known.keys()) / max(len(ours), 1))
            if min(recalls[-1], precisions[-1]) < 0.9:
                print(f"{recalls[-1]:.2f} {precisions[-1]:.2f} {file.name}", *{w.code for w in read.warnings}, sep="  ")
    print(*refused, *(f"garbage: {name}" for name in garbage), sep="\n")
    per_page = 1000 * (sum(cpu) - len(cpu) * min(cpu)) / pages
    print(
        f"{len(files)} files, {pages} pages: recall {mean(recalls):.3f}, precision {mean(precisions):.3f}, "
        f"{per_page:.1f} ms of CPU a page and {1000 * min(cpu):.0f} ms to start, "
        f"wrongly refused {len(refused)}, garbage {len(garbage)}"
    )


def _read(file: Path, data: bytes) -> tuple[Extracted | LoadFailed, float]:
    """What the service reads, and the child's processor seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    read: Extracted | LoadFailed
    try:
        read = extract(file.name, data, LIMITS)
    except LoadFailed as failure:
        read = failure
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return read, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def pdf(file: Path) -> list[str]:
    """PDFium's plain text, and poppler's (Debian: poppler-utils)."""
    code = "import sys, pypdfium2; p = pypdfium2.PdfDocument(sys.argv[1])\n"
    code += "for page in p: print(page.get_textpage().get_text_bounded(errors='replace'))"
    commands = [[sys.executable, "-c", code, str(file)], ["pdftotext", str(file), "-"]]
    return [
        subprocess.run(command, capture_output=True, timeout=120, check=False).stdout.decode("utf-8", "replace")
        for command in commands
    ]


REFERENCES: dict[str, tuple[str, Reference]] = {"pdf": ("*.pdf", pdf)}

if __name__ == "__main__":
    pattern, reference = REFERENCES[sys.argv[1]]
    began = time.monotonic()
    measure(sorted(Path(sys.argv[2]).glob(pattern)), reference)
    print(f"{time.monotonic() - began:.0f} s")
