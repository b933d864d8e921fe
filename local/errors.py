"""What goes wrong in the embedded run."""


class UsageError(Exception):
    """The user's mistake: one line that names it and its remedy."""


class EmulatorError(Exception):
    """The emulator did not start, or died."""


class DeployError(Exception):
    """The stack was not created; the message says which resources failed, and why."""
