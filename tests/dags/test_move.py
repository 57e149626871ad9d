"""Airflow's database as `make move` copies it: a real one in SQLite, and a real PostgreSQL."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import run
from servers import postgres_running, program_at
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def opened(url: str) -> Iterator[Session]:
    """A session of Airflow's models on this database."""
    engine = create_engine(url)
    with Session(engine) as session, session.begin():
        yield session
    engine.dispose()


def keep(url: str, name: str) -> None:
    """Keeps a connection with a password, and a variable."""
    from airflow.models import Connection, Variable

    with opened(url) as session:
        session.add(Connection(conn_id=name, conn_type="http", password="not in plain text"))
        session.add(Variable(key=name, val="3"))


def seen(url: str) -> list[list[tuple[object, ...]]]:
    """What people see: connections and variables, which are encrypted, and the history."""
    from airflow.models import Connection, DagRun, TaskInstance, Variable

    with opened(url) as session:
        connections = [(one.conn_id, one.password) for one in session.query(Connection)]
        variables = [(one.key, one.val) for one in session.query(Variable)]
        runs = [(one.dag_id, one.run_id, one.state, str(one.start_date), one.conf) for one in session.query(DagRun)]
        tasks = [(one.run_id, one.task_id, one.state, one.try_number) for one in session.query(TaskInstance)]
    return [sorted(found, key=str) for found in (connections, variables, runs, tasks)]


def test_connections_variables_and_history_are_there(dags, programs, airflow_home: Path, tmp_path: Path) -> None:
    programs()
    assert run(dags["train_model"])["run"] == "success"
    source = airflow_home / "airflow.db"
    keep(f"sqlite:///{source}", "warehouse")
    program = program_at(ROOT / "stack" / "state" / "copy_database.py")
    with postgres_running(tmp_path / "postgres") as address:
        target = address.format("postgres").replace("postgresql:", "postgresql+psycopg2:")
        migrate = [sys.executable, "-W", "ignore", "-m", "airflow", "db", "migrate"]
        changed = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": target}
        subprocess.run(migrate, env={**os.environ, **changed}, check=True, capture_output=True)
        counts = program.copy(str(source), target, ("dag_run", "connection", "variable"))
        here, there = seen(f"sqlite:///{source}"), seen(target)
        assert here == there
        assert here[:2] == [[("warehouse", "not in plain text")], [("warehouse", "3")]]
        assert counts["task_instance"] >= 4
        keep(target, "later")  # its number is after those that were copied
