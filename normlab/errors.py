"""What can go wrong on the user's side: each is reported as one line, without a traceback."""


class NormlabError(Exception):
    """A mistake that the message names, with what to do about it."""


class ConfigError(NormlabError):
    """An unknown key, an unknown choice or a value out of range."""


class DataError(NormlabError):
    """Images that are missing, unreadable or unfit for the run."""


class CheckpointError(NormlabError):
    """A checkpoint that cannot be read, or that belongs to another network."""
