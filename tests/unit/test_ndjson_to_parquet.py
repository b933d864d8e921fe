"""The default Glue job without Spark: which run does the work, which lines are data, and the types of their columns."""

import json
import sys
from decimal import Decimal
from functools import reduce
from itertools import permutations
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from dev.simulator.world import TRACKING_TABLE
from glue import ndjson_to_parquet as job
from glue.ndjson_to_parquet import Shape, column_type, merge
from tests.unit.support import DATE, Account, a_manifest, aws_error, commit, failing

PATH = a_manifest().file_path


# Which run does the work


def take(account: Account, run_id: str, sleep: Any = None) -> dict[str, Any] | None:
    return job.take_manifest(account.dynamodb, TRACKING_TABLE, DATE, PATH, run_id, sleep or (lambda seconds: None))


def name_run(account: Account, run_id: str) -> None:
    """Name the run in the record, as the state RecordJobRun does."""
    account.dynamodb.update_item(
        TableName=TRACKING_TABLE,
        Key={"date_prefix": {"S": f"MANIFEST#{DATE}"}, "file_name": {"S": "batch-0001-token-1"}},
        UpdateExpression="SET #status = :started, job_run_id = :run REMOVE pending_since",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":started": {"S": "started"}, ":run": {"S": run_id}},
    )


def test_the_run_that_the_record_names_does_the_work(account: Account) -> None:
    commit(a_manifest())
    name_run(account, "jr_1")
    record = take(account, "jr_1")
    assert record
    assert record["file_path"] == {"S": PATH}


def test_a_run_that_the_record_does_not_name_leaves_the_record_alone(account: Account) -> None:
    commit(a_manifest())
    name_run(account, "jr_1")
    assert take(account, "jr_2") is None
    assert account.record()["job_run_id"] == "jr_1"


@pytest.mark.parametrize(("named", "works"), [("jr_1", True), ("jr_2", False)])
def test_a_run_waits_until_the_record_names_one(account: Account, named: str, works: bool) -> None:
    commit(a_manifest())
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            name_run(account, named)

    assert bool(take(account, "jr_1", sleep)) is works
    assert len(waits) == 3


def test_a_run_names_itself_in_a_record_that_has_named_no_run_for_a_minute(account: Account) -> None:
    commit(a_manifest())
    waits: list[float] = []
    assert take(account, "jr_1", waits.append)
    assert sum(waits) == 60
    record = account.record()
    assert (record["status"], record["job_run_id"]) == ("started", "jr_1")
    # As after RecordJobRun: the record stays in the index until the outcome of the run is known.
    assert "pending_since" in record


def test_of_two_runs_that_the_record_does_not_name_only_one_does_the_work(account: Account) -> None:
    """The record names the second run after the first run's last read and before its write."""
    commit(a_manifest())
    with failing(account.dynamodb, "update_item", aws_error("ConditionalCheckFailedException")):
        assert take(account, "jr_1") is None
    assert take(account, "jr_2")
    assert take(account, "jr_1") is None


def test_any_other_error_of_the_write_is_raised(account: Account) -> None:
    commit(a_manifest())
    refusal = aws_error("AccessDeniedException")
    with failing(account.dynamodb, "update_item", refusal), pytest.raises(type(refusal)):
        take(account, "jr_1")


def test_the_record_of_a_manifest_is_found_among_other_records_of_its_date(account: Account) -> None:
    for number in range(1, 4):
        commit(a_manifest(f"token-{number}"))
    for number in range(1, 4):
        path = a_manifest(f"token-{number}").file_path
        record = job.find_record(account.dynamodb, TRACKING_TABLE, DATE, path)
        assert record["file_name"] == {"S": f"batch-0001-token-{number}"}


def test_a_manifest_without_a_record_is_an_error(account: Account) -> None:
    with pytest.raises(LookupError, match=PATH):
        take(account, "jr_1")


def test_the_arguments_that_glue_passes_are_parsed() -> None:
    argv = (
        "--job-bookmark-option job-bookmark-disable --JOB_ID j_1 --JOB_RUN_ID jr_1 --JOB_NAME job --TempDir s3://t/ "
        f"--MANIFEST_PATH {PATH} --MANIFEST_BUCKET m --DATE_PREFIX {DATE} --TRACKING_TABLE t --OUTPUT_PATH s3://o"
    )
    options = job.parse(argv.split())
    assert vars(options) == {
        "MANIFEST_PATH": PATH,
        "DATE_PREFIX": DATE,
        "JOB_RUN_ID": "jr_1",
        "TRACKING_TABLE": "t",
        "OUTPUT_PATH": "s3://o",
    }


