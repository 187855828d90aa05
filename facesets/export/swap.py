"""export-swap: carry out a proposal, all of it or nothing.

`cluster_immich.py` and `sort_faces.py` call it so:

    embedding = config.load(config.Embedding, args)
    opener = looks.opener(model, embedding.model, embedding.models_dir, embedding.provider)
    summary = swap.export(Library(paths.library), proposal, [cache.read(path), ...],
                          swap.Options(opener, **asdict(config.load(config.Exporting, args))), min_faces=6)
"""

import hashlib
from collections.abc import Callable, Collection, Sequence

from ..common import terminal
from ..common.errors import Failure
from ..formats import cache
from ..formats.faceset import Faceset
from ..formats.proposal import Group, Proposal
from ..library.folder import Record
from ..library.members import Index, without_twins
from ..library.store import ASIDE, CANONICAL, Library
from . import draft as drafts
from . import embeddings
from .crop import NEVER
from .draft import Draft, Options
from .run import Run, changing

__all__ = ["Options", "export", "finish"]


def export(library: Library, proposal: Proposal, caches: Sequence[cache.Cache], options: Options, *,
           min_faces: int = 6, dry_run: bool = False, ready: Callable[[Run], object] = lambda run: None) -> Run:
    """`carry_out` as one change of `library`; `ready` is called once all is made, before the library changes."""
    with changing(library, "export-swap", proposal.run, dry_run) as run:
        carry_out(run, proposal, caches, options, min_faces)
        ready(run)
    return run


def carry_out(run: Run, proposal: Proposal, caches: Sequence[cache.Cache], options: Options,
              min_faces: int = 6, free: Collection[str] = ()) -> None:
    """Make a faceset of every group of `proposal.facesets`, a candidate in _thin/ of every one of `thin`, and append
    `extend` to the facesets that it names; what exists stays as it is.

    caches         hold the faces that the proposal names by key; photos are read from the paths in them
    min_faces      fewer pictures than this, and the faceset goes to _masked/ (if faces could not be shown alone) or is
                   left for a later run (if too few were chosen)
    free           faces that this run took out of the folders that hold them
    A group whose faces some folder of the library holds already adds nothing, so the same proposal twice adds nothing.
    Raises Failure if a cache is of another recogniser than the library or lacks a face; then nothing has changed.
    """
    if not caches:
        raise Failure("no cache to take the faces from; run embed_worker.py first")
    index, model = Index(caches), caches[0].model
    run.use_model(model)
    settled = {key: folder for key, folder in run.library.settled().items() if key not in free}
    since = _since(run, proposal)
    drafted = [_new_draft(run, group, index, settled, since, proposal, options, min_faces)
               for group in proposal.facesets]
    drafted += [_thin_draft(run, group, index, settled, proposal, options) for group in proposal.thin]
    drafted += [_grown_draft(run, folder, [face.face for face in faces], index, settled, options)
                for folder, faces in sorted(proposal.extend.items())]
    made = [draft for draft in drafted if draft]
    finish(run, made, options, min_faces, index)
    if made and not embeddings.usable(model):
        run.notes.append(f"{model.name}: ReActor and VisoMaster files are not written, those tools need "
                                 "embeddings of buffalo_l (w600k_r50)")


def finish(run: Run, made: Sequence[Draft], options: Options, min_faces: int = 1,
           index: Index | None = None) -> None:
    """Make the pictures of all drafts, as `draft.picture` does, and put their folders into the run."""
    if run.dry_run:
        for draft in made:
            run.touch(draft.record.folder)
            run.count("pictures_at_most", sum(draft.keys[row] not in draft.have for row in draft.selection.order))
            if draft.anew:
                run.count("pictures_made_anew", len(draft.anew))
        return
    drafts.picture(run, made, options, index)
    for draft in made:
        run.notes += draft.notes
        _place(run, draft, options, min_faces)


