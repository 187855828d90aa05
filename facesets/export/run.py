"""A run of the library, and at its end what the tools read of the whole library.

    with changing(library, "extend") as run:     (see facesets.library.run)
"""

import functools

from ..formats import cache
from ..formats.faceset import FACES, read_faces
from ..library import run as runs
from ..library.run import Run
from . import embeddings


def _visomaster(run: Run) -> None:
    """Write the list of all facesets again, reading only those that the run touched."""
    model = run.manifest.model
    if not run.changes_files or not model or not embeddings.usable(cache.Model(**model)):
        return
    known = embeddings.visomaster_means(run.current(embeddings.VISOMASTER))
    means = []
    for entry in run.manifest.facesets:
        if entry.folder in run.facesets or entry.folder not in known:
            place = run.current(f"{entry.folder}/{FACES}")
            if not place.exists():
                continue
            contents = read_faces(place)
            known[entry.folder] = contents.faces.raw[contents.rank > 0].mean(axis=0)
        name = entry.name or entry.proposed_name
        means.append((f"{name} ({entry.folder})" if name else entry.folder, known[entry.folder]))
    embeddings.visomaster(run.write(embeddings.VISOMASTER), means)


changing = functools.partial(runs.changing, last=_visomaster)
