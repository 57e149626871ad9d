"""Where the state is: folders beside the programs of `make run`, or the volumes and databases of containers."""

from __future__ import annotations

import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from stack.compose import Compose
from stack.errors import StepFailed
from stack.ports import HOST, PORTS
from stack.state import folders
from stack.state.folders import DONE, Member, Unusable

LAST_BACKUP = "last-backup"
FOLDERS, DATABASES = "state/", "postgresql/"  # how the names of members begin
Put = Callable[[tarfile.TarInfo, "IO[bytes] | None"], None]
_NAMES = "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres' ORDER BY datname"
_TABLES = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"


class Place(Protocol):
    @property
    def profile(self) -> str: ...

    @property
    def emptied_by(self) -> str:
        """The command that removes what is there."""

    def running(self) -> list[str]:
        """The programs that must not run during a restore, and do."""

    def saved(self, work: Path) -> Iterator[Member]:
        """What persists, in an order in which what one part names is in a later one. Raises StackError, Unusable."""

    def note_backup(self) -> None:
        """Leaves the time of a backup where the prediction service, if it is there, shows it to what watches."""

    def restoring(self) -> AbstractContextManager[Put]:
        """Takes what was saved, member by member; whole at the end of the block. Raises StackError, Unusable."""


@dataclass(frozen=True)
class Processes:
    """What `make run` and `make demo` keep below `home`."""

    home: Path
    environment: Mapping[str, str]
    profile: str = "processes"

    @property
    def folders(self) -> dict[str, Path]:
        var = self.home / "var"
        return {
            "airflow": var / "airflow",
            "mlflow": self.home / "mlruns",
            "rag": var / "rag",
            "signing-private": var / "signing" / "private",
            "signing-public": var / "signing" / "public",
            "predictions": Path(self.environment.get("PREDICTION_LOG_DIR") or var / "predictions"),
            "scored": self.home / "scored",
        }

    @property
    def emptied_by(self) -> str:
        return "move these folders away"

    def running(self) -> list[str]:
        def answers(name: str) -> bool:
            with socket.socket() as probe:
                return probe.connect_ex((HOST, int(self.environment.get(f"{name.upper()}_PORT") or PORTS[name]))) == 0

        return [name for name in PORTS if answers(name)]

    def saved(self, work: Path) -> Iterator[Member]:
        if not (self.home / "var" / "airflow").exists():
            hint = "the volumes of containers that are stopped: make backup STACK=containers"
            raise StepFailed("no containers run, and there is no state of `make run` or `make demo`", hint)
        for info, content in folders.saved(self.folders, work):
            info.name = FOLDERS + info.name
            yield info, content

    def note_backup(self) -> None:
        if self.folders["predictions"].is_dir():
            (self.folders["predictions"] / LAST_BACKUP).touch()

    @contextmanager
    def restoring(self) -> Iterator[Put]:
        def put(info: tarfile.TarInfo, content: IO[bytes] | None) -> None:
            info.name = info.name.removeprefix(FOLDERS)
            folders.put(self.folders, info, content)

        folders.begin(self.folders)
        yield put
        folders.finish(self.folders)


