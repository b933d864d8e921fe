"""Failures of the emulator and of the deployment on it."""


class EmulatorError(Exception):
    """The emulator did not start, or died."""


class DeployError(Exception):
    """The stack was not created; the message says which resources failed, and why."""
