"""Which addresses passages may be sent to: those of a private network, unless the settings allow others."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv6Address, ip_address, ip_network

from rag_service.errors import GeneratorFailed, RemoteAddress

# Loopback, RFC 1918, and unique local IPv6. Not link-local: no server of models is there, and clouds answer with the
# machine's credentials at 169.254.169.254. Not 100.64.0.0/10: providers share it among their customers.
_PRIVATE = [
    ip_network(one) for one in ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
]
# Clouds' metadata at other addresses: AWS, Google, Alibaba.
_METADATA = frozenset(ip_address(one) for one in ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200"))


def is_private(address: str) -> bool:
    """Whether this is an address of a private network; never one where a cloud's metadata is."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found not in _METADATA and any(found in network for network in _PRIVATE)


async def addresses(host: str, port: int, allow_remote: bool) -> list[str]:
    """All that the host's name resolves to now. Connect to one of these alone, so that the name cannot
    mean another machine a moment later. Raises GeneratorFailed, and RemoteAddress where one of them is not private
    (with `allow_remote`: is link-local, or of a cloud's metadata)."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise GeneratorFailed(f"The name {host} cannot be resolved.", "Check RAG_LLM_BASE_URL.") from error
    known = list(dict.fromkeys(str(address[0]) for *_, address in found))
    for one in known:
        if not is_private(one) and not (allow_remote and _may_be_remote(one)):
            raise RemoteAddress(host, one)
    return known


def _may_be_remote(address: str) -> bool:
    found = ip_address(address.partition("%")[0])
    return found.is_global and not found.is_multicast and found not in _METADATA
