"""Which servers are asked: names, addresses, and that they are on this machine."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        name: what results call it; letters, digits, points, dashes and underscores.
        url: its root, such as http://127.0.0.1:8000, without /v1 and without a slash at the end.
    """

    name: str
    url: str


def parse_servers(texts: list[str], remote: bool = False) -> list[Server]:
    """Servers written `NAME=URL`, or `URL` alone, which is named by its host and port.

    Args:
        texts: them; `/v1` at the end of an address is passed over.
        remote: hosts other than this machine are allowed too.

    Raises:
        ValueError: one that cannot be read, a name given twice, or a host that is not this machine.
    """
    servers = [_parse(text, remote) for text in texts]
    names = [server.name for server in servers]
    if not servers or len({*names}) < len(names):
        raise ValueError(f"give at least one server, each with a name of its own, got {', '.join(names) or 'none'}")
    return servers


def _parse(text: str, remote: bool) -> Server:
    found = re.fullmatch(r"(?:([\w.-]+)=)?(https?://[^?#]+)", text)
    address = urlsplit(found[2]) if found else None
    if found is None or address is None or not address.hostname:
        raise ValueError(f"cannot read the server {text!r}: write NAME=http://127.0.0.1:8000")
    if not remote and not is_loopback(address.hostname):
        raise ValueError(f"{address.hostname} is not this machine: to send a load to another one, give --remote")
    url = found[2].rstrip("/").removesuffix("/v1")
    return Server(found[1] or re.sub(r"[^\w.-]+", "-", address.netloc).strip("-"), url)


def is_loopback(host: str) -> bool:
    """Whether a host's name or number is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
