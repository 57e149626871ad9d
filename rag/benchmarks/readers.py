"""How well the readers read public files, against what other programs or people say that the files hold. From rag/:

    PYTHONPATH=. python benchmarks/readers.py pdf FOLDER [--worst 5]
    PYTHONPATH=. python benchmarks/readers.py articles FOLDER [--with trafilatura resiliparse]

`pdf`: what PDFium's plain text and poppler's (Debian: poppler-utils) agree on. `office`: pandoc's plain text
(`--pandoc`, from `pip install pypandoc_binary`). `articles`: a checkout of scrapinghub/article-extraction-benchmark,
the main text as people marked it. `markdown`: the text of the page that markdown-it-py makes of each file. `--with`
measures other libraries too, where they are installed.

Files are read as the service reads them. Words are counted with repetitions: recall is the share of the reference's
words that the reader returns, precision the share of its words that the reference, or any of several, holds. Both are
means over the files, and 0 for a refused one. The exit code is 1 where a target is missed.
"""

from __future__ import annotations

import gzip
import json
import re
import resource
import subprocess
import sys
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from markdown_it import MarkdownIt
from mdit_py_plugins.front_matter import front_matter_plugin
from selectolax.lexbor import LexborHTMLParser

from benchmarks.measured import options
from rag_service.errors import LoadFailed
from rag_service.reading import Limits, extract
from rag_service.types import Extracted

LIMITS = Limits(file_bytes=64 << 20, seconds=60, memory_bytes=512 << 20, text_bytes=16 << 20)
TARGETS = {"articles": (0.97, 0.90), "markdown": (0.99, 0.98)}  # recall, precision
OFFICE = (".docx", ".odt", ".epub", ".rtf", ".pptx")
Words = Counter[str]


class Case(NamedTuple):
    """A file, the words that are `wanted` of it, and those `known` to stand in it."""

    name: str
    data: bytes
    wanted: Words
    known: Words


def words(text: str) -> Words:
    """Words without case and forms; a hyphen is no part of them, nor is the line's end after it."""
    text = unicodedata.normalize("NFKC", text).casefold().translate({0xAD: "-", 0x2010: "-", 2: "-", 0xFFFE: "-"})
    return Counter(re.findall(r"[^\W_]+", re.sub(r"(?<=\w)-\s*(?=\w)", "", text)))


def output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    return "" if done.returncode else done.stdout.decode("utf-8", "replace")


def pdf(folder: Path, _: str) -> Iterator[Case]:
    code = "import sys, pypdfium2; p = pypdfium2.PdfDocument(sys.argv[1])\n"
    code += "for page in p: print(page.get_textpage().get_text_bounded(errors='replace'))"
    for path in sorted(folder.glob("*.pdf")):
        one, other = words(output(sys.executable, "-c", code, str(path))), words(output("pdftotext", str(path), "-"))
        if (one & other).total() >= 10:
            yield Case(path.name, path.read_bytes(), one & other, one | other)


def office(folder: Path, pandoc: str) -> Iterator[Case]:
    """What pandoc leaves out, such as headers, text boxes and diagrams, is known from the text in the file's XML."""
    for path in sorted(one for one in folder.rglob("*") if one.suffix in OFFICE):
        wanted = words(output(pandoc, "-t", "plain", "--wrap=none", "--track-changes=accept", str(path)))
        parts: list[str] = []
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = (name for name in archive.namelist() if name.endswith(".xml"))
                parts = [archive.read(name).decode("utf-8", "replace") for name in names]
        marked = r"</(?:\w+:)?p>|<[^>]*?(?:descr|string)=\"([^\"]*)\"[^>]*>"
        source = re.sub(r"<[^>]+>", "", " ".join(re.sub(marked, r" \1 ", part) for part in parts))
        yield Case(path.name, path.read_bytes(), wanted, wanted | words(source))


