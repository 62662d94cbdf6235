"""The tree of errors of the gateway: one sentence each, saying what is wrong, where, and what to do.

OutstationError        exit 2
├── SettingsError      a file of the site folder is wrong (file, line, key)
├── Refused            an input is kept aside: its name, the field, the reason
│   └── Unknown        it is about a record that is not there
├── PlaybookGap        a pack says a label that no play covers
├── JournalError       the journal cannot be opened, read or written
│   └── NoRoom         nothing more is accepted until there is room again
├── Conflict           a request comes too late or does not fit the state of its record
└── MissingPart        exit 3: a pack, a program or a broker that is needed is not there
"""


class OutstationError(Exception):
    """Base of what a user is shown; `str(error)` is one sentence, `exit_code` what the command ends with."""

    exit_code = 2


class SettingsError(OutstationError):
    """A file of the site folder is wrong; the sentence names file, line and key."""


class Refused(OutstationError):
    """An input was not accepted; the sentence names the input and the field."""


class Unknown(Refused):
    """An input is about a record that is not there."""


class PlaybookGap(OutstationError):
    """A pack in use says a label that no play of the playbook covers."""


class JournalError(OutstationError):
    """The journal cannot be opened, read or written."""


class NoRoom(JournalError):
    """Nothing more is accepted from outside until there is room again; it goes on by itself."""


class Conflict(OutstationError):
    """A request does not fit the state its record is in."""


class MissingPart(OutstationError):
    """Something the command needs is not installed or not running."""

    exit_code = 3
