"""What this program asks of a server besides GET; everything else is refused before it is sent, here alone.

A client only reads, unless its access says that it may write: then it may name people, and make albums, fill them and
take them away again. Which people and albums, its caller answers for (`facesets.operations.immich_names`).
"""

import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

from ..common.errors import Failure

READING = {"/search/metadata", "/search/random", "/sync/stream", "/auth/login", "/auth/logout"}     # by POST
WRITING = {     # method and path -> the only fields that may be sent
    ("PUT", "/people/ID"): {"name"},
    ("POST", "/albums"): {"albumName", "description"},
    ("DELETE", "/albums/ID"): set(),
    ("PUT", "/albums/ID/assets"): {"ids"},
    ("DELETE", "/albums/ID/assets"): {"ids"},
}
ID = re.compile(r"/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(?=/|$)")


def refuse(method: str, url: str, body: Mapping[str, Any] | None, may_write: bool) -> None:
    """Raise Failure for a request, the first or one that a redirect leads to, that is none of ours."""
    path = urllib.parse.urlsplit(url).path.rpartition("/api/")[2]      # what is behind a # is not sent
    route = method, ID.sub("/ID", "/" + path)
    if method == "GET" or (method == "POST" and route[1] in READING) or (
            may_write and route in WRITING and set(body or ()) <= WRITING[route]):
        return
    raise Failure(f"refused here, never sent: {method} {route[1]}; this program does not write that to a server")
