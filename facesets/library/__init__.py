"""The faceset library: folders and manifests, changed all or nothing.

A faceset on disk is four things, one for each reason to look at it (before it is there: formats.proposal.Group, which
clustering proposes, and export.draft.Draft, which the export makes of it):

    library.folder.Record      what is written of it: a line in the library's manifest, the rest in its folder's own
    formats.faceset.Contents   its faces.npz, read whole: faces, which have a picture, the centroid
    formats.faceset.Faceset    the identity that faces are compared with: centroid, name, the rest when asked for
    report.shelf.Set           the one that the report shows: what a page needs, small enough for thousands

A change of the library is one `run.Run`: operations take it, `journal` carries it out, and takes it back.
"""
