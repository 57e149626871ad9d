"""A table or a query of PostgreSQL as one Parquet file:

postgresql://USER@HOST:PORT/DATABASE?table=SCHEMA.TABLE
postgresql://USER@HOST:PORT/DATABASE?query=SELECT ...       the query as it is, to the end of the address

Options of libpq, such as sslmode=verify-full&, go before `table` or `query`. The password is in the file
DATA_PASSWORD_FILE, or where libpq itself looks for it (PGPASSFILE).
"""

import hashlib
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
from psycopg.conninfo import conninfo_to_dict
from pyarrow import csv
from pyarrow.parquet import ParquetWriter

from training.errors import SourceAway, SourceError

CONNECT_SECONDS = 4  # for each address of the host
BLOCK = 4_000_000  # bytes that are read at once; no row may be longer
# PostgreSQL's types by their number (pg_type.h). All others, numeric among them, are the text that the server writes.
TYPES = {
    **{16: pa.bool_(), 21: pa.int64(), 23: pa.int64(), 20: pa.int64(), 700: pa.float32(), 701: pa.float64()},
    **{1082: pa.date32(), 1114: pa.timestamp("us"), 1184: pa.timestamp("us", "UTC")},
}
_FORM = re.compile(r"(?P<server>[^?]*)\?(?:(?P<options>.*?)&)?(?P<what>table|query)=(?P<text>.+)", re.S)
_PASSING = "starting up|shutting down|too many|connection slots"  # of a server that will take the connection later
_HINTS = {
    "28": "Correct the user in the address, or the password in the file that DATA_PASSWORD_FILE names.",
    "3D": "Correct the name of the database in the address.",
    "42501": "Let the user read it: GRANT SELECT ON the table TO the user (and USAGE ON its SCHEMA).",
    "42P01": "Name the table as in table=public.wine, letter for letter, with its schema.",
    "55P03": "Another transaction has locked the table: try again once that has ended.",
    "25006": "The query may read only.",
}


def copy(place: str, shown: str, folder: Path) -> str:
    """Writes the rows that `place` names into `folder`, and returns the digest of their content, whatever their order.

    Raises SourceError, SourceAway.
    """
    form = _FORM.fullmatch(place)
    if form is None:
        hint = "As postgresql://me@db.example.org/shop?table=public.wine (docs/how-to/databases-and-buckets.md)."
        raise SourceError("postgresql://…: expected ?table= or ?query= at the end of the address", hint)
    server, text = _server(form), form["text"].strip()
    rows = f"({text.rstrip('; ')}\n)"  # a comment may end the query
    if form["what"] == "table":
        rows = ".".join('"' + part.replace('"', '""') + '"' for part in text.split("."))
    statement = f"SELECT * FROM {rows} AS given".encode()  # noqa: S608  # what the owner of the address asks for
    written = folder / "rows.csv"
    try:
        with psycopg.connect(**server) as connection:
            connection.read_only = True
            # How values are written; and a table that is locked is reported, not waited for.
            connection.execute("SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO'; SET LOCAL lock_timeout = '3s'")
            columns = connection.execute(statement + b" LIMIT 0").description or ()
            schema = pa.schema([(column.name, TYPES.get(column.type_code, pa.string())) for column in columns])
            digest = _write_rows(connection, statement, schema, written)
    except psycopg.Error as error:
        raise _refusal(error, shown) from None
    _check_names(schema, shown)
    if digest is None:
        raise SourceError(f"{shown}: no rows", "Expected one row per example; is it the right table?")
    name = re.sub(r"[^\w.-]+", "-", text) if form["what"] == "table" else "query"
    try:
        _write_parquet(written, schema, folder / f"{name.lstrip('._')}.parquet")
    except pa.ArrowInvalid as error:
        hint = "Leave such rows out, or write the value another way: ?query=SELECT ... in place of ?table=."
        raise SourceError(f"{shown}: a value that no table can hold: {error}", hint) from None
    written.unlink()
    return digest


