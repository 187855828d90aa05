"""What a route gets and gives: the call of somebody known, its fields as Immich checks them, a reply, or an error as
Immich words it.

A route is a function `(Call) -> Reply`; it raises ApiError for everything that is not well. Of fields 2.x takes texts
for numbers, and says what is wrong in a list of texts; 3.x is strict, and gives the issues of its schema (without their
patterns, here).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from .library_model import Library, User, milliseconds
from .paging import Index
from .replies import dumps

STREAMED = "application/jsonlines+json"     # sent without ETag
UUID = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-4[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}"
Path = str | list[Any]      # of a field
DATE = r"\d{4}-\d\d-\d\d"
MOMENT = DATE + r"T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)"
TYPES = {str: "string", bool: "boolean", int: "number", float: "number", dict: "object", list: "array"}     # else null


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
    return text_reply(dumps(value), status)


def text_reply(text: str, status: int = 200) -> Reply:
    return Reply(status, text.encode("utf-8", "replace"))     # a lone surrogate is no UTF-8


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


class Invalid(ApiError):
    """A field that is not valid; `old` is what 2.x says of it, `issue` what 3.x says."""

    def __init__(self, path: Path, old: str | list[str], message: str, **issue: Any) -> None:
        super().__init__(400, old)
        self.issue = {**issue, "path": [path] if isinstance(path, str) else path, "message": message}


class Fields:
    """The fields of one body or query."""

    def __init__(self, values: Any, version: tuple[int, int, int]) -> None:
        self.values: dict[str, Any] = values if isinstance(values, dict) else {}
        self.strict = version[0] >= 3

        self.get = self.values.get

    def text(self, name: str, old: list[str]) -> str:
        """A text that must be there."""
        value = self.get(name)
        if not isinstance(value, str) or not value:
            raise wrong_type(name, old, "string", value, given=name in self.values)
        return value

    def uuid(self, name: str) -> str:
        return uuid_of(self.get(name), name)

    def one_of(self, name: str, allowed: Sequence[str]) -> Any:
        if self.get(name) is not None and self.get(name) not in allowed:
            raise not_among(name, allowed, name)
        return self.get(name)

    def integer(self, name: str, default: int, largest: int | None) -> int:
        value = self.values.get(name, default)
        if self.strict and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise wrong_type(name, "", "number", value)
        number = float(value) if re.fullmatch(r"-?\d{1,15}(\.\d{1,15})?", str(value)) else 0.5
        if not number.is_integer():
            raise Invalid(name, [f"{name} must be an integer number"], "Invalid input: expected int, received number",
                          expected="int", format="safeint", code="invalid_type")
        if number < 1:
            raise Invalid(name, [f"{name} must not be less than 1"], "Too small: expected number to be >=1",
                          origin="number", code="too_small", minimum=1, inclusive=True)
        if largest is not None and number > largest:
            raise Invalid(name, [f"{name} must not be greater than {largest}"],
                          f"Too big: expected number to be <={largest}",
                          origin="number", code="too_big", maximum=largest, inclusive=True)
        return int(number)

    def boolean(self, name: str) -> bool:
        value = self.values.get(name, False)
        if value not in ((True, False) if self.strict else (True, False, "true", "false", None)):
            raise wrong_type(name, [f"{name} must be a boolean value"], "boolean", value)
        return value in (True, "true")

    def moment(self, name: str) -> int | None:
        value = self.get(name)
        if value is None:
            return None
        try:
            if self.strict and not re.fullmatch(MOMENT, str(value)):
                raise ValueError
            return milliseconds(str(value))
        except ValueError:
            raise Invalid(name, f"{name} must be a date string",
                          f"Invalid input: expected ISO 8601 datetime string, received {type_of(value)}",
                          origin="string", code="invalid_format", format="datetime") from None


def uuid_of(text: object, name: str = "id") -> str:
    if not isinstance(text, str) or not re.fullmatch(UUID, text):
        raise Invalid(name, [f"{name} must be a UUID"], "Invalid UUID", origin="string", code="invalid_format",
                      format="uuid")
    return text.lower()


def wrong_type(path: Path, old: str | list[str], expected: str, value: object, given: bool = True) -> Invalid:
    message = f"Invalid input: expected {expected}, received {type_of(value) if given else 'undefined'}"
    return Invalid(path, old, message, expected=expected, code="invalid_type")


def type_of(value: object) -> str:
    return TYPES.get(type(value), "null")


def not_among(path: Path, allowed: Sequence[str], old: str) -> Invalid:
    options = "|".join(f'"{one}"' for one in allowed)
    return Invalid(path, [f"{old} must be one of the following values: {', '.join(allowed)}"],
                   f"Invalid option: expected one of {options}", code="invalid_value", values=list(allowed))
