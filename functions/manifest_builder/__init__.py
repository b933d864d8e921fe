"""The rules and AWS calls behind the boxes of the state machine. Handlers import this package, never the reverse."""
