"""Exit codes of commands, besides 0. 128 + n: the shell's code for a process that signal n has ended."""

FAILED = 1
MISTAKE = 2
"""The user made a mistake; one line names it."""
INTERRUPTED = 130
TERMINATED = 143
