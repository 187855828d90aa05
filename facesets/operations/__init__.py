"""The operations of sort_faces.py on sets of faces: each a function of plain values.

Those that change the library take a `Run` (facesets.library.run) and can be several in one; the others return what they
found. Nothing here prints, asks or reads settings.
"""
