"""The programs of the stack as they run without containers: the same ones, on SQLite, each in its own environment."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from stack.ports import HOST
from stack.processes import START_SECONDS, Program, Running, check_port, started_programs
from stack.settings import Settings

# Variables by their prefix that are for these programs alone: their keys and settings.
OWN_VARIABLES = {
    "API_": ("api",),
    "RAG_": ("rag",),
    "AIRFLOW_": ("airflow",),
    "SIGNING_KEY": ("airflow",),
    "ALERT_": ("airflow",),
    "DATA_PASSWORD": ("airflow",),
    "AWS_": ("airflow", "mlflow"),
}


def check_ports(settings: Settings, names: Sequence[str]) -> None:
    """Raises PortTaken for the first of `names` whose port is in use: before anything starts, so nothing is half up."""
    for name in names:
        check_port(HOST, settings.ports[name], f"{name.upper()}_PORT", name)


@contextmanager
def started(settings: Settings, names: Sequence[str], first: Sequence[Program] = ()) -> Iterator[list[Running]]:
    """The services `names`, healthy, after the programs `first` have ended, which start with them. At the end all that
    is in the list is stopped. Raises StackError."""
    check_ports(settings, names)
    with started_programs() as running:
        running += [Running(program) for program in (*first, *(SERVICES[name](settings) for name in names))]
        for one in running[: len(first)]:
            one.wait_done(START_SECONDS)
        for one in running[len(first) :]:
            one.wait_healthy(START_SECONDS)
        yield running


def mlflow(settings: Settings) -> Program:
    """The tracking server. It runs from the training environment, which has MLflow in full."""
    home = settings.home / "mlruns"
    home.mkdir(exist_ok=True)
    command = [
        settings.python("training"), "mlflow/start.py",
        "--host", HOST, "--port", str(settings.ports["mlflow"]), "--workers", "1",
        "--serve-artifacts",
        "--artifacts-destination", settings.environment.get("MLFLOW_ARTIFACTS") or str(home / "artifacts"),
    ]  # fmt: skip
    allowed = f"localhost:*,{HOST}:*"
    extra = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_SERVER_ALLOWED_HOSTS": allowed}
    extra |= {"MLFLOW_BACKEND_STORE_URI": f"sqlite:///{home / 'mlflow.db'}"}
    return program(settings, "mlflow", command, extra, "/health")


def api(settings: Settings) -> Program:
    """The prediction service. Alive is enough here: before the first training it has no model."""
    extra = {"PYTHONPATH": "api", "API_HOST": HOST, "API_PORT": str(settings.ports["api"])}
    default = settings.environment.get("DEFAULT_MODEL") or settings.model_name
    extra |= {"DEFAULT_MODEL": default, "MODELS_DIR": str(settings.home / "models")}
    extra |= {"PREDICTION_LOG_DIR": prediction_log(settings), "API_PAGES": site_pages(settings)}
    extra |= {"AIRFLOW_URL": settings.url("airflow"), "RAG_URL": settings.url("rag")}
    extra |= {"SIGNING_PUBLIC_KEYS": str(settings.var / "signing" / "public")}
    extra |= {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=2"}  # as in its image
    return program(settings, "api", [settings.python("api"), "-m", "prediction_api"], extra, "/livez")


def rag(settings: Settings) -> Program:
    """The question-answering service; healthy once its models are loaded."""
    extra = {"PYTHONPATH": "rag", "RAG_HOST": HOST, "RAG_PORT": str(settings.ports["rag"])}
    extra |= {"RAG_DATA_DIR": str(settings.var / "rag"), "RAG_PAGES": site_pages(settings)}
    return program(settings, "rag", [settings.python("rag"), "-m", "rag_service", "serve"], extra, "/readyz")


def site_pages(settings: Settings) -> str:
    """The links on top of every page, by their ports: a browser may know this machine by another name."""
    if given := settings.environment.get("SITE_PAGES"):
        return given
    pages = {"Overview": "api", "Predict": "api", "Ask": "rag", "Airflow": "airflow", "MLflow": "mlflow"}
    paths = {"Predict": "predict-form"}
    return " ".join(f"{name}=:{settings.ports[one]}/{paths.get(name, '')}" for name, one in pages.items())


def embedding(settings: Settings) -> dict[str, str]:
    """What embedding in bulk needs: the service's variables, Java, and the keys of buckets."""
    keys = {name: value for name, value in settings.environment.items() if name.startswith("AWS_")}
    return {**rag(settings).environment, **keys, "JAVA_HOME": java_home(settings.root)}


