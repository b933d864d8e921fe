"""The document of a manifest: which versions of which files its job reads. Pure.

{"fileLocations": [{"URIPrefixes": [uri, ...]}], "files": [{"uri", "versionId", "etag", "sizeBytes"}, ...]}

`fileLocations` is the format of the specification. `files` names the same files in the same order, and the version of
each: `versionId` is null in a bucket without versions, where `etag` tells whether the object is still that one.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from manifest_builder.batching import PendingFile
from manifest_builder.rows import FileRow


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that a manifest names, and the version that it pins; a manifest of an earlier release pins none."""

    file_path: str
    version_id: str | None
    etag: str | None
    size_bytes: int | None
    is_pinned: bool = True

    @classmethod
    def of(cls, file: PendingFile | FileRow) -> Self:
        """The version that an entry of the pending index, or a row, is of."""
        size_bytes = file.file_size_bytes if isinstance(file, FileRow) else file.size_bytes
        return cls(file.file_path, file.version_id, file.etag, size_bytes)

    def names(self, file: PendingFile | FileRow) -> bool:
        """Whether this is the file, in the version that the manifest pins."""
        is_same_version = (file.version_id, file.etag) == (self.version_id, self.etag)
        return file.file_path == self.file_path and (is_same_version or not self.is_pinned)


def to_document(files: Iterable[NamedFile]) -> str:
    named = list(files)
    document = {
        "fileLocations": [{"URIPrefixes": [file.file_path for file in named]}],
        "files": [
            {
                "uri": file.file_path,
                "versionId": file.version_id,
                "etag": file.etag,
                "sizeBytes": file.size_bytes,
            }
            for file in named
        ],
    }
    return json.dumps(document, ensure_ascii=False, indent=1)


def from_document(text: str | bytes) -> list[NamedFile]:
    """The files of a manifest, in its order."""
    document: dict[str, Any] = json.loads(text)
    if "files" in document:
        return [
            NamedFile(file["uri"], file["versionId"], file["etag"], file["sizeBytes"]) for file in document["files"]
        ]
    uris = [uri for location in document["fileLocations"] for uri in location["URIPrefixes"]]
    return [NamedFile(uri, None, None, None, is_pinned=False) for uri in uris]
