"""How many documents a second `python -m rag_service embed` adds with one executor and with two, and the memory of its
driver: Python's and Java's processes together, at most.

    PYTHONPATH=. python benchmarks/bulk.py [--documents 100000] [--embedder FOLDER]

The documents are made of the sample documents' words, each of one to three passages. The embedder is made too, a BERT
of two layers and 128 numbers with weights drawn at random: what it embeds says nothing, and takes a tenth of the time
of all-MiniLM-L6-v2, so this measures everything around the model. `--embedder` measures with a real one.
"""

from __future__ import annotations

import os
import platform
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import torch
from transformers import BertConfig, BertModel

from benchmarks.measured import options
from rag_service.models.find import embedder_folder

HERE = Path(__file__).parents[1]
_OF_A_FOLDER = 1000


def make_documents(folder: Path, count: int, seed: int = 7) -> None:
    draw = random.Random(seed)
    samples = " ".join(path.read_text() for path in sorted((HERE / "documents").glob("*.md")))
    words = sorted(set(re.findall(r"[a-zA-Z]{2,}", samples)))
    for number in range(count):
        if number % _OF_A_FOLDER == 0:
            below = folder / f"{number // _OF_A_FOLDER:04}"
            below.mkdir(parents=True)
        sentences = [" ".join(draw.choices(words, k=draw.randint(6, 18))) for _ in range(draw.randint(4, 25))]
        text = " ".join(f"{one.capitalize()} {draw.randint(1, 9999)}." for one in sentences)
        (below / f"{number:06}.txt").write_text(f"Document {number}\n\n{text}\n")


def make_embedder(folder: Path) -> None:
    real = embedder_folder(None, HERE, 1).path
    shutil.copy(real / "tokenizer.json", Path(folder.mkdir() or folder))
    torch.manual_seed(7)
    sizes = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512}
    BertModel(BertConfig(vocab_size=30522, max_position_embeddings=256, **sizes)).save_pretrained(folder)


def peaks(driver: int) -> dict[str, int]:
    """Megabytes that the driver held at most, and Java, which it starts."""
    found = {}
    for process in [driver, *Path(f"/proc/{driver}/task/{driver}/children").read_text().split()]:
        status = Path(f"/proc/{process}/status").read_text()
        if held := re.search(r"Name:\s+(python|java).*VmHWM:\s+(\d+)", status, re.DOTALL):
            found["Java" if process != driver and held[1] == "java" else "Python"] = int(held[2]) // 1024
    return found


def measure(documents: Path, home: Path, embedder: Path, executors: int) -> dict[str, float]:
    """Documents a second, embedded and loaded; megabytes of the driver's two processes."""
    variables = {
        "RAG_DATA_DIR": home / f"data-{executors}",
        "RAG_MODELS_DIR": home / "models",
        "RAG_EMBEDDER": embedder,
    }
    environment = {**os.environ, "PYTHONPATH": str(HERE), "RAG_GENERATOR": "none"}
    environment |= {name: str(value) for name, value in variables.items()}
    command = [sys.executable, "-m", "rag_service", "embed", str(documents), "--master", f"local[{executors}]"]
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=home, env=environment, stdout=subprocess.PIPE, text=True)
    most = {"Python": 0, "Java": 0}

    def watch() -> None:
        while process.poll() is None:
            with suppress(OSError):  # it has just ended
                most.update({name: max(most[name], held) for name, held in peaks(process.pid).items()})
            time.sleep(0.5)

    watching = threading.Thread(target=watch)
    watching.start()
    rates = {}
    for line in process.stdout or ():
        print(f"  {line}", end="", flush=True)
        if found := re.match(r"(embedded|loaded) .* ([\d.,]+) a second", line):
            rates[found[1]] = float(found[2].replace(",", ""))
    watching.join()
    if process.returncode:
        raise SystemExit(process.returncode)
    return {**rates, **most, "seconds": time.monotonic() - began}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--embedder", type=Path, help="a model's folder, in place of the one that is made")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        make_documents(home / "documents", given.documents)
        if given.embedder is None:
            make_embedder(home / "embedder")
        embedder = given.embedder.absolute() if given.embedder else home / "embedder"
        rows = {executors: measure(home / "documents", home, embedder, executors) for executors in (1, 2)}
    print(f"\n{given.documents:,} documents on {platform.node()}, {os.cpu_count()} cores, {platform.machine()}\n")
    print("| executors | embedded a second | loaded a second | all, s | driver at most, MB: Python | Java | both |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for executors, row in rows.items():
        figures = [row["Python"], row["Java"], row["Python"] + row["Java"]]
        print(f"| {executors} | {row['embedded']:.1f} | {row['loaded']:.1f} | {row['seconds']:.0f} ", end="")
        print("".join(f"| {one:,} " for one in figures) + "|")
    print(f"\nembedded with two over one: {rows[2]['embedded'] / rows[1]['embedded']:.2f}")


if __name__ == "__main__":
    main()
