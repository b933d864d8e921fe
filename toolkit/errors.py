"""The one error that every command turns into a line and an exit code."""


class UsageError(Exception):
    """The user's mistake: one line that names it and its remedy."""
