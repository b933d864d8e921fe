"""`make bench-audit`: cost, CPU time and memory of an audit of up to a million files, for docs/performance.md.

The scheduled function runs against services that answer at once, in this process: their own CPU time is left out.
"""

import json
import os
import re
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from math import ceil
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit

from botocore.awsrequest import AWSResponse
from botocore.httpsession import URLLib3Session

from dev.simulator.world import ENVIRONMENT, INPUT_BUCKET, MANIFEST_BUCKET

os.environ.update(ENVIRONMENT)  # importing a function checks its settings

import audit_files
from dev.bench import page
from dev.bench.counts import Record
from dev.bench.units import READ_UNIT_BYTES, item_bytes
from dev.simulator import wire
from dev.simulator.context import Context
from dev.workers import workers
from manifest_builder import clock, manifests
from manifest_builder.documents import NamedFile, to_document
from manifest_builder.manifests import ManifestRecord
from manifest_builder.rows import FileRow, megabytes
from manifest_builder.tracking import table

MEASURE = "audit"
SIZES = (100_000, 1_000_000)
DAYS = 14
SIZE_BYTES = 10 * 1024**2
FILES_PER_MANIFEST = 70
"""0.7 GB."""
KEYS_PER_PAGE = 1000
QUERY_PAGE_BYTES = 1024**2
NOW = datetime.now(UTC).replace(microsecond=0)
WRITTEN = NOW - timedelta(hours=2)
ETAG = "d41d8cd98f00b204e9800998ecf8427e"
LONGEST = Context(24 * 3600 * 1000)


def main() -> int:
    record = Record.read()
    with workers(1, tasks_per_process=1) as pool:
        found = dict(zip(SIZES, pool.imap(measure, SIZES), strict=True))
    names = next(iter(found.values()))
    record.timings[MEASURE] = {name: {str(size): found[size][name] for size in SIZES} for name in names}
    record.write()
    # The page shows the figures of the CSV, which are rounded.
    page.PAGE.write_text(page.with_figures(page.PAGE.read_text(), Record.read()))
    print(page.audit(record))
    return 0


def measure(files: int) -> dict[str, float]:
    """An audit of so many files, all in manifests whose runs succeeded."""
    services = Services(files)
    before = resident_mb()
    with mock.patch.object(URLLib3Session, "send", services.send):
        started = time.process_time()
        answer = audit_files.handler({}, LONGEST)
        seconds = time.process_time() - started - services.seconds
    assert answer == {"complete": True, "files": files, "missing": 0, "problems": 0}, answer
    return {
        "CPU seconds": seconds,
        "MB": status_mb("VmHWM") - before,
        "lists": services.requests["list"],
        "gets": services.requests["get"],
        "read units": services.read_units,
    }


