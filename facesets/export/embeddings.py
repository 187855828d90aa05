"""Embedding files of swap tools: ReActor's face model and VisoMaster's list. Only for the recogniser they use.

Both feed the inswapper, which takes embeddings of buffalo_l's w600k_r50 (512-d); those of another recogniser would load
and give a wrong face, so they are not written. Both tools average raw embeddings, not unit ones.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from ..common import files
from ..formats import cache

W600K_R50 = "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43"
VISOMASTER = "visomaster_embeddings.json"
UNKNOWN = "landmark_3d_68 landmark_2d_106"
FOLDER_AT_END = re.compile(r"(faceset_\d{3,9})\)?$")


def usable(model: cache.Model) -> bool:
    """Whether swap tools can use embeddings of `model`."""
    return model.sha256 == W600K_R50 and model.dimension == 512


def reactor(path: Path, best: np.void, raw_mean: np.ndarray) -> None:
    """Write ReActor's face model: the mean raw embedding (512,) of a faceset, the rest from its best FACE row.

    The keys that its `load_face_model` gives to insightface's Face, but for gender and age, which we do not know: a
    guess would let some people pass its filter `detect_gender_source` and stop others; without one the filter stops
    all, so it must be "no". Points that we do not know are zero and named in the metadata.
    """
    tensors: dict[str, np.ndarray] = {
        "bbox": np.asarray(best["box"], np.float32),
        "kps": np.asarray(best["landmarks"], np.float32),
        "det_score": np.array(best["det_score"], np.float32),
        "landmark_3d_68": np.zeros((68, 3), np.float32),
        "pose": np.array([best["pitch"], best["yaw"], best["roll"]], np.float32),
        "landmark_2d_106": np.zeros((106, 2), np.float32),
        "embedding": np.asarray(raw_mean, np.float32),
    }
    files.write_bytes(path, save(tensors, {"unknown": UNKNOWN}))    # one key: several come in any order


def visomaster_means(path: Path) -> dict[str, np.ndarray]:
    """Folder of a faceset -> mean raw embedding, of a list that `visomaster` wrote; empty where none can be read."""
    try:
        listed = [(FOLDER_AT_END.search(str(item["name"])), item["embedding_store"]["Inswapper128ArcFace"])
                  for item in json.loads(path.read_bytes())]
        return {found[1]: np.array(mean, np.float32) for found, mean in listed if found}
    except (OSError, KeyError, TypeError, ValueError, RecursionError):
        return {}


def visomaster(path: Path, means: Iterable[tuple[str, np.ndarray]]) -> None:
    """Write VisoMaster's list: a name and the mean raw embedding (512,) of every faceset.

    In ASCII: VisoMaster opens it in whatever encoding its system has, and one accented name would cost the whole list.
    """
    entries: list[dict[str, Any]] = [
        {"name": name, "embedding_store": {"Inswapper128ArcFace": [round(float(value), 6) for value in mean]}}
        for name, mean in means]
    files.write_bytes(path, json.dumps(entries, indent=1).encode("ascii"))
