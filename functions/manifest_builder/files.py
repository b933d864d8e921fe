"""A version of a file as the state machine carries it, and what can be read off its key."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Self

# A sort key holds at most this many bytes (DynamoDB quotas); an S3 key has the same limit.
MAX_KEY_BYTES = 1024

# The lookahead finds dates that overlap an impossible one.
_DATE = re.compile(r"(?=([0-9]{4}-[0-9]{2}-[0-9]{2}))")

_DISAMBIGUATED = re.compile(r"#[0-9a-f]{16}$")


@dataclass(frozen=True, slots=True)
class FileVersion:
    """One version of one object. `version_id` and `sequencer` are None where the event has none."""

    message_id: str
    bucket: str
    key: str
    size_bytes: int
    etag: str
    version_id: str | None
    sequencer: str | None

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        return cls(**state)

    def to_state(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def file_path(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @property
    def base_name(self) -> str:
        """The last part of the key; empty for a key that ends in `/`."""
        return self.key.rpartition("/")[2]


def date_in_key(key: str) -> str | None:
    """The first `YYYY-MM-DD` in the decoded key that is a real calendar date, if any (specification, Key Functions)."""
    for match in _DATE.finditer(key):
        try:
            return date.fromisoformat(match.group(1)).isoformat()
        except ValueError:
            continue
    return None


def disambiguated_name(file: FileVersion) -> str:
    """The sort key of a file whose basename another folder's file has taken: `<basename>#<hash of file_path>`."""
    suffix = "#" + hashlib.sha256(file.file_path.encode()).hexdigest()[:16]
    room = MAX_KEY_BYTES - len(suffix)
    return file.base_name.encode()[:room].decode(errors="ignore") + suffix


def looks_disambiguated(name: str) -> bool:
    """Whether a basename has the form of another file's disambiguated name, and so might take its sort key."""
    return _DISAMBIGUATED.search(name) is not None


def is_newer(sequencer: str, than: str) -> bool:
    """Whether an S3 `sequencer` comes later: right-padded to one length, then compared as text.

    Source: S3 user guide, "Event message structure".
    """
    width = max(len(sequencer), len(than))
    return sequencer.upper().ljust(width, "0") > than.upper().ljust(width, "0")
