"""Flags, exit codes, and what is said where AWS does not answer.

Exit codes: 0 done or found, 1 the answer is no, 2 no answer (the user's mistake, or AWS refused), 130 Ctrl-C.
"""

import argparse
import os
from collections.abc import Sequence
from types import MappingProxyType
from typing import NoReturn

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)

from local.command import exit_code
from local.errors import UsageError
from ops import backfill, flush, redrive, release, replay, status, unlock, where
from ops.screen import Screen
from ops.stack import find_stack

COMMANDS = MappingProxyType(
    {
        "status": status,
        "where": where,
        "backfill": backfill,
        "replay": replay,
        "release": release,
        "flush": flush,
        "redrive": redrive,
        "unlock": unlock,
    }
)
DEFAULT_STACK = "manifest-builder-dev"
STACK_VARIABLE = "MANIFEST_BUILDER_STACK"
WHOSE_CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
SIGN_IN = "sign in (aws sso login), or set AWS_PROFILE and AWS_REGION"


class CommandParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} ({self.prog} --help explains it)")


def main(arguments: Sequence[str] | None = None) -> int:
    return exit_code(lambda: command(arguments))


def command(arguments: Sequence[str] | None) -> int:
    options = parse(arguments)
    try:
        stack = find_stack(options.stack)
        code: int = COMMANDS[options.command].run(stack, options, Screen.of(options))
        return code
    except (NoCredentialsError, PartialCredentialsError, ProfileNotFound, NoRegionError) as error:
        raise UsageError(f"{str(error).rstrip('.')}: {SIGN_IN}") from None
    except ClientError as error:
        raise UsageError(explain(error)) from None
    except BotoCoreError as error:
        raise UsageError(f"{error}: is the network there, and AWS_ENDPOINT_URL what you mean?") from None


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    shared = CommandParser(add_help=False)
    shared.add_argument(
        "--stack",
        default=os.environ.get(STACK_VARIABLE) or DEFAULT_STACK,
        metavar="NAME",
        help=f"the CloudFormation stack (default: {STACK_VARIABLE}, or {DEFAULT_STACK})",
    )
    shared.add_argument("--json", action="store_true", help="one JSON document on the standard output, for scripts")
    parser = CommandParser(
        prog="python -m ops",
        description="Commands for operators.",
        epilog="exit codes: 0 done or found, 1 the answer is no, 2 no answer (a mistake, or AWS refused), 130 Ctrl-C",
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
    """What AWS refused, in one line."""
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    said = f"{error.operation_name}: {code}: {' '.join(message.split())}".rstrip(": ")
    return f"{said}: {SIGN_IN}" if code in WHOSE_CREDENTIALS else said
