"""The README's commands, so that tests can run what it says."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stack.errors import StepFailed
from stack.ports import PORTS
from stack.settings import Settings

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(path: Path) -> list[tuple[str, str]]:
    """Language and content of every fenced block, in order."""
    return [(match[1], match[2]) for match in _BLOCK.finditer(path.read_text(encoding="utf-8"))]


def commands(path: Path) -> list[str]:
    """Every shell command of the file; one that goes over several lines is one."""
    shell = [content for language, content in blocks(path) if language == "sh"]
    return [command.strip() for content in shell for command in re.split(r"\n(?=\w)", content) if command.strip()]


def calls(path: Path) -> Iterator[tuple[str, Any]]:
    """Each `curl` with the JSON block that follows its block, None where none does."""
    found = blocks(path)
    for (language, content), (next_language, next_content) in zip(found, [*found[1:], ("", "")], strict=True):
        if language != "sh":
            continue
        curls = [one for one in re.split(r"\n(?=\w)", content.strip()) if one.startswith("curl ")]
        for command in curls:
            last = command is curls[-1] and next_language == "json"
            yield command, json.loads(next_content) if last else None


def run(command: str, shown: Any, settings: Settings) -> str:
    """Runs one `curl` on the ports of `settings`; gives the answer. Raises StepFailed unless it is like `shown`."""
    for name, port in PORTS.items():
        command = command.replace(f":{port}/", f":{settings.ports[name]}/")
    done = subprocess.run(["bash", "-c", command], cwd=settings.root, capture_output=True, text=True, check=False)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise StepFailed(f"{command}: expected JSON, found: {done.stdout[:300]} {done.stderr[:300]}", "") from None
    if isinstance(answer.get("status"), int):
        raise StepFailed(f"{command}: {answer.get('title')}: {answer.get('detail')}", str(answer.get("hint", "")))
    if shown is not None and set(shown) != set(answer):
        raise StepFailed(f"{command}: the README shows {sorted(shown)}, the answer has {sorted(answer)}", "")
    return json.dumps(answer)[:200]
