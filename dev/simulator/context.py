"""The context of a function's invocation."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Context:
    """What start_workflow and audit_files read of Lambda's context."""

    milliseconds: int

    def get_remaining_time_in_millis(self) -> int:
        return self.milliseconds


AT_ITS_BEGINNING = Context(150_000)
WHOLE_AUDIT = Context(900_000)
