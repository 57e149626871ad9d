"""Copies MLflow's or Airflow's SQLite database into a PostgreSQL that has the same schema.

`copy_database.py SQLITE_FILE TABLE…`, the target's address in TARGET_URL. Each TABLE must be empty there, or hold
the same rows, if it was copied before. All of it or nothing, and the file is only read. Runs in the service's image.
"""

import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, MetaData, Row, Table, func, select
from sqlalchemy.types import Boolean, Interval, TypeEngine

_ROWS = 1000
_EPOCH = datetime.fromisoformat("1970-01-01")


class Refused(Exception):
    """Nothing was copied; the text says why."""


def copy(file: str, target_url: str, must_be_empty: Sequence[str]) -> dict[str, int]:
    """Returns the rows of each table that has any, nothing where they were there. Raises Refused, SQLAlchemyError."""
    source = sqlalchemy.create_engine(f"sqlite:///file:{file}?mode=ro&uri=true")
    target = sqlalchemy.create_engine(target_url)
    try:
        with source.connect() as old, target.begin() as new:
            return _copy(old, new, must_be_empty)
    finally:
        source.dispose()
        target.dispose()


def _copy(old: Connection, new: Connection, must_be_empty: Sequence[str]) -> dict[str, int]:
    there, here = MetaData(), MetaData()
    there.reflect(old)
    here.reflect(new)
    versions = {name for name in there.tables if name.startswith("alembic_version")}
    for name in sorted(versions):
        theirs = old.scalars(sqlalchemy.text(f"SELECT version_num FROM {name}")).all()  # noqa: S608
        ours = new.scalars(select(here.tables[name].c.version_num)).all() if name in here.tables else []
        if sorted(theirs) != sorted(ours):
            raise Refused(
                f"{name} is {theirs} in the file but {list(ours)} in PostgreSQL: start both with the same version"
            )
    if full := [name for name in must_be_empty if _count(new, here.tables[name])]:
        if all(_keys(old, there.tables[name]) == _keys(new, here.tables[name]) for name in must_be_empty):
            return {}
        raise Refused(f"PostgreSQL is not empty: it has rows in {', '.join(full)}")
    with warnings.catch_warnings(action="ignore", category=sqlalchemy.exc.SAWarning):  # of tables that name each other
        tables = [table for table in here.sorted_tables if table.name not in versions]
    if missing := [name for name in there.tables.keys() - here.tables if _count(old, there.tables[name])]:
        raise Refused(f"PostgreSQL does not have the tables {', '.join(sorted(missing))}")
    new.execute(sqlalchemy.text("SET TIME ZONE 'UTC'"))  # SQLite's moments have no zone, and are in UTC
    quoted = new.dialect.identifier_preparer.format_table
    new.execute(sqlalchemy.text(f"TRUNCATE {', '.join(quoted(table) for table in tables)}"))
    counts = {table.name: _copy_table(old, new, there.tables[table.name], table) for table in tables}
    return {name: count for name, count in counts.items() if count}


def _copy_table(old: Connection, new: Connection, there: Table, here: Table) -> int:
    columns = [column for column in here.columns if column.name in there.c and column.computed is None]
    # Without types on either side: the texts of dates, JSON and the like are what PostgreSQL reads as well.
    source = sqlalchemy.table(there.name, *(sqlalchemy.column(column.name) for column in columns))
    target = sqlalchemy.table(here.name, *(sqlalchemy.column(column.name) for column in columns))
    types = {column.name: column.type for column in columns}
    for rows in old.execute(select(source)).partitions(_ROWS):
        new.execute(target.insert(), [_converted(row, types) for row in rows])
    expected, found = _count(old, there), _count(new, here)
    if expected != found:
        raise Refused(f"{here.name}: expected {expected} rows, found {found} after copying")
    _set_sequences(new, here)
    return found


def _set_sequences(new: Connection, table: Table) -> None:
    """The next number is after the highest; PostgreSQL's begin with 1, and MLflow's first experiment is 0."""
    for column in table.primary_key:
        sequence = new.scalar(select(func.pg_get_serial_sequence(f'"{table.name}"', column.name)))
        if sequence and (highest := new.scalar(select(func.max(column)))):
            new.execute(select(func.setval(sequence, highest)))


def _converted(row: Row[Any], types: Mapping[str, TypeEngine[Any]]) -> dict[str, Any]:
    return {name: _value(value, types[name]) for name, value in row._mapping.items()}


def _value(value: Any, kind: TypeEngine[Any]) -> Any:
    if value is None:
        return None
    if isinstance(kind, Boolean):
        return bool(value)
    if isinstance(kind, Interval):  # SQLAlchemy writes it into SQLite as a moment after the epoch
        return datetime.fromisoformat(value) - _EPOCH
    # PostgreSQL keeps no zero character; its place is kept.
    return value.replace("\x00", "\ufffd") if isinstance(value, str) else value


def _keys(connection: Connection, table: Table) -> set[tuple[str, ...]]:
    """As texts, since SQLite has fewer types."""
    return {tuple(str(value) for value in row) for row in connection.execute(select(*table.primary_key))}


def _count(connection: Connection, table: Table) -> int:
    return int(connection.scalar(select(func.count()).select_from(table)) or 0)


def main() -> None:
    file, *must_be_empty = sys.argv[1:]
    try:
        counts = copy(file, os.environ["TARGET_URL"], must_be_empty)
    except (Refused, sqlalchemy.exc.SQLAlchemyError) as error:
        sys.exit(f"nothing was copied: {error}")
    if not counts:
        sys.stdout.write("  was copied before\n")
    for name, count in counts.items():
        sys.stdout.write(f"  {name:<32} {count:>8}\n")


if __name__ == "__main__":
    main()