# Which versions of which files are read


def test_a_manifest_names_the_version_or_the_etag_of_each_file() -> None:
    files: list[dict[str, Any]] = [
        {"uri": "s3://b/1", "versionId": "v1", "etag": "e1", "sizeBytes": 1},
        {"uri": "s3://b/2", "versionId": "null", "etag": None, "sizeBytes": 2},
        {"uri": "s3://b/3", "versionId": None, "etag": "e3", "sizeBytes": 3},
        {"uri": "s3://b/4", "versionId": None, "etag": "", "sizeBytes": 4},
    ]
    document = {"fileLocations": [{"URIPrefixes": [file["uri"] for file in files]}], "files": files}
    assert job.files_of(document) == [
        ("s3://b/1", "v1", "e1"),
        ("s3://b/2", "null", None),
        ("s3://b/3", None, "e3"),
        ("s3://b/4", None, None),
    ]


def test_a_manifest_of_an_earlier_release_names_uris_only() -> None:
    document = {"fileLocations": [{"URIPrefixes": ["s3://b/1"]}, {"URIPrefixes": ["s3://b/2"]}]}
    assert job.files_of(document) == [("s3://b/1", None, None), ("s3://b/2", None, None)]


VERSION, ETAG, NEITHER = ("s3://b/k", "v", "e"), ("s3://b/k", None, "e"), ("s3://b/k", None, None)


@pytest.mark.parametrize(
    ("file", "arguments"), [(VERSION, {"VersionId": "v"}), (ETAG, {"IfMatch": '"e"'}), (NEITHER, {})]
)
def test_exactly_the_version_that_the_manifest_names_is_asked_for(file: job.File, arguments: dict[str, str]) -> None:
    s3: Any = mock.Mock()
    report = mock.Mock()
    s3.get_object.return_value = {"Body": "content"}
    assert job.open_file(s3, file, report) == "content"  # type: ignore[comparison-overlap]
    s3.get_object.assert_called_once_with(Bucket="b", Key="k", **arguments)
    report.assert_not_called()


@pytest.mark.parametrize(
    "code", ["NoSuchKey", "NoSuchVersion", "MethodNotAllowed", "PreconditionFailed", "AccessDenied"]
)
@pytest.mark.parametrize(
    ("file", "reported"),
    [
        (VERSION, {"NoSuchKey", "NoSuchVersion", "MethodNotAllowed"}),
        (ETAG, {"NoSuchKey", "PreconditionFailed"}),
        (NEITHER, {"NoSuchKey"}),
    ],
)
def test_a_version_that_is_gone_is_reported_and_any_other_error_is_raised(
    file: job.File, reported: set[str], code: str
) -> None:
    error = ClientError({"Error": {"Code": code}}, "GetObject")
    s3: Any = mock.Mock()
    report = mock.Mock()
    s3.get_object.side_effect = error
    if code in reported:
        assert job.open_file(s3, file, report) is None
        report.assert_called_once()
    else:
        with pytest.raises(ClientError):
            job.open_file(s3, file, report)
        report.assert_not_called()
    s3.get_object.assert_called_once()


# Which lines are data


