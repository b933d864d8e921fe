"""Writes the object of a manifest anew, from the rows of its files, after somebody has deleted it.

The job reads the object, so a failed manifest can be replayed only after that. Nothing is overwritten.
"""

import argparse

from manifest_builder import manifest_objects
from manifest_builder.documents import NamedFile
from manifest_builder.errors import ManifestGone
from manifest_builder.tracking import file_rows
from ops import shell
from ops.keys import add_manifest
from ops.screen import Screen
from ops.stack import Stack
from ops.where import named_record
from toolkit.texts import plural

EXAMPLES = ("rebuild s3://my-manifests/manifests/2025-12-23/batch-0001-20251223T100000000000Z.json",)
REFUSED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_manifest(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(stack: Stack, options: argparse.Namespace, screen: Screen) -> int:
    uri, record = named_record(options.manifest)
    if record is None:
        return _refuse(stack, screen, uri, "there is no record of this manifest")
    if record.status == "void":
        return _refuse(stack, screen, uri, "it is void: its files were given back, and are in other manifests")
    if is_there(uri):
        return _refuse(stack, screen, uri, "its object is there")
    screen.warn(f"Searching the rows of {record.date_prefix} that name it.")
    rows = sorted(file_rows.rows_of_manifest(record.date_prefix, uri), key=lambda row: (row.created_at, row.file_path))
    if not rows:
        return _refuse(stack, screen, uri, "no row names it: its files were replaced, or their rows have expired")
    named = f"{len(rows):,} of its {plural(record.file_count, 'file')}"
    if len(rows) < record.file_count:
        screen.warn("The others were replaced by later versions, or their rows have expired.")
    if not screen.confirm(f"Writes {uri} with {named}"):
        return REFUSED
    manifest_objects.rebuild(uri, [NamedFile.of(row) for row in rows])
    screen.answer(_document(stack, uri, files=len(rows)))
    screen.say(f"written with {named}")
    if record.status == "failed":
        screen.say(f"start its job: {shell.command(stack, 'replay', uri)}")
    return 0


def is_there(uri: str) -> bool:
    try:
        manifest_objects.require(uri)
    except ManifestGone:
        return False
    return True


def _refuse(stack: Stack, screen: Screen, uri: str, why: str) -> int:
    screen.answer(_document(stack, uri, reason=why))
    screen.say(f"not rebuilt: {why}")
    return REFUSED


def _document(stack: Stack, uri: str, *, reason: str | None = None, files: int | None = None) -> dict[str, object]:
    return {"stack": stack.name, "manifest": uri, "rebuilt": reason is None, "reason": reason, "files": files}
