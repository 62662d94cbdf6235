"""What goes wrong at HQ's store; see sync.errors for the tree.

EnvelopeInvalid
└── IdentityConflict   a number that HQ holds comes again with another id: two boxes use one identity
SyncError
├── EnrolmentRefused   an invitation is unknown, used or over, or a key is another site's
└── StoreFailed        the store cannot be read or written now: nothing of the transaction is there
"""

from sync.errors import EnvelopeInvalid, SyncError


class IdentityConflict(EnvelopeInvalid):
    """A number that HQ holds comes again with another id: two boxes use one identity."""


class EnrolmentRefused(SyncError):
    """A site cannot be enrolled this way; the sentence says why."""


class StoreFailed(SyncError):
    """The store cannot be read or written now (disk full, server away). Nothing of the transaction is kept; the same
    may be tried again."""
