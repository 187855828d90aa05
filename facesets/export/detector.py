"""The detector that says whether a picture shows exactly one face, opened only when a picture has to be made."""

from collections.abc import Callable
from pathlib import Path

from ..common import terminal
from ..common.errors import SettingsError
from ..formats import cache
from .crop import Detect


def opener(made_with: cache.Model, model: str, models_dir: Path, provider: str = "auto") -> Callable[[], Detect]:
    """What `swap.export` opens: the detector at 640 x 640 of the pack that the cache was made with.

    A pack with a name is known by it; a folder has to be what the setting `model` names. Raises SettingsError else.
    """
    def load() -> Detect:
        from ..embed import analyser, packs  # onnxruntime takes a second, which a run without pictures saves
        known = made_with.name in packs.KNOWN and packs.recogniser_sha256(made_with.name) == made_with.sha256
        if not known and packs.recogniser_sha256(model) != made_with.sha256:
            raise SettingsError(f"the cache was made with {terminal.safe(made_with.name)}, not with {model}; name that "
                                "pack with --model or FACESETS_MODEL")
        return analyser.Analyser(packs.open_pack(made_with.name if known else model, models_dir), provider).detect
    return load
