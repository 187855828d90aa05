"""How a run can end other than well: one exception a status, one line a message.

Every message says what is wrong and what to do about it; no message holds a key. `terminal.script` turns these into
exit statuses: 1 failed · 2 paused, run the same command again · 64 usage · 77 not allowed · 78 settings.
"""

import errno

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)    # no room: on the disk, in the quota, on a FAT for more than 4 GB
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
DISK = (*FULL, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR,
        errno.EEXIST, errno.ELOOP, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.EMFILE,
        errno.ENAMETOOLONG, errno.EBUSY, errno.EHOSTDOWN, errno.ETIMEDOUT)     # what a disk or a share does: no bug

OK, FAILED, PAUSED, USAGE, NOT_ALLOWED, BAD_SETTINGS = 0, 1, 2, 64, 77, 78


class Failure(Exception):
    """Unreadable input, or anything that the same command would hit again."""

    status = FAILED


class Paused(Failure):
    """Everything is saved; the same command goes on."""

    status = PAUSED


class AlreadyDone(Failure):
    """The command was cut short and has been carried to its end since: there is nothing left to do."""

    status = OK


class UsageError(Failure):
    """The command line does not make sense."""

    status = USAGE


class NotAllowed(Failure):
    """The server refuses the key, or the key is not the one for this label."""

    status = NOT_ALLOWED


class SettingsError(Failure):
    """A setting is missing or makes no sense."""

    status = BAD_SETTINGS


def of_disk(error: OSError, place: object = "") -> Failure:
    """What a disk did, in words: Paused where there is no room left. `place` where the error names no file."""
    place = error.filename or place
    if error.errno in FULL:
        return Paused(f"{place}{': ' if place else ''}the disk is full; make room, then run the same command again")
    return Failure(f"{place or 'the disk'}: {error.strerror or error}; mend that, then run the same command again")


def of_lock(error: OSError, place: object) -> Failure:
    """Why the lock file `place` could not be locked, in words."""
    if error.errno in NO_LOCKS:
        return SettingsError(f"{place}: this file system keeps no locks, as some network shares do not; set "
                             "FACESETS_DATA_ROOT to a folder on a local disk")
    return of_disk(error, place)
