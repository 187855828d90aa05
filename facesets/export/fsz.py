"""`.fsz` for roop-unleashed: a flat zip of pictures, stored, and a manifest.json beside them.

As ui/tabs/faceswap_tab.py reads it (`util.unzip` into a folder, then every file that ends with ".png"): every face of
every PNG joins the average, so each has exactly one; a subfolder would break the next load, whose clean-up calls
`os.remove` on everything; other files are ignored. Eight pictures at most is what its maker advises, hence _top8.
"""

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..common import files

STAMP = (1980, 1, 1, 0, 0, 0)       # the same pictures give the same bytes


def write(path: Path, faceset: str, faces: Sequence[Mapping[str, Any]]) -> None:
    """Write the pictures of `faces`, entries of the manifest of `faceset`, best first, which lie beside `path`."""
    manifest = {"faceset": faceset, "faces": [{"file": face["file"], "quality": face["quality"]} for face in faces]}
    with files.replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for face in faces:
            archive.writestr(_member(face["file"]), (path.parent / face["file"]).read_bytes())
        text = json.dumps(manifest, ensure_ascii=False, indent=1) + "\n"
        archive.writestr(_member("manifest.json"), text.encode("utf-8", "surrogatepass"))


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, STAMP)
    member.external_attr = files.FILE_MODE << 16
    return member
