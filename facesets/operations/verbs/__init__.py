"""The verbs of sort_faces.py: each a few lines from its command line and settings to an operation and what it tells."""

from . import corrections, faces, facesets, others
from .job import Job
from .table import VERBS, Verb

__all__ = ["VERBS", "Job", "Verb", "corrections", "faces", "facesets", "others"]
