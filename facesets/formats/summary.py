"""summary.json: the figures of the last stage run of a user, and under `who_is_there` the people of its backup."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SCHEMA = 1
# Outcome of an asset (stage.state) -> what the summary counts it as, how it is called, the CSS class of its share.
OUTCOMES = {
    "have": ("staged_count", "staged", "use"), "known": ("deduped_against_existing", "known from elsewhere", "known"),
    "small": ("skipped_no_big_face", "no face big enough", "rest"), "none": ("skipped_no_faces", "no face", "rest"),
    "later": ("not_needed_yet", "not needed yet", "rest"), "excluded": ("skipped_excluded", "excluded path", "rest"),
    "foreign": ("skipped_foreign_owner", "somebody else's", "rest"),
    "error": ("skipped_download_error", "left for the next run", "bad"),
    "rejected": ("skipped_download_error", "refused", "bad"),
    "ask": ("pending", "faces not known yet", "todo"), "wanted": ("pending", "to be downloaded", "todo")}
TWINS = "the same bytes as a staged one"
SHOWN = 40          # people whom a backup knows, on the screen and in the report; summary.json has all


@dataclass(frozen=True)
class Person:
    """Somebody who is there, as a backup of Immich's database says."""

    faceset: str                # "" for nobody that we have
    name: str                   # the faceset's, or what Immich calls most of the faces
    faces: int
    years: tuple[str, ...]      # first and last, one if they are the same
    fetched: int                # photos that are, or were
    photos: int                 # all that show them
    immich: str = ""            # the id of Immich's person that most of the faces are
    picture: str = ""           # Immich's of that person: a JPEG in base64
    seldom: bool = False        # too few good faces for a faceset
    witnesses: tuple[str, ...] = ()     # face keys, an asset's id for the SHA-256, of some photos that are fetched:
                                        # by them one finds the faceset of somebody new

    @property
    def who(self) -> str:
        return self.faceset or ("seldom" if self.seldom else "new")


def took(values: Mapping[str, Any]) -> list[str]:
    """What a stage run asked for and received, and whether its list is whole, a sentence each."""
    asked, before = values["requests"], values["requests_before_downloads"]
    received, saved = (values[name] / 1e6 for name in ("bytes_downloaded", "bytes_saved"))
    return [f"{asked:,} requests, {before:,} of them before the first download; {received:,.1f} MB received, "
            f"{saved:,.1f} MB of equal files not",
            "the server counts what it listed" if values["gate_held"] is True else
            "what the server counts is not what it listed: stage.log names the difference"]
