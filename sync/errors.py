"""The tree of errors of the link: one sentence each, saying what is wrong, where, and what to do.

SyncError              exit 2
├── EnvelopeInvalid    an envelope does not decode, is too large, or its signature does not hold
├── DictionaryUnknown  an envelope is sound, but compressed with a dictionary that is not here
├── MessageInvalid     a message or a topic is not one of the link's, or its signature does not hold
├── LinkSettingsError  the link's settings, keys or databases are wrong
├── ReplicaUnusable    exit 1: there is no replica, it does not answer, or it is damaged
└── LinkPartMissing    exit 3: a broker or a key that is needed is not there
"""


class SyncError(Exception):
    """Base of what a user is shown; `str(error)` is one sentence, `exit_code` what the command ends with."""

    exit_code = 2


class EnvelopeInvalid(SyncError):
    """An envelope does not decode, is too large, or its signature does not hold."""


class DictionaryUnknown(SyncError):
    """An envelope is sound, but compressed with a dictionary that is not here."""


class MessageInvalid(SyncError):
    """A message or a topic is not one of the link's, or its signature does not hold."""


class LinkSettingsError(SyncError):
    """The link's settings, keys or databases are wrong."""


class ReplicaUnusable(SyncError):
    """There is no replica where one is looked for, it does not answer, or it is damaged."""

    exit_code = 1


class LinkPartMissing(SyncError):
    """Something the link needs is not installed or not running."""

    exit_code = 3
