"""How a run can end other than well: one exception a status, one line a message.

Every message says what is wrong and what to do about it; no message holds a key. `terminal.script` turns these into
the exit statuses of DESIGN: 1 failed · 2 paused, run the same command again · 64 usage · 77 not allowed · 78 settings.
"""

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
