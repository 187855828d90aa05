"""The commands that the page offers to copy: as one would type them, whatever names hold."""

import shlex

SCRIPT = "python sort_faces.py"


def line(*words: str) -> str:
    return " ".join([SCRIPT, *(shlex.quote(word) for word in words)])


def name(folder: str, text: str) -> str:
    return line("name", folder, text)


def merge(keep: str, *others: str) -> str:
    return line("consolidate", keep, *others)


def split(folder: str) -> str:
    return line("split-eras", folder)


def not_this(folder: str, face: str) -> str:
    return line("not-this", folder, face)