def parse(raw: bytes) -> tuple[str, dict[str, Any] | None, str | None]:
    return job.parse_line(raw, job.strict_decoder())


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b' {"a": 1} \r',
        b'{"a": {"b": [1, "x", null]}, "": true}',
        '\ufeff{"a": "\u00fc"}'.encode(),
        b'{"A": 1, "a": 2}',
    ],
)
def test_a_json_object_is_data(raw: bytes) -> None:
    text, row, reason = parse(raw)
    assert reason is None
    assert text == raw.decode("utf-8-sig")
    assert row == json.loads(text)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b'{"a": 1', "delimiter"),
        (b'{"a": 1} x', "Extra data"),
        (b'{"a": 1}{"a": 2}', "Extra data"),
        (b"{'a': 1}", "double quotes"),
        (b"[1]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b'{"a": 1e999}', "1e999 is beyond the range of a double"),
        (b'{"a": {"b": 1, "b": 2}}', "an object names 'b' twice"),
        (b'{"a": "\\ud800x"}', "surrogates not allowed"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a":' * 100_000, "nested in each other"),
        (b'{"a": ' + b"[" * 800 + b"]" * 800 + b"}", "nested in each other"),
        (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
    ],
)
def test_any_other_line_is_malformed_with_a_reason(raw: bytes, says: str) -> None:
    text, row, reason = parse(raw)
    assert row is None
    assert reason
    assert says in reason
    assert text
    json.dumps(text).encode()


FRAGMENTS = [
    [b'{"a": [1', b"2]}"],
    [b'{"a": [1', b"2]}, {}"],
    [b'{"a": "', b'"}'],
    [b'{"a": "\\', b'"}'],
    [b'{"a": 1}, {"b": 2}', b'{"c": 3}'],
    [b"{}, {}, {}"],
    [b'{"a": 1', b'"b": 2}', b"{}"],
    [b'{"a": [{}', b"{}]}", b"{}", b"{}, {}"],
    [b"{}] , [{}", b"{}"],
    [b"[]", b"{}"],
    [b"{}", b"{}", b'{"a": NaN}'],
    [b'{"a": "\\ud800"}', b'{"a": "\\udc00"}'],
    [b'{"a": ' + b"[" * job.MAX_NESTING + b"]" * job.MAX_NESTING + b"}", b"{}"],
    [b'\xef\xbb\xbf{"a": 1}', b"{}"],
    [b'{"a": "\xc3', b'\xbc"}'],
]


@pytest.mark.parametrize("lines", FRAGMENTS)
def test_lines_that_are_json_only_together_are_looked_at_one_by_one(lines: list[bytes]) -> None:
    assert job.parse_together(lines, job.strict_decoder()) is None


@given(
    st.lists(
        st.sampled_from([line for lines in FRAGMENTS for line in lines])
        | st.text('{}[]",:\\1a ', min_size=1, max_size=12).map(str.encode),
        min_size=1,
        max_size=5,
    )
)
def test_lines_parsed_together_are_the_same_as_one_by_one(lines: list[bytes]) -> None:
    together = job.parse_together(lines, job.strict_decoder())
    each = [parse(line)[1] for line in lines]
    assert together is None or together == each


def test_a_surrogate_pair_is_a_character() -> None:
    assert parse(b'{"a": "\\ud83d\\uDE00"}')[1] == {"a": "\U0001f600"}


def test_a_line_that_is_nested_as_deeply_as_allowed_is_data_however_deep_the_stack_is() -> None:
    raw = b'{"a": ' + b"[" * (job.MAX_NESTING - 1) + b"]" * (job.MAX_NESTING - 1) + b"}"
    _, row, reason = parse(raw)
    assert reason is None
    assert row


def test_brackets_in_strings_do_not_count_as_nesting() -> None:
    assert parse(json.dumps({"a": "[" * 2000, '"{[': "\\" * 2000 + "{" * 2000}).encode())[2] is None


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_lines_are_split_correctly_wherever_the_chunks_end(size: int) -> None:
    content = b'{"a":1}\r\n\n{"b":"\xe2\x80\xa8"}\x0b\n{"c":3}'
    chunks = [content[start : start + size] for start in range(0, len(content), size)]
    assert list(job.split_lines(chunks)) == content.split(b"\n")


DIGITS_OF_DOUBLES = [
    "-0.0",
    "0.0",
    "0.1",
    "1.50",
    "1E5",
    "1e-7",
    "100.00e+02",
    "2.5E+00",
    "0e5",
    "-1.0",
    "1.7976931348623157e308",
]
"""A double gives them back, but for zeros and the form of the exponent."""
OTHER_DIGITS = [
    "12345678901234567890.12",
    "0.10000000000000000001",
    "0.30000000000000004000001",
    "1e-400",
    "-9007199254740993.0",
    "1e-99999999999999999999",
    "3.14159265358979323846",
]


@pytest.mark.parametrize("digits", DIGITS_OF_DOUBLES)
def test_a_number_that_a_double_gives_back_is_a_double(digits: str) -> None:
    _, row, _ = parse(f'{{"a": {digits}}}'.encode())
    assert row
    assert repr(row["a"]) == repr(float(digits))
    assert job.shape_of([row]) == {"a": "double"}


@pytest.mark.parametrize("digits", OTHER_DIGITS)
def test_a_number_that_no_double_gives_back_makes_its_column_text(digits: str) -> None:
    _, row, reason = parse(f'{{"a": {digits}}}'.encode())
    assert reason is None
    assert row
    for neighbour in (1.5, 1, None, "text"):
        assert column_type(job.shape_of([row, {"a": neighbour}])) == {"a": "string"}


@given(st.decimals(allow_nan=False, allow_infinity=False).map(str) | st.floats(-1e300, 1e300).map(repr))
def test_a_double_is_exact_or_refused(digits: str) -> None:
    if Decimal(digits).adjusted() > 300:
        return
    number = job.exact(digits)
    is_exact = Decimal(repr(float(digits))) == Decimal(digits)
    assert isinstance(number, float) is is_exact
    assert Decimal(number if isinstance(number, Decimal) else repr(number)) == Decimal(digits)


@pytest.mark.parametrize("digits", [*DIGITS_OF_DOUBLES, *OTHER_DIGITS, "-0", "18446744073709551616"])
def test_text_has_every_number_as_it_was_written(digits: str) -> None:
    text = f'{{"a": {digits}, "b": [ {digits}, "{digits}", "\\u00fc", null, true], "c": {{"d": {digits}}}}}'
    written = job.AsWritten([text.encode()]).row(0)
    shapes: dict[str, Shape] = {"a": "json", "b": "json", "c": {"d": "json"}}
    values = {name: job.with_text(json.loads(text)[name], written[name], shape) for name, shape in shapes.items()}
    assert values == {"a": digits, "b": f'[{digits},"{digits}","ü",null,true]', "c": {"d": digits}}


# The columns and their types


def shape_of(value: Any) -> Shape:
    return job.shape_of([value])


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ([1, 2], "long"),
        ([1, None], "long"),
        ([2**63 - 1, 1], "long"),
        ([2**63, 1], "decimal"),
        ([10**38, 1], "string"),
        ([1, 1.5], "double"),
        ([2**53 + 1, 1.5], "string"),
        ([2**63, 1.5], "string"),
        ([True, False], "boolean"),
        ([True, 1], "string"),
        ([1, "1"], "string"),
        ([None, None], "string"),
        ([{}, None], "string"),
        ([{"a": 1}, "text"], "string"),
        ([{"a": 1}, [1]], "string"),
        ([{"a": 1, "A": 1}, {}], "string"),
    ],
)
def test_a_field_has_the_narrowest_type_that_holds_all_its_values_exactly(values: list[Any], type_: str) -> None:
    for order in permutations(values):
        assert column_type(reduce(merge, map(shape_of, order))) == type_


