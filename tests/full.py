"""A disk that is full: no file of this process may grow beyond so many bytes."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def disk(most: int) -> Iterator[None]:
    """Here; a module first imported meanwhile is not compiled into half a file, which every process would read."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        sys.dont_write_bytecode = before
