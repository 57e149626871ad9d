"""The variables of `.env`, read as Compose reads them. (Make would keep the quotes, and cut values at `$` and `#`.)"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

_LINE = re.compile(
    r"^\s*(?:export\s+)?(?P<name>[A-Za-z_]\w*)\s*=\s*"
    r"""(?:'(?P<literal>[^']*)'|"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>.*?))\s*(?:(?<=[\s'"])#.*)?$"""
)
_REFERENCE = re.compile(r"\$(?:(?P<name>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)(?::?-(?P<usual>[^}]*))?\}|\$)")


def with_env_file(environment: Mapping[str, str], root: Path) -> dict[str, str]:
    """The environment over the variables of `root`/.env, if it is there: what is given on the command line wins."""
    path = root / ".env"
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        fields = _LINE.match(line)
        if fields is None or line.lstrip().startswith("#"):
            continue
        text = fields["literal"]
        if text is None:
            quoted = fields["quoted"]
            text = fields["bare"] if quoted is None else re.sub(r'\\(["\\$])', r"\1", quoted)
            text = _REFERENCE.sub(partial(_value, {**found, **environment}), text)
        found[fields["name"]] = text
    return {**found, **environment}


def _value(known: Mapping[str, str], reference: re.Match[str]) -> str:
    name = reference["name"] or reference["braced"]
    return "$" if name is None else known.get(name) or reference["usual"] or ""