def test_objects_are_merged_by_name_and_lists_by_element() -> None:
    shape = merge(shape_of({"a": [{"x": 1}, {"y": [1.5]}]}), shape_of({"a": [{"y": [1], "x": "t"}], "b": None}))
    assert shape == {"a": [{"x": "json", "y": ["double"]}], "b": "null"}
    assert column_type(shape) == {"a": [{"x": "string", "y": ["double"]}], "b": "string"}


def test_an_object_with_too_many_names_is_kept_as_text() -> None:
    one = {f"user-{number}": number for number in range(job.MAX_NAMES)}
    assert isinstance(column_type(shape_of(one)), dict)
    assert column_type(shape_of(one | {"user-x": 1})) == "string"
    assert merge(shape_of(one), shape_of({"user-x": 1})) == "json"


def test_a_value_that_is_nested_too_deeply_is_kept_as_text() -> None:
    value: Any = 1
    for _ in range(sys.getrecursionlimit() // 2):
        value = {"a": [value]}
    shape = shape_of(value)
    for _ in range(job.MAX_LEVELS // 2):
        assert isinstance(shape, dict)
        assert isinstance(shape["a"], list)
        shape = shape["a"][0]
    assert shape == "json"


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(documents, min_size=3, max_size=3))
def test_the_order_of_lines_and_files_does_not_matter(values: list[Any]) -> None:
    shapes: set[str] = set()
    for a, b, c in permutations(map(shape_of, values)):
        shapes.add(as_text(merge(merge(a, b), c)))
        shapes.add(as_text(merge(a, merge(b, c))))
    assert len(shapes) == 1


@given(st.lists(documents, min_size=1, max_size=6))
def test_the_shape_of_several_values_is_that_of_each_merged(values: list[Any]) -> None:
    assert job.shape_of(values) == reduce(merge, map(shape_of, values))


@given(documents, documents)
def test_merging_the_same_value_again_does_not_change_a_column(one: Any, other: Any) -> None:
    merged = merge(shape_of(one), shape_of(other))
    assert merge(merged, shape_of(one)) == merged == merge(shape_of(other), merged)


def as_text(shape: Shape) -> str:
    return json.dumps(shape, sort_keys=True)


def test_a_column_is_renamed_if_its_name_is_reserved_or_differs_from_another_name_in_case_only() -> None:
    names = ["id", "Date", "ID", "date_", "manifest", "source_file", "Id"]
    assert job.column_names(names) == {
        "id": "id",
        "Date": "Date_",
        "ID": "ID_",
        "date_": "date__",
        "manifest": "manifest_",
        "source_file": "source_file_",
        "Id": "Id__",
    }
