"""What goes wrong at HQ's store; see sync.errors for the tree.

EnvelopeInvalid
└── IdentityConflict   a number that HQ holds comes again with another id: two boxes use one identity
SyncError
├── EnrolmentRefused   an invitation is unknown, used or over, or a key is another site's
│   └── KeyUsedBefore  a site that is invited again comes with a key that it has had
└── StoreFailed        the store cannot be read or written now: nothing of the transaction is there
"""

from sync.errors import EnvelopeInvalid, SyncError
from sync.protocol import Taken
from sync.ranges import Ranges


class IdentityConflict(EnvelopeInvalid):
    """Numbers that HQ holds come again with other ids: two boxes use one identity. `envelope` says in which envelope
    of whom."""

    def __init__(self, sentence: str, envelope: Taken, numbers: Ranges) -> None:
        super().__init__(sentence)
        self.envelope = envelope
        self.numbers = numbers


class EnrolmentRefused(SyncError):
    """A site cannot be enrolled this way; the sentence says why."""


class KeyUsedBefore(EnrolmentRefused):
    """A site that is invited again comes with a key that it has had, which others may have by now."""


class StoreFailed(SyncError):
    """The store cannot be read or written now (disk full, server away). Nothing of the transaction is kept; the same
    may be tried again."""
