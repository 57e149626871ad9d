"""`make keys`: every key of pipeline.yaml, its default and its meaning, from the schema that the job checks it by."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from stack.settings import Settings, read_settings

Schema = dict[str, Any]


def keys(schema: Schema, whole: Schema | None = None, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Name, default and meaning of each key of a JSON schema, those of its sections after them, dotted."""
    whole = whole or schema
    for name, found in schema["properties"].items():
        if "$ref" in found:
            section = whole["$defs"][found["$ref"].rpartition("/")[2]]
            yield f"{prefix}{name}", "", section.get("description", "")
            yield from keys(section, whole, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", default(schema, name, found), meaning(found)


def default(schema: Schema, name: str, found: Schema) -> str:
    """As it would be written in the file."""
    if name in schema.get("required", ()):
        return "(required)"
    value = found.get("default")
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value).replace('"', "")


def meaning(found: Schema) -> str:
    """The description, and which values there are."""
    choices = found.get("enum") or found.get("items", {}).get("enum") or ()
    said = [found.get("description", ""), f"of: {', '.join(choices)}" if choices else ""]
    return "; ".join(text for text in said if text)


def read_schema(settings: Settings) -> Schema:
    """What `scripts/pipeline.py --schema` prints."""
    command = [settings.python("training"), "scripts/pipeline.py", "--schema"]
    printed = subprocess.run(command, cwd=settings.root, check=True, stdout=subprocess.PIPE).stdout
    schema: Schema = json.loads(printed)
    return schema


def main() -> int:
    """Prints the table; 0."""
    table = Table("key", "default", "meaning", box=None, pad_edge=False)
    for name, value, said in keys(read_schema(read_settings())):
        table.add_row(name, value, said, style="bold" if "." not in name else None)
    Console(highlight=False, markup=False).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