def articles(folder: Path, _: str) -> Iterator[Case]:
    for name, truth in json.loads((folder / "ground-truth.json").read_text()).items():
        page, wanted = gzip.decompress((folder / "html" / f"{name}.html.gz").read_bytes()), words(truth["articleBody"])
        yield Case(f"{name}.html", page, wanted, wanted)


def markdown(folder: Path, _: str) -> Iterator[Case]:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"]).use(front_matter_plugin)
    for path in sorted(folder.rglob("*.md")):
        if body := LexborHTMLParser(parser.render(path.read_text("utf-8", "replace"))).body:
            body.strip_tags(["script", "style"])
            wanted = words(body.text(separator="\n"))
            yield Case(path.name, path.read_bytes(), wanted, wanted)


def by_trafilatura(_: str, data: bytes) -> str:
    import trafilatura

    return trafilatura.extract(data.decode("utf-8", "replace"), include_comments=False) or ""


def by_resiliparse(_: str, data: bytes) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    return str(extract_plain_text(data.decode("utf-8", "replace"), main_content=True))


def by_service(name: str, data: bytes) -> str:
    """Reports a text that is indexed without a warning though it is none."""
    extracted = extract(name, data, LIMITS)
    if is_garbage(extracted):
        print(f"  garbage: {name}")
    return extracted.text


def is_garbage(extracted: Extracted) -> bool:
    """Whether a text without a warning is signs without a meaning, or words without vowels."""
    strange = len(re.findall(r"[\ufffd\ue000-\uf8ff]", extracted.text))
    latin = re.findall(r"[a-z]{4,}", extracted.text.lower())
    dumb = sum(not re.search("[aeiouy]", word) for word in latin)
    return not extracted.warnings and (
        strange > 0.05 * len(extracted.text) or (len(latin) > 20 and dumb > len(latin) / 3)
    )


def cpu_seconds() -> float:
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


def measure(name: str, cases: Iterator[Case], read: Callable[[str, bytes], str], worst: int) -> tuple[float, float]:
    """Recall and precision; prints them with the processor time, and names the files that are read worst."""
    scores: list[tuple[float, float, str]] = []
    seconds: list[float] = []
    refused = 0
    for case in cases:
        if not case.wanted:
            continue
        began = cpu_seconds()
        try:
            found = words(read(case.name, case.data))
        except LoadFailed as failure:
            print(f"  refused {case.name}: {failure.code}: {failure.detail}")
            refused, found = refused + 1, Counter()
        seconds.append(cpu_seconds() - began)
        recall = (found & case.wanted).total() / case.wanted.total()
        scores.append((recall, (found & case.known).total() / max(found.total(), 1), case.name))
    recall, precision = mean(score[0] for score in scores), mean(score[1] for score in scores)
    print(
        f"{name}: {len(scores)} files, recall {recall:.3f}, precision {precision:.3f}, refused {refused}, "
        f"{1000 * mean(seconds):.0f} ms of CPU a file, of them {1000 * min(seconds):.0f} ms at least to start"
    )
    for score in sorted(scores, key=lambda one: min(one[:2]))[:worst]:
        print(f"  {score[0]:.2f} {score[1]:.2f} {score[2]}")
    return recall, precision


def main() -> int:
    kinds = {"pdf": pdf, "office": office, "articles": articles, "markdown": markdown}
    others = {"trafilatura": by_trafilatura, "resiliparse": by_resiliparse}
    parser = options(__doc__)
    parser.add_argument("kind", choices=kinds)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pandoc", default="pandoc", help="the program's path")
    parser.add_argument("--with", nargs="*", default=[], dest="others", choices=others)
    parser.add_argument("--worst", type=int, default=0, help="how many of the files that are read worst to name")
    given = parser.parse_args()
    cases = kinds[given.kind]
    reached = measure(given.kind, cases(given.folder, given.pandoc), by_service, given.worst)
    for other in given.others:
        measure(other, cases(given.folder, given.pandoc), others[other], given.worst)
    return int(any(one < target for one, target in zip(reached, TARGETS.get(given.kind, (0, 0)), strict=True)))


if __name__ == "__main__":
    sys.exit(main())
