"""What a route gets and gives: the call of somebody known, a reply, or an error as Immich words it.

A route is a function `(Call) -> Reply`; it raises ApiError for everything that is not well.
"""

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from .library_model import Library, User
from .paging import Index
from .replies import dumps


class ApiError(Exception):
    """An error reply. `message` is a text, or a list of texts where Immich validates fields."""

    def __init__(self, status: int, message: str | list[str], headers: dict[str, str] | None = None,
                 kind: str = "application/json; charset=utf-8") -> None:
        super().__init__(message)
        self.status, self.message, self.headers, self.kind = status, message, headers or {}, kind
        self.issue: dict[str, Any] = {}     # what 3.x says where it validates fields


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    kind: str = "application/json; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)
    id_header: bool = True          # x-immich-cid; replies from outside the API have none


@dataclass
class Call:
    """One request, as routes see it."""

    library: Library
    index: Index
    version: tuple[int, int, int]
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]         # names in lower case
    body: Any                       # parsed JSON, or None
    id: str = ""                    # from the path
    found_user: User | None = None
    permissions: tuple[str, ...] = ()
    session: str = ""               # token of a login, "" for a key

    @property
    def user(self) -> User:
        assert self.found_user is not None
        return self.found_user


def json_reply(value: object, status: int = 200) -> Reply:
    return Reply(status, dumps(value).encode("utf-8", "replace"))     # a lone surrogate is no UTF-8


def error_reply(error: ApiError, version: tuple[int, int, int], correlation: str) -> Reply:
    reason = HTTPStatus(error.status).phrase
    body: dict[str, Any] = {"message": error.message, "error": reason, "statusCode": error.status,
                            "correlationId": correlation}
    if error.status == 500:
        del body["error"]
    if version[0] >= 3:
        body = {"message": "Validation failed", "errors": [error.issue]} if error.issue else {"message": error.message}
    return Reply(error.status, dumps(body).encode(), error.kind, dict(error.headers))


def unreadable(correlation: str, headers: dict[str, str] | None = None) -> Reply:
    """What 2.x says of a file that it cannot read: the file's own type on a JSON body."""
    body = dumps({"message": "Internal server error", "statusCode": 500, "correlationId": correlation}).encode()
    return Reply(500, body, "image/jpeg; charset=utf-8", {"Cache-Control": "none", **(headers or {})})
