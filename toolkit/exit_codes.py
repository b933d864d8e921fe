"""Exit codes of commands, besides 0. 128 + n: the shell's code for a process that signal n has ended."""

FAILED = 1
MISTAKE = 2
"""A mistake of the user's, told in one line."""
INTERRUPTED = 130
TERMINATED = 143
