"""Fetch the real wine set from the UCI Machine Learning Repository into `WineQuality.csv`. Standard library only.

    python data/fetch.py [--url URL] [--output FILE]

URL is UCI's zip archive, or a folder that holds the two CSV files. Red and white wines go into one file, comma
separated, with a `type` column. The file is written only when its SHA-256 is the one expected; otherwise nothing is
touched, one line says why, and the exit code is 1.
"""

import argparse
import csv
import hashlib
import io
import os
import sys
import urllib.request
import zipfile
from collections.abc import Sequence
from pathlib import Path

from make_sample import COLUMNS

ARCHIVE = "https://archive.ics.uci.edu/static/public/186/wine+quality.zip"
OUTPUT = Path(__file__).resolve().parent / "WineQuality.csv"
FILES = {"red": "winequality-red.csv", "white": "winequality-white.csv"}
# Of the file built here, not of the download: UCI may pack or space the same rows differently. It was computed by
# `build` from a copy of the set with commas; the download itself could not be tried where that was done (no internet).
SHA256 = "c84167e470f882f5314844f616ba918558f062225378b2af26aa5cf20197c17c"
MOST_BYTES = 5_000_000  # the archive has about 100 kB, its files about 350 kB
TIMEOUT = 30  # seconds without a byte


class FetchError(Exception):
    """The set could not be had; the message says why and what to do."""


def download(url: str) -> bytes:
    """The bytes behind a URL.

    Raises:
        FetchError: when there is no answer, or more than MOST_BYTES.
    """
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            content: bytes = answer.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # URLError and HTTPError are OSErrors; ValueError is a URL without a scheme
        reason = getattr(error, "reason", None) or error
        raise FetchError(
            f"cannot fetch {url}: {reason}. Without internet, use the bundled data/wine-sample.csv, "
            f"or download the set elsewhere and give its folder: --url file:///folder/"
        ) from error
    if len(content) > MOST_BYTES:
        raise FetchError(f"{url} is larger than {MOST_BYTES:,} bytes: this is not the wine set.")
    return content


def tables(url: str) -> dict[str, str]:
    """The text of the two files, by type of wine, from an archive (a URL that ends in .zip) or a folder."""
    if not url.endswith(".zip"):
        return {kind: text_of(download(f"{url.rstrip('/')}/{name}"), name) for kind, name in FILES.items()}
    try:
        with zipfile.ZipFile(io.BytesIO(download(url))) as archive:
            if sum(archive.getinfo(name).file_size for name in FILES.values()) > MOST_BYTES:
                raise FetchError(f"the files in {url} are larger than {MOST_BYTES:,} bytes: this is not the wine set.")
            return {kind: text_of(archive.read(name), name) for kind, name in FILES.items()}
    except (zipfile.BadZipFile, KeyError) as error:
        raise FetchError(f"{url} is not the archive expected ({', '.join(FILES.values())}): {error}.") from error


def text_of(content: bytes, name: str) -> str:
    """The content as text."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FetchError(f"{name} is not text: {error}.") from error


def build(texts: dict[str, str]) -> bytes:
    """Both tables as one canonical file: comma separated, numbers with at most ten digits and no idle zeros.

    Raises:
        FetchError: when a table has other columns or holds what is not a number.
    """
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow([*COLUMNS, "type"])
    for kind, text in texts.items():
        separator = ";" if ";" in text.partition("\n")[0] else ","
        header, *rows = csv.reader(io.StringIO(text), delimiter=separator)
        if tuple(header) != COLUMNS:
            raise FetchError(f"{FILES[kind]} does not have the wine set's columns; it begins with {header[:3]}.")
        for number, row in enumerate(filter(None, rows), start=2):
            try:
                writer.writerow([*(f"{float(cell):.10g}" for cell in row), kind])
            except ValueError as error:
                raise FetchError(f"{FILES[kind]}, row {number}: {error}.") from error
    return output.getvalue().encode()


def fetch(url: str, output: Path) -> None:
    """Download, build, check and put in place, in that order; a file already there stays until the last step."""
    content = build(tables(url))
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise FetchError(
            f"{url} does not hold the rows expected: SHA-256 {found} instead of {SHA256}. Nothing was written."
        )
    temporary = output.with_name(output.name + ".part")
    temporary.write_bytes(content)
    os.replace(temporary, output)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch the set; 0 when it is in place, 1 when it could not be had."""
    parser = argparse.ArgumentParser(description="Fetch the UCI wine quality set into one checked CSV file.")
    parser.add_argument("--url", default=ARCHIVE, help="the archive, or a folder with the two CSV files")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args(arguments)
    try:
        fetch(options.url, options.output)
    except FetchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote {options.output}: {len(options.output.read_bytes().splitlines()) - 1:,} wines, SHA-256 as expected")
    return 0


if __name__ == "__main__":
    sys.exit(main())
