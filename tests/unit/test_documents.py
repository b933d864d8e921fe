"""The document of a manifest: the format of the specification, and the versions that it pins."""

import json

from hypothesis import given
from hypothesis import strategies as st

from manifest_builder.batching import PendingFile
from manifest_builder.documents import NamedFile, from_document, to_document
from tests.unit.support import a_row

texts = st.text(alphabet=st.characters(codec="utf-8"))
optional = st.none() | texts
named_files = st.builds(NamedFile, texts, optional, optional, st.none() | st.integers(0, 2**40))


def test_a_manifest_has_the_format_of_the_specification_and_pins_versions_in_the_same_order() -> None:
    files = [
        NamedFile("s3://b/2025-12-23-a.ndjson", "v1", "e1", 1),
        NamedFile("s3://b/x/ü b+c.ndjson", None, "e2", 2),
    ]

    assert json.loads(to_document(files)) == {
        "fileLocations": [{"URIPrefixes": ["s3://b/2025-12-23-a.ndjson", "s3://b/x/ü b+c.ndjson"]}],
        "files": [
            {"uri": "s3://b/2025-12-23-a.ndjson", "versionId": "v1", "etag": "e1", "sizeBytes": 1},
            {"uri": "s3://b/x/ü b+c.ndjson", "versionId": None, "etag": "e2", "sizeBytes": 2},
        ],
    }


@given(st.lists(named_files, max_size=5))
def test_a_manifest_is_read_back_as_it_was_written(files: list[NamedFile]) -> None:
    assert from_document(to_document(files).encode()) == files


def test_all_locations_of_a_manifest_of_an_earlier_release_are_read() -> None:
    document = {"fileLocations": [{"URIPrefixes": ["a", "b"]}, {"URIPrefixes": ["c"]}]}

    files = from_document(json.dumps(document))

    assert [file.file_path for file in files] == ["a", "b", "c"]
    assert not any(file.is_pinned for file in files)


def test_a_pinned_version_names_no_other_version() -> None:
    row = a_row(version_id="v1", etag="e")
    pinned = NamedFile(row.file_path, "v1", "e", 1)

    assert pinned.names(row)
    assert pinned.names(PendingFile("a", row.file_path, 1, "2025", "v1", "e"))
    assert not pinned.names(a_row(version_id="v2", etag="e"))
    assert not pinned.names(a_row(version_id=None, etag="e"))
    assert not NamedFile(row.file_path, None, "e", 1).names(a_row(etag="another"))
    assert not NamedFile("s3://in/other", "v1", "e", 1).names(row)


def test_a_manifest_of_an_earlier_release_names_whatever_version_there_is() -> None:
    row = a_row(version_id="v2", etag="e")

    assert NamedFile(row.file_path, None, None, None, is_pinned=False).names(row)
