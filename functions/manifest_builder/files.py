"""A version of a file, or its removal, as the state machine carries it, and the facts that its key gives."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Self

# A sort key holds at most this many bytes (DynamoDB quotas); an S3 key has the same limit.
MAX_KEY_BYTES = 1024
ACCEPTED_EXTENSIONS = (".ndjson",)
"""Case matters (specification, validate_file)."""
NULL_VERSION = "null"

# The lookahead finds dates that overlap an impossible one.
_DATE = re.compile(r"(?=([0-9]{4}-[0-9]{2}-[0-9]{2}))")

_DISAMBIGUATED = re.compile(r"#[0-9a-f]{16}$")


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """A version of an object. `version_id` is None in a bucket without versions; `etag` is empty if it is not known."""

    version_id: str | None
    etag: str


class FileName:
    """Bucket and key of a file, whatever its version."""

    __slots__: tuple[str, ...] = ()

    bucket: str
    key: str

    @property
    def file_path(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @property
    def base_name(self) -> str:
        """The last part of the key; empty for a key that ends in `/`."""
        return self.key.rpartition("/")[2]

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        return cls(**{name: state[name] for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class Location(FileName):
    """The place of a file that may exist or not."""

    bucket: str
    key: str

    @classmethod
    def from_path(cls, file_path: str) -> Self:
        bucket, _, key = file_path.removeprefix("s3://").partition("/")
        return cls(bucket, key)


@dataclass(frozen=True, slots=True)
class FileVersion(FileName):
    """One version of one object. `version_id` and `sequencer` are None if the event has none."""

    message_id: str
    bucket: str
    key: str
    size_bytes: int
    etag: str
    version_id: str | None
    sequencer: str | None

    def to_state(self) -> dict[str, Any]:
        return {"removed": False, **asdict(self)}


@dataclass(frozen=True, slots=True)
class Removal(FileName):
    """The removal of an object: of its current version, or, permanently, of the version that `version_id` names.

    `version_id` may be "null", S3's id for a version that was written without versioning. `sequencer` is None if the
    event has none.
    """

    message_id: str
    bucket: str
    key: str
    version_id: str | None
    sequencer: str | None

    def to_state(self) -> dict[str, Any]:
        """With the fields that the state machine itself reads of a file."""
        return {"removed": True, "size_bytes": 0, **asdict(self)}


def has_accepted_extension(key: str) -> bool:
    """Whether the key ends in an accepted extension."""
    return key.endswith(ACCEPTED_EXTENSIONS)


def date_in_key(key: str) -> str | None:
    """The first `YYYY-MM-DD` in the decoded key that is a real calendar date, if any (specification, Key Functions)."""
    for match in _DATE.finditer(key):
        try:
            return date.fromisoformat(match.group(1)).isoformat()
        except ValueError:
            continue
    return None


def disambiguated_name(file: FileName) -> str:
    """The sort key of a file whose basename is taken: `<basename>#<hash of file_path>`, the basename cut to fit."""
    return _fitted(file.base_name, _hash_suffix(file.file_path))


def version_name(file: FileName, version_id: str) -> str:
    """The sort key of a version that is not its file's newest: `<disambiguated name>#<hash of version_id>`."""
    suffix = _hash_suffix(file.file_path) + _hash_suffix(version_id)
    return _fitted(file.base_name, suffix)


def versions_prefix(file: FileName) -> str:
    """How the sort keys of all versions that are not the file's newest begin."""
    return version_name(file, "")[: -len(_hash_suffix("")) + 1]


def looks_disambiguated(name: str) -> bool:
    """Whether a basename has the form of a disambiguated name, and so could equal another file's sort key."""
    return _DISAMBIGUATED.search(name) is not None


def _hash_suffix(text: str) -> str:
    return "#" + hashlib.sha256(text.encode()).hexdigest()[:16]


def _fitted(base_name: str, suffix: str) -> str:
    room = MAX_KEY_BYTES - len(suffix)
    return base_name.encode()[:room].decode(errors="ignore") + suffix


def is_newer(sequencer: str, than: str) -> bool:
    """Whether an S3 `sequencer` comes later: right-padded to one length, then compared as text.

    Source: S3 user guide, "Event message structure".
    """
    width = max(len(sequencer), len(than))
    return sequencer.upper().ljust(width, "0") > than.upper().ljust(width, "0")
