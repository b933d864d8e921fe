"""Commands as text that a user can paste into a shell."""

import shlex

from ops.stack import Stack, default_name


def command(stack: Stack, *words: str) -> str:
    """`python -m ops` with these words, for this stack."""
    stack_words = () if stack.name == default_name() else ("--stack", stack.name)
    return " ".join(quoted(word) for word in ("python", "-m", "ops", *words, *stack_words))


def spelled(stack: Stack, key: str) -> str:
    """A key of the input bucket as an argument. A key that looks like a flag or a URI is given as a URI."""
    return f"s3://{stack.input_bucket}/{key}" if key.startswith(("-", "s3://")) else key


def quoted(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    # No control characters: bash, zsh and ksh read these escapes.
    return "$'" + "".join(map(_escaped, word)) + "'"


def _escaped(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    # Octal: an escape of three digits does not include a digit that follows.
    return character if character.isprintable() else "".join(f"\\{byte:03o}" for byte in character.encode())
