"""The readers of HTML and Markdown against what people, or a Markdown parser, say that a file holds.

    PYTHONPATH=. python benchmarks/readers_web.py --articles FOLDER --markdown FOLDER [--with trafilatura resiliparse]

`--articles`: a checkout of scrapinghub/article-extraction-benchmark: pages, and their main text as people marked it.
`--markdown`: any folder of .md files; the reference is the text of the page that markdown-it-py makes of each.
`--with`: other libraries beside ours, where they are installed. Words are counted with repetitions; recall and
precision are means over the files. Exit code 1 where a target is missed.
"""

import argparse
import gzip
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from markdown_it import MarkdownIt
from mdit_py_plugins.front_matter import front_matter_plugin
from selectolax.lexbor import LexborHTMLParser

from rag_service.errors import LoadFailed
from rag_service.reading import html, markdown
from rag_service.reading.blocks import assemble

MOST = 64 * 1024 * 1024
TARGETS = {"html": (0.97, 0.90), "markdown": (0.99, 0.98)}  # recall, precision
Case = tuple[str, bytes, str]


def words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text.lower()))


def articles(folder: Path) -> Iterable[Case]:
    for name, truth in json.loads((folder / "ground-truth.json").read_text()).items():
        yield name, gzip.decompress((folder / "html" / f"{name}.html.gz").read_bytes()), truth["articleBody"]


def markdown_files(folder: Path) -> Iterable[Case]:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"]).use(front_matter_plugin)
    for path in sorted(folder.rglob("*.md")):
        body = LexborHTMLParser(parser.render(path.read_text("utf-8", "replace"))).body
        if body is not None and body.text().strip():
            body.strip_tags(["script", "style"])
            yield path.name, path.read_bytes(), body.text(separator="\n")


def by_trafilatura(data: bytes) -> str:
    import trafilatura

    return trafilatura.extract(data.decode("utf-8", "replace"), include_comments=False) or ""


def by_resiliparse(data: bytes) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    return str(extract_plain_text(data.decode("utf-8", "replace"), main_content=True))


def measure(name: str, cases: Iterable[Case], read: Callable[[bytes], str], worst: int) -> tuple[float, float, float]:
    """Recall, precision and the share of refused files; prints them with the seconds a file."""
    scores: list[tuple[float, float, str]] = []
    refused = seconds = 0.0
    for case, data, truth in cases:
        began = time.process_time()
        try:
            found = words(read(data))
        except LoadFailed as failure:
            print(f"  refused {case}: {failure.detail}")
            refused, found = refused + 1, Counter[str]()
        seconds += time.process_time() - began
        wanted = words(truth)
        both = (found & wanted).total()
        scores.append((both / max(wanted.total(), 1), both / found.total() if found else 0.0, case))
    recall, precision = (sum(score[part] for score in scores) / len(scores) for part in (0, 1))
    print(
        f"{name}: {len(scores)} files, recall {recall:.3f}, precision {precision:.3f}, "
        f"refused {refused / len(scores):.1%}, {1000 * seconds / len(scores):.1f} ms a file"
    )
    for score in sorted(scores, key=lambda one: min(one[:2]))[:worst]:
        print(f"  {score[0]:.2f} {score[1]:.2f} {score[2]}")
    return recall, precision, refused / len(scores)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--articles", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--with", nargs="*", default=[], dest="others", choices=["trafilatura", "resiliparse"])
    parser.add_argument("--worst", type=int, default=0, help="name so many files that are read worst")
    given = parser.parse_args()
    missed = False
    for kind, folder, cases, reader in (
        ("html", given.articles, articles, html.read),
        ("markdown", given.markdown, markdown_files, markdown.read),
    ):
        if folder is None:
            continue
        read = lambda data, reader=reader: assemble(reader(data, MOST), MOST).text  # noqa: E731
        recall, precision, refused = measure(kind, cases(folder), read, given.worst)
        missed |= recall < TARGETS[kind][0] or precision < TARGETS[kind][1] or refused > 0.01
    for other in given.others if given.articles else ():
        measure(other, articles(given.articles), globals()[f"by_{other}"], given.worst)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
