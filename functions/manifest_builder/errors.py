"""The exceptions of the application. An expected outcome is a value, never an exception."""


class SettingsError(ValueError):
    """An environment variable is missing or invalid; the text names the variable and the rule."""


class LockLost(RuntimeError):
    """The lease has ended, or another run holds the lock: nothing was committed, and nothing may be committed."""


class RunNotRecorded(RuntimeError):
    """A job run has ended, and its manifest's record does not name it yet: RecordJobRun is still to come."""


class ManifestGone(RuntimeError):
    """The object of a committed manifest is not there any more: no job could read it."""


class EventNotSent(RuntimeError):
    """EventBridge did not take an event. The state that it tells of is not recorded, and both are tried again."""


class RowContended(RuntimeError):
    """A row changed during every attempt to write it. The message is redelivered, and the write is tried again."""


class EventsRefused(RuntimeError):
    """The queue refused messages that were sent to it."""
