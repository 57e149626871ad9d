"""What the production stack promises, seen in the configuration that Compose makes of its files."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stack.settings import ROOT
from stack.state.folders import NAMES

FILES = ("docker-compose.yml", "docker-compose.production.yml")
SERVER = {"airflow", "airflow-scheduler", "airflow-dag-processor"}
Services = dict[str, dict[str, Any]]


def composed(*files: str, **variables: str) -> dict[str, Any]:
    """The configuration as `docker compose` would start it, without any .env file."""
    named = [argument for file in files for argument in ("-f", str(ROOT / file))]
    command = ["docker", "compose", "--env-file", "/dev/null", *named, "config", "--format", "json"]
    try:
        environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", **variables}
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no docker on this machine")
    if b"is not a docker command" in done.stderr or b"unknown flag" in done.stderr:
        pytest.skip("this docker has no Compose")
    assert done.returncode == 0, done.stderr.decode()
    configuration: dict[str, Any] = json.loads(done.stdout)
    return configuration


@pytest.fixture(scope="module")
def production() -> dict[str, Any]:
    return composed(*FILES, AWS_ACCESS_KEY_ID="of the shell", AWS_SECRET_ACCESS_KEY="of the shell")


@pytest.fixture(scope="module")
def services(production: dict[str, Any]) -> Services:
    found: Services = production["services"]
    return found


def sources(service: dict[str, Any], kind: str) -> set[str]:
    return {entry["source"] for entry in service.get(kind) or ()}


def test_only_the_proxy_publishes_and_on_this_machine_only(services: Services) -> None:
    published = [(name, port["host_ip"]) for name, service in services.items() for port in service.get("ports", ())]
    assert set(published) == {("proxy", "127.0.0.1")}


def test_only_the_proxy_has_a_way_out_and_others_where_it_is_asked_for() -> None:
    def open_to_the_outside(**variables: str) -> set[str]:
        found = composed(*FILES, COMPOSE_PROFILES="monitoring", **variables)
        outside = {name for name, network in found["networks"].items() if not network.get("internal")}
        return {name for name, one in found["services"].items() if outside & set(one.get("networks") or ())}

    assert open_to_the_outside() == {"proxy"}
    assert open_to_the_outside(RAG_OFFLINE="false") == {"proxy", "rag"}
    assert open_to_the_outside(ALERTS_OFFLINE="false") == {"proxy", "alertmanager", "airflow-worker"}
    assert open_to_the_outside(DATA_OFFLINE="false") == {"proxy", "airflow-worker", "mlflow"}


def test_the_databases_are_reached_by_those_that_need_them(services: Services) -> None:
    on_database = {name for name, service in services.items() if "database" in (service.get("networks") or ())}
    assert on_database == {"postgres", "mlflow", "rag", "rag-worker", *SERVER}
    assert set(services["postgres"]["networks"]) == {"database"}


def test_each_has_its_own_secrets_and_no_others(services: Services) -> None:
    holders = {name: sources(service, "secrets") for name, service in services.items() if service.get("secrets")}
    server = {"postgres_airflow_password", "redis_password", "airflow_fernet_key", "airflow_secret_key"}
    assert {name: holders[name] for name in SERVER} == dict.fromkeys(SERVER, server | {"airflow_jwt_secret"})
    assert holders["airflow-worker"] == {"redis_password", "rag_keys", "data_password", "data_s3"}
    assert (holders["mlflow"], holders["api"], holders["rag"], holders["proxy"], holders["redis"]) == (
        {"postgres_mlflow_password", "mlflow_s3"}, {"api_keys"}, {"rag_keys", "postgres_rag_password"},
        {"proxy_password"}, {"redis_password"},
    )  # fmt: skip
    assert holders["rag-worker"] == {"postgres_rag_password"}
    assert "signing-key" in sources(services["airflow-worker"], "volumes")
    assert [name for name, service in services.items() if "signing-key" in sources(service, "volumes")] == [
        "airflow-worker"
    ]


def test_all_secrets_are_checked_before_anything_starts(production: dict[str, Any], services: Services) -> None:
    from stack.secret_files import MAKERS, OPTIONAL

    assert sources(services["secrets-check"], "secrets") == set(production["secrets"]) == {*MAKERS, *OPTIONAL}
    waits = {name: set(service.get("depends_on") or ()) for name, service in services.items()}
    reached = {"secrets-check"}
    while more := {name for name, others in waits.items() if others & reached} - reached:
        reached |= more
    assert set(services) - reached == {"spark-master", "spark-worker-1", "spark-worker-2"}  # they have none


def test_no_environment_holds_a_credential(services: Services) -> None:
    values = {
        (name, key): value
        for name, service in services.items()
        for key, value in (service.get("environment") or {}).items()
        if re.search("KEY|PASSWORD|SECRET|TOKEN", key) and not key.endswith("_FILE") and value
    }
    assert {key for key in values if key[1] != "RAG_LLM_ANSWER_TOKENS"} == set()


def test_a_secret_of_the_env_file_reaches_those_that_need_it() -> None:
    holders = {  # in the default stack, and in production
        "API_KEY": ({"api", "prometheus"}, set()),
        "ALERT_WEBHOOK": ({"airflow"}, {"airflow-worker"}),
        "AWS_SECRET_ACCESS_KEY": ({"airflow", "mlflow", "rag-embed"}, set()),
        "DATA_PASSWORD_FILE": ({"airflow"}, set()),
        "RAG_LLM_API_KEY_FILE": ({"rag", "rag-embed"}, {"rag", "rag-embed", "rag-worker"}),
    }
    given = {variable: f"my {variable}" for variable in holders}
    default, production = (
        composed(*files, COMPOSE_PROFILES="monitoring,spark,state,bulk", **given)["services"]
        for files in (FILES[:1], FILES)
    )
    for variable, expected in holders.items():
        found = tuple(
            {name for name, one in services.items() if given[variable] in (one.get("environment") or {}).values()}
            for services in (default, production)
        )
        assert found == expected, variable


def test_the_default_stack_is_published_where_it_is_asked_for() -> None:
    for asked in ({}, {"BIND_ADDRESS": "127.0.0.9"}):
        services = composed(FILES[0], COMPOSE_PROFILES="monitoring,spark,state,bulk", **asked)["services"]
        published = {port["host_ip"] for service in services.values() for port in service.get("ports") or ()}
        assert published == {asked.get("BIND_ADDRESS", "127.0.0.1")}


def test_all_are_confined(services: Services) -> None:
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert {"mem_limit", "pids_limit"} <= set(service), name
        assert name == "secrets-check" or service["healthcheck"]["test"], name


def test_what_watches_the_stack_is_there_where_it_is_asked_for() -> None:
    default, production = (composed(*files, COMPOSE_PROFILES="monitoring")["services"] for files in (FILES[:1], FILES))
    for name in ("prometheus", "alertmanager"):
        test_all_are_confined({name: default[name]})
        test_all_are_confined({name: production[name]})
        assert [port["host_ip"] for port in default[name]["ports"]] == ["127.0.0.1"]
        assert "ports" not in production[name]
        assert default[name]["user"] == "65534:65534"
    assert sources(production["prometheus"], "secrets") == {"api_keys", "rag_keys"}
    test_no_environment_holds_a_credential(production)
    assert set(production["prometheus"]["networks"]) == {"services"}
    off = [
        service["environment"]["AIRFLOW__METRICS__OTEL_ON"] for service in (default["airflow"], production["airflow"])
    ]
    assert off == ["false", "false"]


def test_the_service_of_backups_reaches_every_volume_and_nothing_else(production: dict[str, Any]) -> None:
    state = composed(*FILES, COMPOSE_PROFILES="state")["services"]["state"]
    mounted = {one["source"]: one["target"] for one in state["volumes"] if one["type"] == "volume" and "source" in one}
    # Made again from the rest or by the first start, dumped, or what was measured and silenced.
    without = {"api-models", "postgres-data", "redis-data", "spark-secret", "prometheus-data", "alertmanager-data"}
    without |= {"snapshots"}  # copied again from where they came
    assert set(mounted) == set(production["volumes"]) - without
    assert set(mounted.values()) == {f"/state/{name}" for name in NAMES}
    assert (state["network_mode"], state["cap_drop"], state["read_only"]) == ("none", ["ALL"], True)


def test_both_services_have_the_same_links_on_top(services: Services) -> None:
    default = composed("docker-compose.yml", RAG_PORT="9001")["services"]
    for found, ask in ((services, "Ask=/rag/"), (default, "Ask=:9001/")):
        pages = found["api"]["environment"]["API_PAGES"]
        assert pages == found["rag"]["environment"]["RAG_PAGES"]
        assert ask in pages.split()


def test_the_numbers_follow_their_variables() -> None:
    services = composed(*FILES, API_REPLICAS="5", RAG_REPLICAS="4", RAG_WORKERS="2", AIRFLOW_WORKERS="3")["services"]
    replicas = [services[name]["deploy"]["replicas"] for name in ("api", "rag", "rag-worker", "airflow-worker")]
    assert replicas == [5, 4, 2, 3]


def test_the_documents_are_in_a_database_of_their_own_with_pgvector(services: Services) -> None:
    made = (ROOT / "postgres" / "databases.sql").read_text()
    for environment in (services["rag"]["environment"], services["rag-worker"]["environment"]):
        assert environment["RAG_STORE"] == "postgresql://rag@postgres/rag"
        assert environment["RAG_STORE_PASSWORD_FILE"] == "/run/secrets/postgres_rag_password"
    assert services["postgres"]["image"].startswith("pgvector/pgvector:pg17")
    assert "CREATE DATABASE rag OWNER rag;" in made
    assert made.endswith("\\connect rag\nCREATE EXTENSION vector;\n")
    assert "postgres_rag_password" in sources(services["postgres"], "secrets")


def test_the_replicas_leave_what_is_uploaded_to_the_workers(services: Services) -> None:
    assert services["rag"]["environment"]["RAG_WORK"] == "false"
    assert services["rag-worker"]["command"][-1] == "work"
    folders = ("/var/lib/rag", "/srv/rag/documents")  # converted models; what is watched
    mounted = {name: {one["target"] for one in services[name]["volumes"]} for name in ("rag", "rag-worker")}
    assert mounted["rag"] == mounted["rag-worker"] == set(folders)


def test_every_database_that_is_made_is_closed_to_the_others() -> None:
    made = (ROOT / "postgres" / "databases.sql").read_text()
    databases = set(re.findall(r"CREATE DATABASE (\w+) OWNER \1;", made))
    closed = re.search(r"REVOKE ALL ON DATABASE ([\w, ]+) FROM PUBLIC;", made)
    assert closed is not None
    assert set(closed[1].split(", ")) == databases | {"postgres"}


def test_without_the_file_there_is_nothing_of_it() -> None:
    configuration = composed(FILES[0])
    assert set(configuration["services"]) == {"airflow", "api", "mlflow", "rag"}
    assert "secrets" not in configuration


def test_the_example_names_every_variable_with_its_default() -> None:
    used = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", (ROOT / FILES[1]).read_text()))
    example = (ROOT / ".env.production.example").read_text()
    assert {name: value for name, value in used.items() if f"#{name}={value}\n" not in example} == {}
    assert f"\nCOMPOSE_FILE={':'.join(FILES)}\n" in example


def test_the_images_of_spark_and_airflow_differ(services: Services) -> None:
    images = {services[name]["image"] for name in services if name.startswith("spark")}
    assert images == {"pipeline-spark:local"}
    stages = re.split(r"^FROM ", Path(ROOT / "airflow" / "Dockerfile").read_text(), flags=re.M)
    training = next(stage for stage in stages if stage.splitlines()[0].endswith("AS training"))
    assert "airflow-venv" not in training


def test_what_embeds_in_bulk_reaches_the_database_and_buckets_and_starts_only_when_it_is_run() -> None:
    default, production = (composed(*files, COMPOSE_PROFILES="bulk")["services"] for files in (FILES[:1], FILES))
    assert set(default) == {"airflow", "api", "mlflow", "rag", "rag-embed"}
    embed = production["rag-embed"]
    assert set(embed["networks"]) == {"database", "stores"}
    assert sources(embed, "secrets") == {"postgres_rag_password", "data_s3"}
    assert (embed["environment"]["RAG_STORE"], embed["restart"], embed.get("ports")) == (
        production["rag"]["environment"]["RAG_STORE"], "no", None,
    )  # fmt: skip
    assert embed["read_only"]
    assert {one["target"] for one in embed["volumes"]} == {one["target"] for one in production["rag"]["volumes"]}
