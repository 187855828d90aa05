"""Bytes once: what the server's checksum tells about equal files.

Immich's `checksum` is the SHA-1 of an uploaded file, but of "path:" + its path for a file in an external library. Equal
content checksums are equal files, which is known before the download. Of the others nothing but all of their bytes
tells (two files can be equal at both ends and differ between, as a copy does that rotted on its disk), so they are
downloaded, and their SHA-256 decides.
"""

import base64
import hashlib


def is_content_checksum(checksum: str, path: str, library: object) -> bool:
    """Is `checksum` (base64) that of the bytes, as for every upload? An external library's is that of the path."""
    if not checksum or checksum == path_checksum(path):
        return False
    return not library


def path_checksum(path: str) -> str:
    return base64.b64encode(hashlib.sha1(f"path:{path}".encode("utf-8", "surrogatepass")).digest()).decode()