def resident_mb() -> float:
    """Memory of this process. Its peak is counted from here on (man proc_pid_clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")
    return status_mb("VmRSS")


def status_mb(name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1024


@dataclass
class Services:
    """S3 and DynamoDB with this number of files, the same number on each day."""

    files: int
    requests: Counter[str] = field(default_factory=Counter)
    read_units: float = 0
    seconds: float = 0
    """CPU time of the services themselves."""
    lock: Any = field(default_factory=threading.Lock)

    @cached_property
    def row_bytes(self) -> int:
        """All rows have the same size."""
        return item_bytes(row(days()[0], 0, range(FILES_PER_MANIFEST)))

    def send(self, request: Any) -> AWSResponse:
        started = time.thread_time()
        url = urlsplit(request.url)
        if "dynamodb" in url.netloc:
            operation = request.headers["X-Amz-Target"].decode().rpartition(".")[2]
            body = json.dumps(getattr(self, operation)(json.loads(request.body)))
        else:
            query = {name: value[0] for name, value in parse_qs(url.query, keep_blank_values=True).items()}
            kind = "list" if query else "get"
            with self.lock:
                self.requests[kind] += 1
            if "versions" in query:
                body = self.versions(query.get("key-marker", ""))
            else:
                body = self.manifest_list(query["prefix"]) if query else document(url.path.rpartition("/manifests/")[2])
        with self.lock:
            self.seconds += time.thread_time() - started
        return wire.response(request, 200, {"content-type": "application/json"}, body)

    def of_day(self, day: str) -> range:
        """The numbers of a day's files."""
        first = days().index(day) * self.files // DAYS
        return range(first, (days().index(day) + 1) * self.files // DAYS)

    def versions(self, marker: str) -> str:
        first = int(marker.rpartition("-")[2].partition(".")[0]) + 1 if marker else 0
        numbers = range(first, min(first + KEYS_PER_PAGE, self.files))
        at = f"{WRITTEN:%Y-%m-%dT%H:%M:%S.000Z}"
        day, entries = "", []
        for number in numbers:
            if not day or number not in self.of_day(day):
                day = next(day for day in days() if number in self.of_day(day))
            entries.append(
                f"<Version><Key>{key(day, number)}</Key><VersionId>{version(number)}</VersionId>"
                f"<IsLatest>true</IsLatest><LastModified>{at}</LastModified><ETag>&quot;{ETAG}&quot;</ETag><Size>{SIZE_BYTES}</Size>"
                "<StorageClass>STANDARD</StorageClass><Owner><ID>1</ID></Owner></Version>"
            )
        is_truncated = numbers.stop < self.files
        last = key(day, numbers.stop - 1)
        following = f"<NextKeyMarker>{last}</NextKeyMarker><NextVersionIdMarker>1</NextVersionIdMarker>"
        return (
            f"<ListVersionsResult><Name>{INPUT_BUCKET}</Name><IsTruncated>{str(is_truncated).lower()}</IsTruncated>"
            f"{following if is_truncated else ''}{''.join(entries)}</ListVersionsResult>"
        )

    def manifests_of(self, day: str) -> list[range]:
        numbers = self.of_day(day)
        return [numbers[first : first + FILES_PER_MANIFEST] for first in range(0, len(numbers), FILES_PER_MANIFEST)]

    def manifest_list(self, prefix: str) -> str:
        """In one page, and counted as the pages that S3 would make."""
        day = prefix.split("/")[1]
        named = self.manifests_of(day)
        with self.lock:
            self.requests["list"] += ceil(len(named) / KEYS_PER_PAGE) - 1
        at = f"{WRITTEN:%Y-%m-%dT%H:%M:%S.000Z}"
        entries = [
            f"<Contents><Key>{manifest_key(day, numbers)}</Key><LastModified>{at}</LastModified></Contents>"
            for numbers in named
        ]
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{''.join(entries)}</ListBucketResult>"

    def GetItem(self, request: Any) -> Any:
        return {}

    def PutItem(self, request: Any) -> Any:
        return {}

    def Query(self, request: Any) -> Any:
        partition = request["ExpressionAttributeValues"][":date_prefix"]["S"]
        day = manifests.date_of(partition)
        if day is not None:
            records = [table.to_dynamodb(record(day, numbers)) for numbers in self.manifests_of(day)]
            self.read(sum(map(item_bytes, records)), 1)
            return {"Items": records}
        numbers = self.of_day(partition)
        if "ExclusiveStartKey" in request:
            after = request["ExclusiveStartKey"]["file_name"]["S"]
            numbers = range(int(after.rpartition("-")[2].partition(".")[0]) + 1, numbers.stop)
        asked = request["ExpressionAttributeNames"].values()
        of_day = self.of_day(partition)
        items: list[dict[str, Any]] = []
        size = 0
        for number in numbers:
            first = (number - of_day.start) // FILES_PER_MANIFEST * FILES_PER_MANIFEST
            item = row(partition, number, of_day[first : first + FILES_PER_MANIFEST])
            items.append({name: value for name, value in item.items() if name in asked})
            size += self.row_bytes
            if size >= QUERY_PAGE_BYTES:
                break
        self.read(size, 0.5)  # eventually consistent
        answer: dict[str, Any] = {"Items": items}
        if len(items) < len(numbers):
            answer["LastEvaluatedKey"] = {name: items[-1][name] for name in ("date_prefix", "file_name")}
        return answer

    def read(self, size: int, units: float) -> None:
        with self.lock:
            self.read_units += units * ceil(size / READ_UNIT_BYTES)


@cache
def days() -> list[str]:
    return [f"{NOW - timedelta(days=before):%Y-%m-%d}" for before in reversed(range(DAYS))]


def key(day: str, number: int) -> str:
    return f"orders/{day}/orders-{number:09}.ndjson"


def version(number: int) -> str:
    """As long as S3's."""
    return f"{number:032}"


def manifest_key(day: str, numbers: range) -> str:
    return f"manifests/{day}/batch-{numbers.start:09}-{len(numbers)}.json"


def manifest_path(day: str, numbers: range) -> str:
    return f"s3://{MANIFEST_BUCKET}/{manifest_key(day, numbers)}"


def document(name: str) -> str:
    day, _, batch = name.partition("/")
    first, number = (int(text) for text in batch.removesuffix(".json").split("-")[1:])
    return to_document(
        NamedFile(f"s3://{INPUT_BUCKET}/{key(day, each)}", version(each), ETAG, SIZE_BYTES)
        for each in range(first, first + number)
    )


def record(day: str, numbers: range) -> dict[str, Any]:
    at = clock.to_text(WRITTEN)
    name = manifests.record_name(numbers.start, "token")
    size = len(numbers) * SIZE_BYTES
    open_record = ManifestRecord(day, name, manifest_path(day, numbers), len(numbers), size, at, at)
    return open_record.to_item() | {"status": "succeeded", "job_run_id": "jr_" + 64 * "0"}


def row(day: str, number: int, numbers: range) -> dict[str, Any]:
    """The row of a file, in DynamoDB's JSON. `numbers`: of the files of its manifest."""
    return template_of_rows(day) | {
        "file_name": {"S": f"orders-{number:09}.ndjson"},
        "file_path": {"S": f"s3://{INPUT_BUCKET}/{key(day, number)}"},
        "version_id": {"S": version(number)},
        "manifest_path": {"S": manifest_path(day, numbers)},
    }


@cache
def template_of_rows(day: str) -> dict[str, Any]:
    at = clock.to_text(WRITTEN)
    written = FileRow(
        day,
        "",
        "",
        "manifested",
        at,
        file_size_bytes=SIZE_BYTES,
        file_size_mb=megabytes(SIZE_BYTES),
        etag=ETAG,
        version_id="",
        sequencer="0055AED6DCD90281E5",
        manifest_path="",
        cut=at,
        older_versions=0,
        updated_at=at,
    )
    return dict(table.to_dynamodb(written.to_item()))


if __name__ == "__main__":
    sys.exit(main())
