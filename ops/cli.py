"""Flags, exit codes, and the error messages for failing AWS calls.

Exit codes: 0 done or found, 1 the answer is no, 2 no answer (a mistake in the call, or AWS refused), 130 Ctrl-C, 143
SIGTERM or SIGHUP.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import MappingProxyType

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)

from manifest_builder.errors import EventsRefused, SettingsError
from ops import audit, backfill, flush, rebuild, redrive, release, replay, smoke, status, unlock, where
from ops.screen import Screen
from ops.stack import DEFAULT_STACK, STACK_VARIABLE, default_name, find_stack
from toolkit.ending import Terminated
from toolkit.errors import UsageError
from toolkit.exit_codes import INTERRUPTED, MISTAKE, TERMINATED
from toolkit.parser import Parser
from toolkit.texts import printable

COMMANDS = MappingProxyType(
    {
        "status": status,
        "where": where,
        "audit": audit,
        "backfill": backfill,
        "replay": replay,
        "rebuild": rebuild,
        "release": release,
        "flush": flush,
        "redrive": redrive,
        "unlock": unlock,
        "smoke": smoke,
    }
)
WHOSE_CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
BROKEN_PIPE = 141
SIGN_IN = "sign in (aws sso login), or set AWS_PROFILE and AWS_REGION"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command's exit code. An error, or a signal, that ended the command is reported in one line."""
    try:
        return command(sys.argv[1:] if arguments is None else arguments)
    except UsageError as error:
        return _ended(f"error: {printable(str(error))}", MISTAKE)
    except KeyboardInterrupt as error:
        return _ended(f"\n{printable(str(error)) or 'stopped'}", INTERRUPTED)
    except Terminated:
        return TERMINATED
    except BrokenPipeError:
        return BROKEN_PIPE
    finally:
        _write_the_rest()


def command(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    try:
        stack = find_stack(options.stack)
        code: int = COMMANDS[options.command].run(stack, options, Screen.of(options))
        return code
    except (NoCredentialsError, PartialCredentialsError, ProfileNotFound, NoRegionError) as error:
        raise UsageError(f"{str(error).rstrip('.')}: {SIGN_IN}") from None
    except ClientError as error:
        raise UsageError(explain(error)) from None
    except ParamValidationError as error:
        raise UsageError(f"AWS takes no such argument: {_in_one_line(error.kwargs['report'])}") from None
    except BotoCoreError as error:
        raise UsageError(f"{error}: is the network there, and AWS_ENDPOINT_URL what you mean?") from None
    except EventsRefused as error:
        raise UsageError(str(error)) from None
    except SettingsError as error:
        raise UsageError(f"the settings of the stack {options.stack} are not right: {error}") from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(_in_one_line(str(error))) from None


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    for argument in arguments:
        if not _is_text(argument):
            raise UsageError(f"{argument} is not UTF-8, as all names of AWS are: write it in UTF-8")
    shared = Parser(add_help=False)
    shared.add_argument(
        "--stack",
        default=default_name(),
        metavar="NAME",
        help=f"the CloudFormation stack (default: {STACK_VARIABLE}, or {DEFAULT_STACK})",
    )
    shared.add_argument("--json", action="store_true", help="one JSON document on the standard output, for scripts")
    parser = Parser(
        prog="python -m ops",
        description="Commands for operators.",
        epilog="exit codes: 0 done or found, 1 the answer is no, 2 no answer (a mistake, or AWS refused), 130 Ctrl-C, "
        "143 SIGTERM or SIGHUP",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        text = module.__doc__ or ""
        examples = "\n".join(f"  python -m ops {example}" for example in module.EXAMPLES)
        module.add_arguments(
            commands.add_parser(
                name,
                parents=[shared],
                help=text.partition("\n")[0].rstrip("."),
                description=text,
                epilog=f"examples:\n{examples}",
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
        )
    return parser.parse_args(arguments)


def explain(error: ClientError) -> str:
    """The error of an AWS call in one line, with the remedy for missing credentials."""
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    said = f"{error.operation_name}: {code}: {_in_one_line(message)}".rstrip(": ")
    return f"{said}: {SIGN_IN}" if code in WHOSE_CREDENTIALS else said


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _ended(message: str, code: int) -> int:
    # If this cannot be written either, the exit code remains.
    with suppress(OSError):
        print(message, file=sys.stderr, flush=True)
    return code


def _write_the_rest() -> None:
    """Flushes the output. Otherwise Python would fail on a broken pipe again when it exits."""
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