def _place(run: Run, draft: Draft, options: Options, min_faces: int) -> None:
    """Assemble one folder where it belongs: with the others, or aside."""
    folder, where, grown = draft.record.folder, "facesets", bool(draft.record.files)
    if folder.startswith("_thin/"):
        where = "thin_eras"
    elif not CANONICAL.fullmatch(folder):
        where = "eras"
    elif not grown and len(draft.pictured) < min_faces:
        unread = sum(reason not in NEVER for reason in draft.failed.values())
        if len(draft.pictured) + unread >= min_faces:
            run.count("left_for_later")
            run.notes.append(f"1 more would be a faceset if {unread} photos of it could be read; it waits")
            run.waiting += draft.keys
            return
        where, draft.record.folder = "masked", f"_masked/{folder}"
        draft.record.reason = (f"{len(draft.pictured)} of {len(draft.selection.order)} faces can be shown alone, each "
                               f"moment once, {min_faces} are needed")
    if not draft.pictured:
        run.count("without_pictures")
        run.notes.append(f"{folder}: no face of it can be shown alone; " +
                                 ("it stays as it is" if grown else "there is no such folder"))
        return
    record = drafts.assemble(run, draft, options)
    run.enter(record, where)
    run.count({"facesets": "changed" if grown else "new", "eras": "eras", "masked": "masked",
                       "thin_eras": "thin"}[where])
    more = len(record.faces) - len(draft.have.keys() - (draft.made - draft.anew))
    run.count("pictures" if more >= 0 else "pictures_removed", abs(more))
    if anew := draft.made & draft.anew:
        run.count("pictures_made_anew", len(anew))


def _since(run: Run, proposal: Proposal) -> list[Faceset]:
    """Facesets that came after the proposal was made, so that it does not know them."""
    manifest = run.manifest
    runs = {item["run"] for item in manifest.runs if str(item.get("at", "")) > proposal.created} - {proposal.run}
    later = {entry.folder for entry in manifest.entries if entry.run in runs}
    return [item for item in run.library.everybody() if item.folder in later]


def _come_since(members: cache.Cache, since: Sequence[Faceset]) -> str:
    """The folder of a later faceset that most of the faces are known as; "" for none."""
    for item in since:
        near = 1 - members.embeddings @ item.centroid <= members.model.known_distance
        if 2 * int(near.sum()) > len(near):
            return item.folder
    return ""


def _new_draft(run: Run, group: Group, index: Index, settled: dict[str, str], since: Sequence[Faceset],
               proposal: Proposal, options: Options, min_faces: int) -> Draft | None:
    keys = [face.face for face in group.faces if face.face not in settled]
    if not keys:
        run.count("already_there")
        return None
    members = index.pick(keys)
    if folder := _come_since(members, since):
        run.count("left_for_later")
        run.notes.append(f"{len(keys)} faces are of {folder}, which came after the proposal was made: cluster "
                                 "again, then sort_faces.py extend")
        return None
    record = _record(run, group, proposal, "")
    draft = drafts.plan(run, record, members, options)
    if len(draft.selection.order) < min_faces:
        run.count("left_for_later")
        run.notes.append(f"1 more would be a faceset: {len(draft.selection.order)} of its {len(keys)} faces show a "
                         f"moment of their own, {min_faces} are needed; it waits")
        return None
    record.number = run.new_number()
    record.folder = f"faceset_{record.number:03d}"
    settled.update(dict.fromkeys(keys, record.folder))
    return draft


def _record(run: Run, group: Group, proposal: Proposal, folder: str) -> Record:
    name = terminal.name(group.proposed_name)
    return Record(folder, name=name if group.folder else "", proposed_name=name, names=dict(group.names),
                  run=run.id, created=proposal.created, made_by=proposal.made_by, reason=group.reason)


def _thin_draft(run: Run, group: Group, index: Index, settled: dict[str, str], proposal: Proposal,
                options: Options) -> Draft | None:
    """A candidate: the same group has the same folder, so it is there once however often it is proposed."""
    keys = [face.face for face in group.faces if face.face not in settled]
    digest = hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()[:12]
    record = _record(run, group, proposal, f"_thin/thin_{digest}")
    if not keys or run.exists(record.folder):
        return None
    return drafts.plan(run, record, index.pick(keys), options)


def _grown_draft(run: Run, folder: str, keys: Sequence[str], index: Index, settled: dict[str, str],
                 options: Options) -> Draft | None:
    """A faceset with the faces that are newly known; None where it has all of them, or was dropped."""
    if folder.startswith(f"{ASIDE['dropped']}/"):
        run.count("of_dropped_people", len(keys))
        return None
    if not run.manifest.entry(folder) or not run.exists(f"{folder}/manifest.json"):
        run.notes.append(f"{terminal.safe(folder)} is not in the library any more; its new faces wait")
        return None
    record, contents = drafts.existing(run, folder)
    refused = set(run.manifest.not_this.get(folder, ()))
    fresh = [key for key in keys if key not in settled and key not in refused]
    if not fresh:
        return None
    settled.update(dict.fromkeys(fresh, folder))
    run.count("known_faces", len(fresh))
    return drafts.plan(run, record, without_twins(contents.faces, index.pick(fresh)), options)