def airflow_prepare(settings: Settings) -> Program:
    """Makes Airflow's secrets and database, and ends."""
    return airflow(settings, "airflow-prepare", [settings.python("airflow"), "airflow/entrypoint.py", "prepare"])


def airflow_server(settings: Settings) -> Program:
    """Scheduler, dag-processor and api-server under one supervisor, as in the container."""
    command = [settings.python("airflow"), "airflow/entrypoint.py"]
    return airflow(settings, "airflow", command, f"{settings.url('airflow')}/api/v2/version")


def airflow_dag_run(settings: Settings, conf: str) -> Program:
    """One run of `train_model` without scheduler or page, with `conf` (JSON) as its parameters."""
    command = [settings.python("airflow"), "-m", "airflow", "dags", "test", settings.dag("train"), "--conf", conf]
    return airflow(settings, "train_model", command)


def airflow(settings: Settings, name: str, command: list[str], health: str | None = None) -> Program:
    """A program of Airflow, with all that its tasks need."""
    home = settings.var / "airflow"
    port = settings.ports["airflow"]
    training = settings.root / ".venvs" / "training"
    path = [str(settings.root / ".venvs" / "airflow" / "bin"), settings.environment.get("PATH", os.defpath)]
    environment = training_environment(settings) | {
        "PATH": os.pathsep.join(path),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(settings.root / "airflow" / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{HOST}:{port}/execution/",
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__EXECUTION_API__JWT_EXPIRATION_TIME": "86400",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "120",
        "PIPELINE_HOME": str(settings.root),
        "TRAINING_HOME": str(training),
        "API_URL": settings.url("api"),
        "RAG_URL": settings.url("rag"),
        "PREDICTION_LOG_DIR": prediction_log(settings),
        "JAVA_HOME": java_home(settings.root),
        "SPARK_LOCAL_IP": HOST,
        "SPARK_LOCAL_DIRS": str(settings.var / "spark"),
        # refresh_documents asks the question-answering service, as its clients do.
        **{name: value for name, value in settings.environment.items() if name == "RAG_API_KEY_FILE"},
        "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES",  # macOS would kill the tasks, which Airflow forks
    }
    return Program(name, command, environment, settings.root, settings.var / "log" / f"{name}.log", health)


def program(settings: Settings, name: str, command: list[str], extra: dict[str, str], health: str) -> Program:
    """A server of ours, with its log under var/log."""
    address = settings.url(name) + health
    log = settings.var / "log" / f"{name}.log"
    return Program(name, command, common(settings, name) | extra, settings.root, log, address)


def training_environment(settings: Settings) -> dict[str, str]:
    """What Airflow's tasks and a command of the training job need: they alone know the key that signs models."""
    signing = settings.var / "signing"
    own = {"SIGNING_KEY": str(signing / "private" / "key.pem"), "SIGNING_PUBLIC_KEYS": str(signing / "public")}
    own["SNAPSHOTS_DIR"] = str(settings.var / "snapshots")
    return common(settings, "airflow") | own


def common(settings: Settings, name: str) -> dict[str, str]:
    """The environment that all share: the caller's without the variables of other programs, the tracking server's
    address, and nothing that calls home."""
    others = tuple(prefix for prefix, owners in OWN_VARIABLES.items() if name not in owners)
    mine = {key: value for key, value in settings.environment.items() if not key.startswith(others)}
    return mine | {
        "MLFLOW_TRACKING_URI": settings.url("mlflow"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "GIT_PYTHON_REFRESH": "quiet",
        "PYTHONUNBUFFERED": "1",
        # A program on this machine is never asked for through a proxy.
        "NO_PROXY": f"{settings.environment.get('NO_PROXY', '')},{HOST},localhost".lstrip(","),
    }


def prediction_log(settings: Settings) -> str:
    """The folder where the api writes what it predicted and the monitoring reads it, unless the caller names one."""
    return settings.environment.get("PREDICTION_LOG_DIR", str(settings.var / "predictions"))


def java_home(root: Path) -> str:
    """The Java that `make setup` found or provided."""
    return (root / "var" / "java_home").read_text(encoding="utf-8").strip()


SERVICES: Mapping[str, Callable[[Settings], Program]] = {
    "mlflow": mlflow,
    "api": api,
    "rag": rag,
    "airflow": airflow_server,
}
