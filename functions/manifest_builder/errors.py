"""The exceptions of the application. Each means trouble: expected outcomes are values, never exceptions."""


class SettingsError(ValueError):
    """An environment variable is missing or absurd; the text names it and the rule it broke."""


class LockLost(RuntimeError):
    """The lease ran out, or another run holds it: nothing was committed and nothing may be committed any more."""


class RowContended(RuntimeError):
    """A row kept changing under a conditional write; the message is redelivered and tried again."""
