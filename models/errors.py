"""The tree of errors of packs: one sentence each, saying which pack or file, what is wrong, and what to do.

ModelError             exit 2
├── PackInvalid        the pack's manifest or one of its files is wrong
├── InputInvalid       what was given to a model does not fit it
└── PackMissing        exit 3: a pack is not installed, or could not be fetched
"""


class ModelError(Exception):
    """Base of what a user is shown; `str(error)` is one sentence, `exit_code` what the command ends with."""

    exit_code = 2


class PackInvalid(ModelError):
    """A pack's manifest, or a file it names, is missing, altered or does not fit."""


class InputInvalid(ModelError):
    """What was given to a model does not fit its inputs."""


class PackMissing(ModelError):
    """A pack is not installed, or its source could not be reached."""

    exit_code = 3
