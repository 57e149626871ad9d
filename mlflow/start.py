"""Starts MLflow's server on the database of MLFLOW_BACKEND_STORE_URI, whose schema it first brings up to date.

`start.py [OPTIONS OF mlflow server]`
"""

import importlib.util
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

MARK = ".restore-incomplete"  # as in stack/state/folders.py


class Refused(Exception):
    """The database cannot be served; the text says why, and what to do."""


def prepare(url: str) -> None:
    """Migrates an older schema. Raises Refused for a newer one, and for what a restore has left half full."""
    address, scripts = sqlalchemy.engine.make_url(url), ScriptDirectory.from_config(_config())
    path = Path(address.database or "") if address.get_backend_name() == "sqlite" else None
    if path and (path.parent / MARK).exists():
        raise Refused(f"an interrupted restore is in {path.parent}: run `make restore` again")
    if path and not path.exists():
        return  # the server makes it
    version, newest = _version(url), scripts.get_current_head()
    if version in (None, newest):
        return
    try:
        scripts.get_revision(version)
    except CommandError:
        raise Refused(
            f"the database {address.render_as_string()} has schema {version} of a newer MLflow; this one reads up "
            f"to {newest}: start the newer version, or restore an earlier backup"
        ) from None
    sys.stderr.write(f"migrating the database from schema {version} to {newest}\n")
    if path:
        _migrate_file(path)
    else:
        _migrate(url)


def _migrate(url: str) -> None:
    """Brings the schema to the newest version. PostgreSQL does all of it or nothing."""
    engine = sqlalchemy.create_engine(url)
    config = _config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "heads")
    engine.dispose()


def _migrate_file(path: Path) -> None:
    """Migrates a copy, which then takes the file's place: SQLite would leave half a migration after a kill."""
    copy = path.with_name(f"{path.name}.migrating")
    copy.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(copy)) as new:
        old.backup(new)
        # Raises where another program has it open, whose write-ahead log would stay beside the new file.
        old.execute("PRAGMA journal_mode = DELETE")
        new.execute("PRAGMA journal_mode = DELETE")
    _migrate(f"sqlite:///{copy}")
    copy.chmod(path.stat().st_mode & 0o777)
    copy.replace(path)


def _version(url: str) -> str | None:
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


def _config() -> Config:
    """MLflow's migrations, found without importing MLflow, which takes seconds."""
    found = importlib.util.find_spec("mlflow")
    if found is None or not found.submodule_search_locations:
        raise Refused("this environment has no MLflow")
    folder = Path(found.submodule_search_locations[0]) / "store" / "db_migrations"
    config = Config(str(folder / "alembic.ini"))
    config.set_main_option("script_location", str(folder))
    return config


def main() -> None:
    """Becomes the server, or ends with what is wrong."""
    try:
        prepare(os.environ["MLFLOW_BACKEND_STORE_URI"])
    except (Refused, sqlalchemy.exc.SQLAlchemyError, sqlite3.Error) as error:
        sys.exit(f"mlflow does not start: {error}")
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "server", *sys.argv[1:]])  # noqa: S606


if __name__ == "__main__":
    main()
