"""The programs of `make run` and of the drivers, as people and drivers use them."""

import subprocess
from typing import Any

from stack import programs
from stack.clients import password, service, sign_in
from stack.http_client import content
from stack.settings import Settings
from stack.train import followed


class Processes:
    """What to do is done by programs on this machine."""

    compose = None

    def __init__(self, settings: Settings) -> None:
        self.settings, self.config = settings, str(settings.config)

    def password(self) -> str:
        """Airflow's. Raises StepFailed where it never started."""
        return password(self.settings, None)

    def overview(self) -> dict[str, Any]:
        """What the prediction service answers. Raises StepFailed."""
        with service(self.settings, None, "api") as api:
            return dict(content(api.get("/overview")))

    def last_runs(self) -> list[dict[str, Any]]:
        """Airflow's newest run of each DAG. Raises StepFailed."""
        return sign_in(self.settings, None).last_runs()

    def train(self, conf: dict[str, object]) -> None:
        """Triggers the pipeline's training and follows it to its end. Raises StepFailed."""
        settings = self.settings
        conf |= {"config": self.config, "name": settings.model_name}
        airflow = sign_in(settings, None)
        conf |= {"data": str(settings.data)} if settings.data else {}
        followed(airflow, settings.dag("train"), conf, airflow.url)

    def script(self, name: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Runs `pipeline.py NAME`, which speaks to the tracking server. What people read is on its stderr."""
        settings = self.settings
        model = [] if name == "keys" else ["--config", self.config, "--name", settings.model_name]
        command = [settings.python("training"), "scripts/pipeline.py", name, *model, *options]
        environment = programs.training_environment(settings)
        return subprocess.run(
            command, cwd=settings.root, env=environment, check=False, stdout=subprocess.PIPE, text=True
        )

    def documents(self, command: str, given: str, options: list[str]) -> int:
        """Runs `rag_service ask` or `ingest`, or `embed`, which needs no running service; its exit code."""
        settings, where = self.settings, [] if command == "embed" else ["--url", self.settings.url("rag")]
        program = [settings.python("rag"), "-m", "rag_service", command, given, *options, *where]
        environment = programs.embedding(settings) if command == "embed" else programs.rag(settings).environment
        return subprocess.run(program, cwd=settings.root, env=environment, check=False).returncode