def _server(form: "re.Match[str]") -> dict[str, Any]:
    """How to connect. A password in the address would be in logs, process lists and the tracking server."""
    server: dict[str, Any] = {}
    with suppress(psycopg.Error):  # it quotes the address
        server = conninfo_to_dict("?".join(filter(None, (form["server"], form["options"]))))
    if not server or "@" in server.get("dbname", ""):
        hint = "For example postgresql://reader@db.example.org:5432/shop?table=public.wine."
        raise SourceError("postgresql://…: expected user@host:port/database behind it", hint)
    if "password" in server:
        hint = "Write user@host, put the password alone into a file, and name that file in DATA_PASSWORD_FILE."
        raise SourceError(f"postgresql://{server.get('host', '')}: found a password in the address", hint)
    if file := os.environ.get("DATA_PASSWORD_FILE"):
        try:
            server["password"] = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            hint = "Expected a file that holds the password of the database alone."
            raise SourceError(f"DATA_PASSWORD_FILE: {file} cannot be read ({error})", hint) from None
    usual = {"connect_timeout": CONNECT_SECONDS, "client_encoding": "utf8", "application_name": "training"}
    return usual | {name: value for name, value in server.items() if value}


def _write_rows(connection: "psycopg.Connection[Any]", statement: bytes, schema: pa.Schema, file: Path) -> str | None:
    """Writes the rows as CSV; returns the digest of names, types and rows, or None where there is no row.

    The server sends rows in any order and one at a time: their hashes are added up.
    """
    total = count = 0
    command = b"COPY (" + statement + b") TO STDOUT (FORMAT csv)"
    with file.open("wb") as rows, connection.cursor() as cursor, cursor.copy(command) as copied:
        for row in copied:
            rows.write(row)
            total += int.from_bytes(hashlib.sha256(row).digest(), "big")
            count += 1
    content = json.dumps([[(field.name, str(field.type)) for field in schema], count, total % 2**256])
    return hashlib.sha256(content.encode()).hexdigest() if count else None


def _write_parquet(rows: Path, schema: pa.Schema, file: Path) -> None:
    converted = csv.ConvertOptions(
        column_types=schema,
        null_values=[""],  # as COPY writes NULL; an empty text is in quotes
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        true_values=["t"],
        false_values=["f"],
    )
    read = csv.ReadOptions(column_names=schema.names, block_size=BLOCK)
    parsed = csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)
    with csv.open_csv(rows, read, parsed, converted) as batches, ParquetWriter(file, schema) as writer:
        for batch in batches:
            writer.write_table(pa.Table.from_batches([batch]))  # write_batch would gather a million rows


def _check_names(schema: pa.Schema, shown: str) -> None:
    names = [name.casefold() for name in schema.names]  # as Spark looks a name up
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SourceError(
            f"{shown}: column '{twice[0]}' appears {names.count(twice[0])} times, capitals or not",
            "Give each column a name of its own: SELECT a.id AS customer, b.id AS sale.",
        )


def _refusal(error: psycopg.Error, shown: str) -> SourceError | SourceAway:
    """What the server, or the way to it, said."""
    if error.sqlstate is None:  # of a connection: psycopg has its text alone
        fatal = re.search(r"FATAL:\s+(.*)", str(error))
        if fatal is None or re.search(_PASSING, fatal[1]):
            return SourceAway(shown, fatal[1] if fatal else " ".join(str(error).split())[:300])
        return SourceError(f"{shown}: {fatal[1]}", _HINTS["3D" if "database" in fatal[1] else "28"])
    if error.sqlstate[:2] in ("08", "57", "53"):  # the connection was lost, the server ended it or has no room
        return SourceAway(shown, str(error.diag.message_primary or error).strip())
    hint = _HINTS.get(error.sqlstate, "Correct the table or the query in the address; try it in psql.")
    return SourceError(f"{shown}: {error.diag.message_primary}", hint)
