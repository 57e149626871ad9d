"""`docker compose` for one project: the calls that the drivers need."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stack.errors import EngineMissing, StepFailed

AUTHORITY = "/data/caddy/pki/authorities/local/root.crt"
SHOW_ADMIN = "import json; print(json.load(open('/opt/airflow/passwords.json'))['admin'])"


@dataclass(frozen=True)
class Compose:
    """`project` None: the one that Compose takes by itself, as in `make up`."""

    root: Path
    environment: Mapping[str, str]
    project: str | None = None

    def run(self, *arguments: str, seconds: float = 1800.0, quiet: bool = True) -> str:
        """Runs `docker compose …`; gives what it printed. Raises StepFailed with its last lines."""
        return docker(self.command(*arguments), self.root, self.environment, seconds, quiet)

    def command(self, *arguments: str) -> list[str]:
        """`compose …` as docker takes it."""
        return ["compose", "--ansi", "never", *(["-p", self.project] if self.project else []), *arguments]

    def password(self) -> str:
        """Airflow's password, read where it was made."""
        return self.run("exec", "-T", "airflow", "python", "-c", SHOW_ADMIN).strip()

    def proxy(self) -> tuple[str, str]:
        """Of the production stack's proxy: its login's password, and the certificate (PEM) of its own authority."""
        password = self.run("exec", "-T", "proxy", "cat", "/run/secrets/proxy_password")
        return password.strip(), self.run("exec", "-T", "proxy", "cat", AUTHORITY)

    def site(self) -> str:
        """Where the production stack's proxy answers."""
        name = self.environment.get("SITE_NAME") or "localhost"
        return f"https://{name}:{self.environment.get('HTTPS_PORT') or 8443}"

    def has_proxy(self) -> bool:
        """Whether this is the production stack, as it runs."""
        return "proxy" in self.services()

    def trainer(self) -> str:
        """The service that runs the tasks, and has what they need."""
        return "airflow-worker" if "airflow-worker" in self.services() else "airflow"

    def containers(self) -> list[tuple[str, str]]:
        """The running containers: the service and the id of each."""
        rows = [json.loads(line) for line in self.run("ps", "--format", "json").splitlines() if line.strip()]
        return sorted((row["Service"], row["ID"]) for row in rows)

    def services(self) -> set[str]:
        """The services that run."""
        return {service for service, _ in self.containers()}

    def containers_of(self, service: str) -> list[str]:
        """The ids of a service's containers."""
        return [container for name, container in self.containers() if name == service]

    def memory(self) -> dict[str, float]:
        """Megabytes in use now, by service."""
        containers = self.containers()
        asked = ["stats", "--no-stream", "--format", "{{json .}}", *(container for _, container in containers)]
        said = map(json.loads, docker(asked, self.root, self.environment).splitlines())
        used = {row["ID"]: megabytes(row["MemUsage"].split("/")[0]) for row in said}
        return {
            service: sum(used[container[:12]] for name, container in containers if name == service)
            for service in self.services()
        }


def docker(
    arguments: list[str], root: Path, environment: Mapping[str, str], seconds: float = 120.0, quiet: bool = True
) -> str:
    """Runs `docker …`; gives what it printed. Raises StepFailed with the last lines, EngineMissing without a docker."""
    command = ["docker", *arguments]
    errors = subprocess.PIPE if quiet else None
    try:
        done = subprocess.run(
            command, cwd=root, env=dict(environment), check=False, timeout=seconds,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
    except FileNotFoundError:
        raise EngineMissing("there is no command `docker`") from None
    except subprocess.TimeoutExpired:
        raise StepFailed(f"{' '.join(command)} took longer than {seconds:.0f} s", "") from None
    if done.returncode != 0:
        last = "\n".join((done.stderr or done.stdout).splitlines()[-30:])
        raise StepFailed(f"{' '.join(command)} ended with {done.returncode}\n{last}", "see `docker compose logs`")
    return done.stdout


def check_engine(root: Path, environment: Mapping[str, str]) -> None:
    """Raises EngineMissing when no engine answers, or it has no Compose."""
    try:
        docker(["info"], root, environment, seconds=30)
    except StepFailed as error:
        raise EngineMissing(str(error).splitlines()[-1]) from error
    try:
        docker(["compose", "version"], root, environment, seconds=30)
    except StepFailed as error:
        said = str(error).splitlines()[-1]
        raise EngineMissing(said, "Docker has no Compose", "install Docker's Compose plugin, 2.26 or newer") from error


def megabytes(text: str) -> float:
    """`"1.5GiB"` as megabytes (2**20 bytes)."""
    units = {"GiB": 1024.0, "MiB": 1.0, "KiB": 1 / 1024, "B": 1 / 1024**2}
    unit = next(unit for unit in units if text.strip().endswith(unit))
    return float(text.strip().removesuffix(unit)) * units[unit]
