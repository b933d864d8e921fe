"""Facts of a run that kept the promise."""

from toolkit.facts import Facts, FileRow, JobResult, JobRun, Manifest, Upload, Version

MANIFEST = "s3://manifests/manifests/2025-12-23/batch-0001-1.json"
MAX_BATCH_BYTES = 1000
EARLIER_MANIFEST = "s3://manifests/manifests/2025-12-23/batch-0001-0.json"
VALID, PENDING, REFUSED, TWICE, GONE = (
    f"s3://input/2025-12-23-{name}.ndjson" for name in ("valid", "pending", "no", "twice", "gone")
)


def row(uri: str, status: str, etag: str = "e1", manifest_path: str = MANIFEST) -> FileRow:
    return FileRow(
        date="2025-12-23",
        file_name=uri.rpartition("/")[2],
        uri=uri,
        etag=etag,
        size_bytes=100,
        status=status,
        reason="Invalid extension" if status == "quarantined" else None,
        manifest_path=manifest_path if status == "manifested" else None,
        version_id=f"v of {etag}",
        sequencer=etag,
        pending_since="2026-01-01T00:00:00.000000Z" if status == "pending" else None,
        deleted_at="2026-01-01T00:00:00.000000Z" if status == "deleted" else None,
    )


def version(uri: str, etag: str = "e1") -> Version:
    return uri, f"v of {etag}"


def upload(uri: str, etag: str = "e1", *, refused: bool = False) -> Upload:
    return Upload(uri, etag, 100, refused, f"v of {etag}")


def manifest(path: str, *versions: Version) -> Manifest:
    number = len(versions)
    return Manifest("2025-12-23", path, "succeeded", number, 100 * number, path, f"run of {path}", versions)


def kept() -> Facts:
    """A run that kept the promise, with one file of each outcome and one file uploaded twice."""
    manifests = [manifest(EARLIER_MANIFEST, version(TWICE)), manifest(MANIFEST, version(VALID), version(TWICE, "e2"))]
    return Facts(
        uploads=[
            upload(VALID),
            upload(PENDING),
            upload(REFUSED, refused=True),
            upload(TWICE),
            upload(TWICE, "e2"),
            upload(GONE),
        ],
        deleted=[GONE],
        poison=["poison"],
        objects={VALID: "e1", PENDING: "e1", REFUSED: "e1", TWICE: "e2"},
        files=[
            row(VALID, "manifested"),
            row(PENDING, "pending"),
            row(REFUSED, "quarantined"),
            row(TWICE, "manifested", "e1", EARLIER_MANIFEST),
            row(TWICE, "manifested", "e2"),
            row(GONE, "deleted"),
        ],
        manifests=manifests,
        locks=[],
        runs=[JobRun(f"run of {each.path}", each.path, "SUCCEEDED") for each in manifests],
        results={each.path: JobResult(each.file_count, 10, each.versions or ()) for each in manifests},
        copies={"2025-12-23-no.ndjson": "e1"},
        messages_left=0,
        dead_letters=["poison"],
        events=[
            *({"manifestPath": each.path, "status": "succeeded"} for each in manifests),
            {
                "bucket": "input",
                "key": "2025-12-23-no.ndjson",
                "versionId": "v of e1",
                "etag": "e1",
                "copiedTo": "there",
            },
        ],
    )
