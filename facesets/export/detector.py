"""Everything that looks at a picture before it is exported, opened only when a picture has to be made."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from ..common import terminal
from ..common.errors import SettingsError
from ..formats import cache
from .looks import HINT, Found, Looks

SIDES = (320, 512)      # besides 640: roop's small setting, and FaceFusion, which looks at a picture as large as it is


def opener(made_with: cache.Model, model: str, models_dir: Path, provider: str = "auto") -> Callable[[], Looks]:
    """What `swap.export` opens: the pack that the cache was made with, at every size, and OpenCV's YuNet.

    A pack with a name is known by it; a folder has to be what the setting `model` names. Raises SettingsError else.
    """
    def load() -> Looks:
        from ..embed import analyser, detect, graph, packs, providers  # onnxruntime takes a second, often saved
        known = made_with.name in packs.KNOWN and packs.recogniser_sha256(made_with.name) == made_with.sha256
        if not known and packs.recogniser_sha256(model) != made_with.sha256:
            raise SettingsError(f"the cache was made with {terminal.safe(made_with.name)}, not with {model}; name that "
                                "pack with --model or FACESETS_MODEL")
        pack = analyser.Analyser(packs.open_pack(made_with.name if known else model, models_dir), provider)
        yunet = packs.open_pack("opencv_zoo", models_dir).detector.path
        session, kind = providers.Session(graph.read(yunet, for_cpu=True), "cpu"), detect.Yunet()
        pack.kind.threshold = kind.threshold = HINT

        def own_scale(pixels: np.ndarray) -> Found:
            """As OpenCV's FaceDetectorYN finds faces, in half the time."""
            place = detect.frame(pixels, max(detect.SIDE / max(pixels.shape) - 1, 0) / 2)
            return detect.in_photo(kind.faces(session.run(kind.blob(place.square))), place, kind.overlap)
        return Looks((own_scale, pack.detect), pack.embed, [partial(pack.detect, side=side) for side in SIDES])
    return load
