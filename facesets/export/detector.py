"""The detector that says whether a picture shows exactly one face, opened only when a picture has to be made."""

from collections.abc import Callable
from pathlib import Path

from .crop import Detect


def opener(model: str, models_dir: Path, provider: str = "auto") -> Callable[[], Detect]:
    """What `swap.export` opens: the detector of the pack `model` (a name or a folder), at 640 x 640."""
    def load() -> Detect:
        from ..embed import analyser, packs  # onnxruntime takes a second, which a run without pictures saves
        return analyser.Analyser(packs.open_pack(model, models_dir), provider).detect
    return load
