"""What `make` does with the programs of `make run`, in another terminal."""

import subprocess
from typing import Any

import httpx

from stack import programs
from stack.airflow_client import Airflow
from stack.clients import password, service, sign_in
from stack.errors import StepFailed
from stack.settings import Settings
from stack.steps import content
from stack.train import answering, followed


class Processes:
    """The stack as processes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def password(self) -> str:
        """Airflow's. Raises StepFailed where it never started."""
        return password(self.settings, None)

    def overview(self) -> dict[str, Any]:
        """What the prediction service answers. Raises StepFailed."""
        with service(self.settings, None, "api") as api:
            try:
                return dict(content(api.get("/overview")))
            except httpx.TransportError as error:
                hint = "start it: `make run` in another terminal"
                raise StepFailed(f"the prediction service does not answer ({type(error).__name__})", hint) from error

    def last_runs(self) -> list[dict[str, Any]]:
        """Airflow's newest run of each DAG. Raises StepFailed."""
        with answering():
            return self._airflow().last_runs()

    def _airflow(self) -> Airflow:
        """Raises StepFailed."""
        settings = self.settings
        try:
            return sign_in(settings, None)
        except httpx.TransportError as error:
            raise StepFailed(
                f"Airflow does not answer at {settings.url('airflow')} ({type(error).__name__})",
                "start it: `make up`, or `make run` in another terminal; AIRFLOW_PORT must be the same for both",
            ) from error

    def train(self, conf: dict[str, object]) -> None:
        """Triggers the pipeline's training and follows it to its end. Raises StepFailed."""
        settings = self.settings
        conf |= {"config": str(settings.config), "name": settings.model_name}
        airflow = self._airflow()
        conf |= {"data": str(settings.data)} if settings.data else {}
        followed(airflow, settings.dag("train"), conf, airflow.url)

    def script(self, name: str, options: list[str]) -> int:
        """Runs `pipeline.py NAME`, which speaks to the tracking server; its exit code. What it says is on stderr."""
        settings = self.settings
        model = [] if name == "keys" else ["--config", str(settings.config), "--name", settings.model_name]
        command = [settings.python("training"), "scripts/pipeline.py", name, *model, *options]
        environment = programs.training_environment(settings)
        return subprocess.run(
            command, cwd=settings.root, env=environment, check=False, stdout=subprocess.DEVNULL
        ).returncode

    def embed(self, options: list[str]) -> int:
        """Adds documents in bulk; the exit code. Raises StepFailed."""
        if not options[:1] or not options[0]:
            raise StepFailed("FROM= is missing: which documents?", "make embed FROM=folder, or FROM=s3://bucket/prefix")
        command = [self.settings.python("rag"), "-m", "rag_service", "embed", *options]
        environment = programs.embedding(self.settings)
        return subprocess.run(command, cwd=self.settings.root, env=environment, check=False).returncode
