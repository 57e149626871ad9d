"""Airflow's database as `make move` copies it: a real one in SQLite, and a real PostgreSQL."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

from conftest import run
from servers import postgres_running

ROOT = Path(__file__).resolve().parents[2]
# What people see: connections and variables, which are encrypted, and the history.
SEEN = """
import json
from airflow.models import Connection, DagRun, TaskInstance, Variable
from airflow.utils.session import create_session
with create_session() as session:
    connections = [(one.conn_id, one.password) for one in session.query(Connection).order_by(Connection.conn_id)]
    variables = [(one.key, one.val) for one in session.query(Variable).order_by(Variable.key)]
    runs = [(one.dag_id, one.run_id, one.state, str(one.start_date), one.conf) for one in session.query(DagRun)]
    tasks = [(one.run_id, one.task_id, one.state, one.try_number) for one in session.query(TaskInstance)]
print(json.dumps([connections, variables, sorted(runs, key=str), sorted(tasks)]))
"""
KEEP = """
from airflow.models import Connection, Variable
from airflow.utils.session import create_session
with create_session() as session:
    session.add(Connection(conn_id="warehouse", conn_type="http", password="not in plain text"))
Variable.set("limit", "3")
"""


def test_connections_variables_and_history_are_there(dags, programs, airflow_home: Path, tmp_path: Path) -> None:
    def airflow(*words: str, url: str) -> str:
        changed = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url}
        command = [sys.executable, "-W", "ignore", *words]
        done = subprocess.run(command, env={**os.environ, **changed}, check=True, capture_output=True, text=True)
        return done.stdout

    programs()
    assert run(dags["train_model"])["run"] == "success"
    source = airflow_home / "airflow.db"
    airflow("-c", KEEP, url=f"sqlite:///{source}")
    specification = importlib.util.spec_from_file_location("copy", ROOT / "stack" / "state" / "copy_database.py")
    program = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(program)
    with postgres_running(tmp_path / "postgres") as address:
        target = address.format("postgres").replace("postgresql:", "postgresql+psycopg2:")
        airflow("-m", "airflow", "db", "migrate", url=target)
        counts = program.copy(str(source), target, ("dag_run", "connection", "variable"))
        there, here = (
            json.loads(airflow("-c", SEEN, url=url).splitlines()[-1]) for url in (f"sqlite:///{source}", target)
        )
        assert here == there
        assert here[0] == [["warehouse", "not in plain text"]]
        assert counts["task_instance"] >= 4
        airflow("-c", KEEP.replace("warehouse", "later"), url=target)  # its number is after those that were copied
