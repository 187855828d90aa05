"""Make contracts.json: which routes and fields Immich 3.2.2 and 3.3.5 take of those that we send.

Reads   the npm package @immich/sdk 3.2.2 (made from that server's OpenAPI document; AGPL-3.0, so only names and types
        of fields are taken, as facts, and nothing of it is kept) and the PyPI package immichpy 9.2.4 (MIT; made from
        that of 3.3.5), both unpacked: `npm pack @immich/sdk@3.2.2`, `pip download --no-deps immichpy==9.2.4`
Writes  contracts.json beside this file: version -> name of a body -> JSON Schema, and "routes" -> "GET /faces" -> names
        of its query
Run     python tests/fake_immich/contracts.py package/build/fetch-client.d.ts immichpy/client/generated/models
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BODIES = ("MetadataSearchDto", "RandomSearchDto", "SyncStreamDto", "LoginCredentialDto", "PersonUpdateDto",
          "CreateAlbumDto", "BulkIdsDto")
ROUTES = {"GET /server/ping", "GET /server/version", "GET /api-keys/me", "GET /users/me", "POST /auth/login",
          "POST /auth/logout", "POST /search/metadata", "POST /search/random", "POST /sync/stream",
          "GET /assets/statistics", "GET /timeline/buckets", "GET /timeline/bucket", "GET /faces",
          "GET /assets/{id}/original", "GET /assets/{id}/thumbnail", "GET /people/{id}", "GET /people/{id}/thumbnail",
          "PUT /people/{id}", "GET /albums", "POST /albums", "DELETE /albums/{id}", "PUT /albums/{id}/assets",
          "DELETE /albums/{id}/assets", "GET /admin/database-backups", "GET /admin/database-backups/{filename}"}
PLAIN = {"string": "string", "StrictStr": "string", "str": "string", "datetime": "string", "date": "string",
         "UUID": "string",
         "boolean": "boolean", "StrictBool": "boolean", "number": "number", "int": "number", "StrictFloat": "number",
         "SearchFilterBranch": "object"}        # as a filter, in another; never sent
Fields = Iterator[tuple[str, str]]      # name, type
Routes = Iterator[tuple[str, list[str]]]    # method and path, names of the query


class TypeScript:
    def __init__(self, path: Path) -> None:
        self.path, self.text = path, path.read_text(encoding="utf-8")

    def fields(self, name: str) -> Fields:
        found = re.search(rf"^export type {name} = \{{\n(.*?)^\}};", self.text, re.M | re.S)
        for line in re.findall(r'^    "?(\w+)"?\??: (.+);$', found[1] if found else "", re.M):
            yield line[0], line[1].removesuffix(" | null")

    def values(self, name: str) -> list[str]:
        found = re.search(rf"^export declare enum {name} \{{\n(.*?)^\}}", self.text, re.M | re.S)
        return re.findall(r'= "(.+?)"', found[1] if found else "")

    def routes(self) -> Routes:
        text = self.path.with_suffix("").with_suffix(".js").read_text(encoding="utf-8")
        for call in re.findall(r"oazapfts\.fetch\w+\((.*?)^}", text, re.M | re.S):
            address, _, rest = call.partition("${QS.query(QS.explode({")
            path = re.sub(r"\$\{encodeURIComponent\((\w+)\)\}", r"{\1}", re.findall(r"/[^`\"]*", address)[0])
            method = re.findall(r'method: "(\w+)"', call) or ["GET"]
            yield f"{method[0]} {path}", re.findall(r'^\s+"?(\w+)', rest.partition("}")[0], re.M)


class Pydantic:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fields(self, name: str) -> Fields:
        text = self._text(name)
        properties = re.findall(r'"(\w+)"', (re.search(r"__properties.*?= \[(.*?)\]", text, re.S) or ["", ""])[1])
        around = r"(?:Optional|Annotated|List|Union)\[\s*"
        annotations = re.findall(rf"^    (?!model_config)[a-z]\w*: ((?:{around})*)(\w+)", text, re.M)
        for json_name, (before, kind) in zip(properties, annotations, strict=True):
            yield json_name, kind + ("[]" if "List" in before else "")

    def values(self, name: str) -> list[str]:
        return re.findall(r'^    [A-Z0-9_]+ = "(.+?)"', self._text(name), re.M)

    def routes(self) -> Routes:
        for path in self.folder.with_name("api").glob("*_api.py"):
            text = path.read_text(encoding="utf-8")
            for call in re.findall(r"_serialize\(\n        self,(.*?)_host=_host", text, re.S):
                method, where = (re.findall(rf'{name}="(.*?)"', call)[0] for name in ("method", "resource_path"))
                yield f"{method} {where}", re.findall(r'_query_params\.append\(\s*\(\s*"(\w+)"', call)

    def _text(self, name: str) -> str:
        snake = re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
        return (self.folder / f"{snake}.py").read_text(encoding="utf-8")


def schema(source: TypeScript | Pydantic, kind: str) -> dict[str, Any]:
    """What a field of this type may hold; of objects only fields that are known."""
    if kind.endswith("[]"):
        return {"type": "array", "items": schema(source, kind.removesuffix("[]"))}
    if kind in PLAIN:
        return {"type": PLAIN[kind]}
    if values := source.values(kind):
        return {"enum": values}
    fields = {name: schema(source, type_) for name, type_ in source.fields(kind)}
    assert fields, f"{kind} is not described"
    return {"type": "object", "properties": fields, "additionalProperties": False}


def main(sdk: str, immichpy: str) -> None:
    contracts: dict[str, dict[str, Any]] = {}
    for version, source in (("3.2.2", TypeScript(Path(sdk))), ("3.3.5", Pydantic(Path(immichpy)))):
        routes = {route: sorted(query) for route, query in source.routes() if route in ROUTES}
        contracts[version] = {**{name: schema(source, name) for name in BODIES}, "routes": routes}
    text = json.dumps(contracts, separators=(",", ":"), sort_keys=True).replace('{"additional', '\n{"additional')
    Path(__file__).with_name("contracts.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