@dataclass(frozen=True)
class Containers:
    """Volumes, which the service `state` mounts all, and the databases of the production stack's PostgreSQL."""

    compose: Compose
    emptied_by: str = "docker compose down --volumes"

    @property
    def profile(self) -> str:
        return "production" if "postgres" in self.compose.run("config", "--services").split() else "containers"

    def running(self) -> list[str]:
        return [name for name in self.compose.services() if name != "postgres"]  # a restore starts that one itself

    def saved(self, work: Path) -> Iterator[Member]:
        if self.profile == "production":
            if "postgres" not in self.compose.services():
                raise StepFailed("PostgreSQL does not run", "docker compose up --detach --wait postgres")
            for name in self._sql(_NAMES).split():  # airflow before mlflow, as in folders.NAMES
                yield from self._dump(name, work)
        ended = False
        with (
            self._started("run", "--rm", "--no-deps", "-T", "state", "save", stdout=subprocess.PIPE) as helper,
            tarfile.open(fileobj=helper.stdout, mode="r|") as tar,
        ):
            for info in tar:
                ended = info.name == DONE
                if not ended:
                    content = tar.extractfile(info)
                    _rename(info, FOLDERS + info.name)
                    yield info, content
            folders.drain(helper.stdout)
        if not ended:
            raise StepFailed("the volumes could not be read completely", "`docker compose logs` says more")

    def note_backup(self) -> None:
        if "api" in self.compose.services():
            self.compose.run("exec", "-T", "api", "touch", f"/predictions/{LAST_BACKUP}")

    @contextmanager
    def restoring(self) -> Iterator[Put]:
        self.compose.run("build", "mlflow")
        full = []
        if self.profile == "production":
            self.compose.run("up", "--detach", "--wait", "postgres")
            full = [name for name in self._sql(_NAMES).split() if self._sql(_TABLES, name).strip() != "0"]
        try:
            self.compose.run("run", "--rm", "--no-deps", "-T", "state", "begin", *full)
        except StepFailed as error:
            raise Unusable(str(error).splitlines()[-1]) from error
        with (
            self._started("run", "--rm", "--no-deps", "-T", "state", "load", stdin=subprocess.PIPE) as helper,
            tarfile.open(fileobj=helper.stdin, mode="w|") as tar,
        ):

            def put(info: tarfile.TarInfo, content: IO[bytes] | None) -> None:
                if info.name.startswith(DATABASES):
                    assert content is not None  # noqa: S101  # a dump is a file
                    self._undump(info.name.removeprefix(DATABASES), content)
                else:
                    _rename(info, info.name.removeprefix(FOLDERS))
                    tar.addfile(info, content)

            yield put
            tar.addfile(tarfile.TarInfo(DONE))
        if self.profile == "production":
            self.compose.run("stop", "postgres")

    def _sql(self, query: str, database: str = "postgres") -> str:
        psql = ("psql", "-U", "postgres", "-d", database, "-tAc", query)
        return self.compose.run("exec", "-T", "postgres", *psql)

    def _dump(self, name: str, work: Path) -> Iterator[Member]:
        with tempfile.NamedTemporaryFile(dir=work) as file:
            dump = ("pg_dump", "-U", "postgres", "--format=custom", name)
            with self._started("exec", "-T", "postgres", *dump, stdout=file):
                pass
            info = tarfile.TarInfo(DATABASES + name)
            info.size = file.seek(0, 2)
            file.seek(0)
            yield info, file.file

    def _undump(self, name: str, content: IO[bytes]) -> None:
        """All of it or nothing."""
        command = ("pg_restore", "-U", "postgres", "-d", name, "--clean", "--if-exists", "--single-transaction")
        with self._started("exec", "-T", "postgres", *command, stdin=subprocess.PIPE) as restore:
            assert restore.stdin is not None  # noqa: S101
            while some := content.read(1024 * 1024):
                restore.stdin.write(some)

    @contextmanager
    def _started(
        self, *arguments: str, stdin: int = subprocess.DEVNULL, stdout: int | IO[bytes] = subprocess.DEVNULL
    ) -> Iterator[subprocess.Popen[bytes]]:
        """`docker compose …` until the end of the block, when it has to have done its work. Raises StepFailed."""
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                ["docker", *self.compose.command(*arguments)],
                cwd=self.compose.root, env=dict(self.compose.environment), stdin=stdin, stdout=stdout, stderr=errors,
            )  # fmt: skip
            broken: Exception | None = None
            try:
                yield process
            except (BrokenPipeError, tarfile.TarError) as error:  # it says itself why it ended
                broken = error
            except BaseException:  # Ctrl-C too: docker would go on
                process.terminate()
                raise
            finally:
                with suppress(BrokenPipeError):
                    for pipe in filter(None, (process.stdin, process.stdout)):
                        pipe.close()
                code = process.wait()
            if code != 0 or broken:
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip() or str(broken)
                raise StepFailed(
                    f"docker compose {' '.join(arguments)} ended with {code}\n{said}", "`docker compose logs` says more"
                )


def _rename(info: tarfile.TarInfo, name: str) -> None:
    """A long name was read from a header of its own, which would be written again as it was."""
    info.name = name
    info.pax_headers = {key: value for key, value in info.pax_headers.items() if key != "path"}
