"""The default Glue job without Spark: which run does the work, which lines are data, and the types of their columns."""

import json
import sys
from collections.abc import Callable
from decimal import Decimal
from functools import reduce
from itertools import permutations
from typing import Any
from unittest import mock

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from dev.simulator.world import TRACKING_TABLE
from glue import ndjson_to_parquet as job
from glue.ndjson_to_parquet import Shape, column_type, merge
from tests.glue import table
from tests.template.catalog import make_table
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
        "COLUMN_TYPES": "",
        "GLUE_DATABASE": "",
        "GLUE_TABLE": "",
    }
    assert job.parse([*argv.split(), "--COLUMN_TYPES", "a DOUBLE, b BIGINT"]).COLUMN_TYPES == "a DOUBLE, b BIGINT"


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
    types: job.Schema = {"a": "string", "b": "string", "c": {"d": "string"}}
    assert stored_of(types, text) == (
        {"a": digits, "b": f'[{digits},"{digits}","ü",null,true]', "c": {"d": digits}},
        None,
    )
    # Lists do not fit.
    _, rest = stored_of({name: ["boolean"] for name in types}, text)
    assert rest == text.replace("\\u00fc", "ü").replace(" ", "")


def stored_of(types: job.Schema, text: str) -> tuple[Any, str | None]:
    """The columns of a line, and its _rescued."""
    _, row, _ = parse(text.encode())
    assert row is not None
    written = job.AsWritten([text.encode()])
    stored, rest = job.fit(types, row, {name: written.value(0, name, value) for name, value in row.items()})
    return stored, None if rest is None else job.as_json(rest)


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
        ([None, None], None),
        ([{}, None], None),
        ([[], None], None),
        ([[{}, None], []], None),
        ([[], {}], "string"),
        ([{}, 1], "string"),
        ([[], [1]], ["long"]),
        ([{"a": []}, {"b": 1}], {"b": "long"}),
        ([{"a": 1}, "text"], "string"),
        ([{"a": 1}, [1]], "string"),
        ([{"a": 1, "A": 1}, {}], "string"),
    ],
)
def test_a_field_has_the_narrowest_type_that_holds_all_its_values_exactly(
    values: list[Any], type_: "job.ColumnType | None"
) -> None:
    for order in permutations(values):
        assert column_type(reduce(merge, map(shape_of, order))) == type_


def test_objects_are_merged_by_name_and_lists_by_element() -> None:
    shape = merge(shape_of({"a": [{"x": 1}, {"y": [1.5]}]}), shape_of({"a": [{"y": [1], "x": "t"}], "b": None}))
    assert shape == {"a": [{"x": "json", "y": ["double"]}], "b": "null"}
    assert column_type(shape) == {"a": [{"x": "string", "y": ["double"]}]}


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


# The schema


def extended(schema: job.Schema, *rows: dict[str, Any]) -> job.Schema:
    return job.extend(schema, job.growth_of_rows(schema, job.Fields(rows)))


def test_new_fields_become_columns_at_the_end_and_no_type_changes() -> None:
    schema = extended({}, {"b": 1, "a": {"x": 1}, "l": [{"x": 1}]})
    grown = extended(schema, {"c": True, "a": {"w": "t", "x": 2.5}, "b": "text", "l": [{"v": 1.5}, 7]})
    assert job.is_same(
        grown, {"b": "long", "a": {"x": "long", "w": "string"}, "l": [{"x": "long", "v": "double"}], "c": "boolean"}
    )


@pytest.mark.parametrize("value", [None, [], {}, [[]], [None], [{}], {"a": {"b": []}}])
def test_a_field_whose_type_no_value_tells_is_no_column_yet(value: Any) -> None:
    assert extended({"s": {"x": "long"}}, {"new": value, "s": {"y": value}}) == {"s": {"x": "long"}}
    assert extended({}, {"new": value}, {"new": 1})["new"] == ("long" if value is None else "string")


def test_fields_of_objects_beside_other_values_become_fields_of_the_struct() -> None:
    assert extended({"a": {"x": "long"}}, {"a": "text"}, {"a": {"y": 1}}) == {"a": {"x": "long", "y": "long"}}


def test_a_struct_gets_no_field_that_differs_from_another_in_case_only() -> None:
    assert extended({"a": {"x": "long"}}, {"a": {"X": 1, "y": 1, "Y": 2}}) == {"a": {"x": "long", "y": "long"}}
    assert stored_of({"a": {"x": "long"}}, '{"a":{"x":1,"X":2.50}}') == ({"a": {"x": 1}}, '{"a":{"X":2.50}}')


def test_a_column_beyond_a_struct_of_too_many_fields_is_rescued() -> None:
    full: job.ColumnType = {f"f{number}": "long" for number in range(job.MAX_NAMES)}
    assert extended({"a": full}, {"a": {"one more": 1}}) == {"a": full}
    most: dict[str, job.ColumnType] = {f"f{number}": "long" for number in range(job.MAX_NAMES - 1)}
    assert extended({"a": most}, {"a": {"one more": 1}})["a"] == most | {"one more": "long"}
    assert extended({"a": most}, {"a": {"one more": 1, "two": 2}}) == {"a": most}
    assert extended({"a": most}, {"a": {f"g{number}": 1 for number in range(2 * job.MAX_NAMES)}}) == {"a": most}


def test_a_schema_has_no_more_columns_than_a_limit() -> None:
    most: job.Schema = {f"f{number}": "long" for number in range(job.MAX_NAMES - 1)}
    assert len(extended(most, {"one more": 1})) == job.MAX_NAMES
    assert extended(most, {"one more": 1, "two": 2}) == most
    assert extended(most, {f"g{number}": 1 for number in range(2 * job.MAX_NAMES)}) == most


def test_fields_that_are_null_do_not_count_against_the_limit() -> None:
    half = job.MAX_NAMES // 2 + 1
    batches = [job.Fields([{f"{value}{number}": value for number in range(half)}]) for value in (None, 1)]
    assert len(job.extend({}, reduce(merge, (job.growth_of_rows({}, batch) for batch in batches)))) == half


def test_schemas_of_another_order_are_not_the_same() -> None:
    assert not job.is_same({"a": "long", "b": "long"}, {"b": "long", "a": "long"})
    assert not job.is_same({"s": {"a": "long", "b": "long"}}, {"s": {"b": "long", "a": "long"}})


@pytest.mark.parametrize(
    ("type_", "digits", "stored"),
    [
        ("long", "2.0", 2),
        ("long", "-20e-1", -2),
        ("long", "-0.0", 0),
        ("long", "9007199254740993.0", 2**53 + 1),
        ("long", str(2**63 - 1), 2**63 - 1),
        ("long", "1234567890123456700.0", 1234567890123456700),
        ("long", "2.5", None),
        ("long", str(2**63), None),
        ("long", "1e19", None),
        ("long", "1e-99999999999999999999", None),
        ("long", "true", None),
        ("long", '"1"', None),
        ("decimal", str(10**38 - 1), 10**38 - 1),
        ("decimal", "1e37", 10**37),
        ("decimal", "1e38", None),
        ("decimal", "0.1", None),
        ("double", "3", 3.0),
        ("double", str(2**60), 2.0**60),
        ("double", str(2**60 + 1), None),
        ("double", "1" + "0" * 400, None),
        ("double", "12345678901234567890.12", None),
        ("double", "true", None),
        ("boolean", "false", False),
        ("boolean", "0", None),
        (["long"], "[1,null,2.0]", [1, None, 2]),
        (["long"], "[1,2.5]", None),
        (["long"], "7", None),
        ([{"a": "long"}], '[{"a":1.0},{}]', [{"a": 1}, {}]),
        ([{"a": "long"}], '[{"a":1},{"b":[]}]', None),
        ([["string"]], '[["x",{"y": 1.50}]]', [["x", '{"y":1.50}']]),
        ({"a": "long"}, '{"b":null}', {}),
        ({"a": "long"}, "[]", None),
    ],
)
def test_a_value_is_stored_exactly_or_rescued_as_it_is_written(type_: job.ColumnType, digits: str, stored: Any) -> None:
    found, rest = stored_of({"f": type_}, f'{{"f":{digits}}}')
    assert repr(found["f"]) == repr(stored)
    assert rest == (f'{{"f":{digits}}}' if stored is None else None)


def test_only_the_parts_of_an_object_that_do_not_fit_are_rescued() -> None:
    schema: job.Schema = {"a": "long", "s": {"x": "long", "deep": {"y": "long"}}}
    line = '{"a":1.5,"s":{"x":1,"deep":{"y":"t","z":[1.50,null]},"w":{}},"new":null}'
    assert stored_of(schema, line) == (
        {"a": None, "s": {"x": 1, "deep": {"y": None}}},
        '{"a":1.5,"s":{"deep":{"y":"t","z":[1.50,null]},"w":{}}}',
    )


types = st.recursive(
    st.sampled_from(["boolean", "long", "double", "decimal", "string"]),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=1) | st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3)
    ),
    max_leaves=6,
)


@given(types, documents)
def test_what_is_stored_and_the_rest_are_the_value(type_: job.ColumnType, value: Any) -> None:
    line = json.dumps({"f": value})
    stored, rest = stored_of({"f": type_}, line)
    whole = table.parsed(line)
    assert table.is_whole(whole, stored, None if rest is None else table.parsed(rest))
    if job.fits(type_, job.shape_of([value])):
        assert (stored, rest) == ({"f": value}, None) or table.is_same(whole["f"], value)
        assert rest is None


@given(st.lists(st.dictionaries(st.sampled_from("abcA"), documents, max_size=4), min_size=1, max_size=6))
def test_extending_again_by_the_same_rows_changes_nothing(rows: list[dict[str, Any]]) -> None:
    schema = extended({}, *rows)
    assert job.is_same(extended(schema, *rows), schema)
    assert job.is_same(job.of_spark(job.to_spark(schema)), schema)
    for number in range(len(rows)):
        # In two manifests, the types of the first one stay.
        first = extended({}, *rows[:number])
        both = extended(first, *rows[number:])
        assert list(both)[: len(first)] == list(first)
        assert all(keeps(first[name], both[name]) for name in first)


def keeps(before: job.ColumnType, after: job.ColumnType) -> bool:
    if isinstance(before, list) and isinstance(after, list):
        return keeps(before[0], after[0])
    if isinstance(before, dict) and isinstance(after, dict):
        return list(after)[: len(before)] == list(before) and all(keeps(before[name], after[name]) for name in before)
    return before == after


@given(
    st.lists(st.dictionaries(st.sampled_from("abcA"), documents, max_size=4), min_size=1, max_size=6), st.integers(0, 6)
)
def test_the_growth_of_several_batches_is_that_of_each_merged(rows: list[dict[str, Any]], cut: int) -> None:
    schema: job.Schema = {"a": {"x": "long", "a": "long"}, "b": [{"a": "double"}]}

    def growth(part: list[dict[str, Any]]) -> Shape:
        return job.growth_of_rows(schema, job.Fields(part))

    assert merge(growth(rows[:cut]), growth(rows[cut:])) == growth(rows)


def test_fixed_types_hold_for_fields_without_a_column_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    schema: job.Schema = {"a": "long", "s": {"x": "long", "y": "long"}, "l": ["long"]}
    fixed: job.Schema = {"b": "double", "a": "double", "s": {"x": "long"}, "l": ["double"]}
    assert job.is_same(job.with_fixed(schema, fixed), schema | {"b": "double"})
    job.warn_of_kept_types(schema, fixed)
    assert [record.getMessage() for record in caplog.records] == [
        'the column of \'a\' keeps its type "long"; ColumnTypes says "double", which has no effect',
        "the column of 'l' keeps its type "
        '{"type": "array", "elementType": "long", "containsNull": true}; ColumnTypes says '
        '{"type": "array", "elementType": "double", "containsNull": true}, which has no effect',
    ]


def test_fixed_types_of_too_many_columns_are_a_mistake() -> None:
    most: job.Schema = {f"f{number}": "long" for number in range(job.MAX_NAMES)}
    assert job.with_fixed(most, {"f1": "double"}) == most
    with pytest.raises(job.Mistake, match="more than 1000 columns: name fewer"):
        job.with_fixed(most, {"one more": "long"})


def test_fixed_types_may_come_from_a_document_in_s3(s3: Any) -> None:
    fixed: job.Schema = {"a": "double", "date": ["long"]}
    s3.put_object(Bucket=BUCKET, Key="types.json", Body=job.to_spark(fixed))
    assert job.read_column_types(mock.Mock(), f"s3://{BUCKET}/types.json") == fixed
    assert job.read_column_types(mock.Mock(), "") == {}
    s3.put_object(Bucket=BUCKET, Key="types.json", Body=b"{}")
    for uri, says in ((f"s3://{BUCKET}/types.json", "not a schema"), (f"s3://{BUCKET}/gone", "NoSuchKey")):
        with pytest.raises(job.Mistake, match=f"ColumnTypes '{uri}' cannot be read: .*{says}.*Write Spark's DDL"):
            job.read_column_types(mock.Mock(), uri)


# The document of the schema

BUCKET, KEY = "output-bucket", "out/schema.json"


@pytest.fixture
def s3(account: Account) -> Any:
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    return client


def adds(**types: job.ColumnType) -> Callable[[job.Schema], job.Schema]:
    return lambda schema: types | schema if not schema else schema | {n: t for n, t in types.items() if n not in schema}


def test_the_document_is_a_schema_of_spark_with_all_columns_of_the_table() -> None:
    schema: job.Schema = {"id": "long", "date": "boolean", "ID": [{"x": "decimal"}]}
    document = json.loads(job.to_spark(schema))
    decimals = {"name": "x", "type": "decimal(38,0)", "nullable": True, "metadata": {}}
    assert document["type"] == "struct"
    assert {(field["name"], str(field["type"]), str(field["metadata"])) for field in document["fields"]} == {
        ("id", "long", "{}"),
        ("date_", "boolean", "{'field': 'date'}"),
        (
            "ID_",
            str({"type": "array", "elementType": {"type": "struct", "fields": [decimals]}, "containsNull": True}),
            "{'field': 'ID'}",
        ),
        *((name, "string", "{}") for name in ("_rescued", "source_file", "date", "manifest")),
    }


def test_a_run_extends_the_document_and_writes_nothing_if_nothing_is_new(s3: Any) -> None:
    assert job.read_schema(s3, BUCKET, KEY) == ({}, None)
    assert job.extend_document(s3, BUCKET, KEY, adds()) == {}
    assert job.read_schema(s3, BUCKET, KEY) == ({}, None)
    job.extend_document(s3, BUCKET, KEY, adds(a="long"))
    assert job.extend_document(s3, BUCKET, KEY, adds(a="string", b="double")) == {"a": "long", "b": "double"}
    schema, etag = job.read_schema(s3, BUCKET, KEY)
    assert schema == {"a": "long", "b": "double"}
    with mock.patch.object(job, "put_if_unchanged", side_effect=AssertionError):
        assert job.extend_document(s3, BUCKET, KEY, adds(b="long")) == schema
    assert job.read_schema(s3, BUCKET, KEY) == (schema, etag)


def test_the_document_is_written_only_if_it_is_still_the_one_that_was_read(s3: Any) -> None:
    def put(body: bytes, etag: str | None) -> bool:
        return job.put_if_unchanged(s3, BUCKET, KEY, body, etag)

    assert put(b"1", None)
    assert not put(b"2", None)
    etag = s3.head_object(Bucket=BUCKET, Key=KEY)["ETag"]
    assert put(b"3", etag)
    assert not put(b"4", etag)
    assert s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == b"3"
    # Other writes of the same client have no condition.
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"5")


@pytest.mark.parametrize("status", ["PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"])
def test_a_run_that_loses_the_race_reads_again_and_extends_what_the_other_wrote(s3: Any, status: str) -> None:
    put, refusals = job.put_if_unchanged, iter([status])

    def another_is_first(*arguments: Any) -> bool:
        if next(refusals, None):
            put(s3, BUCKET, KEY, job.to_spark({"other": "string", "a": "double"}), None)
            with failing(s3, "put_object", aws_error(status)):
                return put(*arguments)
        return put(*arguments)

    with mock.patch.object(job, "put_if_unchanged", another_is_first), mock.patch.object(job, "SCHEMA_WAIT_SECONDS", 0):
        schema = job.extend_document(s3, BUCKET, KEY, adds(a="long", b="long"))
    assert job.is_same(schema, {"other": "string", "a": "double", "b": "long"})
    assert job.read_schema(s3, BUCKET, KEY)[0] == schema


def test_a_run_that_loses_every_race_gives_up_with_the_name_of_the_document(s3: Any) -> None:
    with (
        mock.patch.object(job, "put_if_unchanged", return_value=False) as put,
        mock.patch.object(job, "SCHEMA_WAIT_SECONDS", 0),
        pytest.raises(RuntimeError, match=f"s3://{BUCKET}/{KEY}"),
    ):
        job.extend_document(s3, BUCKET, KEY, adds(a="long"))
    assert put.call_count == job.SCHEMA_TRIES


def test_any_other_error_of_the_document_is_raised(s3: Any) -> None:
    refusal = aws_error("AccessDenied")
    with failing(s3, "put_object", refusal), pytest.raises(type(refusal)):
        job.extend_document(s3, BUCKET, KEY, adds(a="long"))
    with failing(s3, "get_object", refusal), pytest.raises(type(refusal)):
        job.read_schema(s3, BUCKET, KEY)


def field(name: str, type_: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, "nullable": True, "metadata": {}}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("{", "delimiter|property name"),
        ("[]", "not a schema"),
        ('{"type": "array"}', "not a schema"),
        ({"a": "integer"}, "column 'a' has the type integer; the types are boolean, long"),
        ({"a": "decimal"}, "the type decimal; the types are .*decimal.38,0."),
        ({"a": {"type": "map", "keyType": "string"}}, "column 'a' has the type map"),
        ({"a": {"type": "struct", "fields": [field("b", "date")]}}, "column 'a.b' has the type date"),
        ({"a": {"type": "struct", "fields": []}}, "struct 'a' has no fields"),
        ({"a": {"type": "struct", "fields": [field("b", "long"), field("B", "long")]}}, "differ in case only"),
        ({"a": {"type": "struct", "fields": [field("b", "long"), field("b", "long")]}}, "names 'a.b' twice"),
        ({f"f{number}": "long" for number in range(job.MAX_NAMES + 1)}, "more than 1000"),
    ],
)
def test_a_document_that_is_no_schema_is_a_mistake_that_is_named(s3: Any, document: Any, says: str) -> None:
    if isinstance(document, dict):
        fields = [field(name, type_) for name, type_ in document.items()]
        document = json.dumps({"type": "struct", "fields": fields})
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=document.encode())
    with pytest.raises(job.Mistake, match=f"s3://{BUCKET}/{KEY} is no schema: .*({says})"):
        job.read_schema(s3, BUCKET, KEY)


# The table in the catalog

VALUES, LOCATION = [DATE, "batch-0001-a"], "s3://output/parquet/date=2025-12-23/manifest=batch-0001-a/"


@pytest.fixture
def glue(account: Account) -> Any:
    return make_table("lake", "rows")


@pytest.fixture
def catalog(glue: Any) -> job.Catalog:
    return job.Catalog("lake", "rows")


def columns_of_table(glue: Any) -> dict[str, str]:
    columns = glue.get_table(DatabaseName="lake", Name="rows")["Table"]["StorageDescriptor"]["Columns"]
    return {column["Name"]: column["Type"] for column in columns}


def partitions(glue: Any) -> list[Any]:
    return list(glue.get_partitions(DatabaseName="lake", TableName="rows")["Partitions"])


def test_a_manifest_is_a_partition_and_its_columns_are_those_of_the_table(glue: Any, catalog: job.Catalog) -> None:
    before = glue.get_table(DatabaseName="lake", Name="rows")["Table"]
    catalog.add_partition(VALUES, LOCATION, lambda: {"Id": "long", "date": "boolean"})
    (partition,) = partitions(glue)
    after = glue.get_table(DatabaseName="lake", Name="rows")["Table"]
    expected = {"_rescued": "string", "source_file": "string", "id": "bigint", "date_": "boolean"}
    assert columns_of_table(glue) == expected
    assert list(columns_of_table(glue)) == list(expected)
    assert partition["Values"] == VALUES
    assert partition["StorageDescriptor"] == after["StorageDescriptor"] | {"Location": LOCATION}
    for name in ("TableType", "Parameters", "PartitionKeys", "Description"):
        assert after[name] == before[name]


def test_a_partition_that_exists_gets_the_columns_of_today(glue: Any, catalog: job.Catalog) -> None:
    catalog.add_partition(VALUES, LOCATION, lambda: {"a": "long"})
    catalog.add_partition(VALUES, LOCATION, lambda: {"a": "long", "b": "long"})
    (partition,) = partitions(glue)
    assert len(partition["StorageDescriptor"]["Columns"]) == 4


def test_a_partition_is_removed_once_or_was_never_there(glue: Any, catalog: job.Catalog) -> None:
    catalog.remove_partition(VALUES)
    catalog.add_partition(VALUES, LOCATION, dict)
    catalog.remove_partition(VALUES)
    assert partitions(glue) == []


def test_a_table_with_the_columns_of_the_schema_is_left_alone(glue: Any, catalog: job.Catalog) -> None:
    catalog.add_partition(VALUES, LOCATION, lambda: {"a": "long"})
    with failing(catalog._glue, "update_table", AssertionError()):
        catalog.add_partition(VALUES, LOCATION, lambda: {"a": "long"})


def test_a_run_that_another_overtakes_reads_table_and_schema_again(glue: Any, catalog: job.Catalog) -> None:
    """A stub refuses the update, since moto takes any version."""
    schemas: list[job.Schema] = [{"a": "long", "b": "long"}, {"a": "long"}]
    versions = []
    client = catalog._glue
    update, refusal = client.update_table, client.exceptions.ConcurrentModificationException

    def refuse_once(**arguments: Any) -> None:
        versions.append(arguments["VersionId"])
        if len(versions) == 1:
            glue.update_table(DatabaseName="lake", TableInput=arguments["TableInput"] | {"Description": "other"})
            raise refusal({"Error": {"Code": "ConcurrentModificationException"}}, "UpdateTable")
        assert arguments["SkipArchive"]
        update(**arguments)

    with (
        mock.patch.object(client, "update_table", refuse_once),
        mock.patch.object(job, "SCHEMA_WAIT_SECONDS", 0),
    ):
        catalog.add_partition(VALUES, LOCATION, schemas.pop)
    assert versions == ["1", "2"]
    assert set(columns_of_table(glue)) == {"_rescued", "source_file", "a", "b"}
    assert glue.get_table(DatabaseName="lake", Name="rows")["Table"]["Description"] == "other"
    with (
        mock.patch.object(client, "update_table", side_effect=refusal({"Error": {}}, "UpdateTable")),
        mock.patch.object(job, "SCHEMA_WAIT_SECONDS", 0),
        pytest.raises(RuntimeError, match="table rows"),
    ):
        catalog.add_partition(VALUES, LOCATION, lambda: {"c": "long"})


def test_a_table_that_is_gone_is_a_mistake_with_a_remedy(glue: Any, catalog: job.Catalog) -> None:
    glue.delete_table(DatabaseName="lake", Name="rows")
    catalog.remove_partition(VALUES)
    with pytest.raises(job.Mistake, match=r"no table lake\.rows: deploy"):
        catalog.add_partition(VALUES, LOCATION, dict)


@pytest.mark.parametrize(
    ("type_", "hive"),
    [
        ("long", "bigint"),
        ("decimal", "decimal(38,0)"),
        (["double"], "array<double>"),
        (
            {"A b": "string", "x.y$": [{"z": "boolean"}], "\u00e9": "long"},
            "struct<a b:string,x.y$:array<struct<z:boolean>>,\u00e9:bigint>",
        ),
        ({"a-b": "long", "c": "long"}, "struct<c:bigint>"),
        (dict.fromkeys(("", "a:b", "a,b", "a<b", "a>b", "a/b", "😀"), "long"), None),
        ([{"a:b": "long"}], None),
    ],
)
def test_a_column_has_a_type_of_hive_without_fields_that_hive_cannot_name(
    type_: job.ColumnType, hive: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    assert job.hive_type(type_) == hive
    listed = job.catalog_columns({"f": type_})
    assert listed[2:] == ([{"Name": "f", "Type": hive}] if hive else [])
    assert ("'f' is not in the catalog" in caplog.text) is (hive is None)


@pytest.mark.parametrize("name", ["", "x" * 256, "a\nb"])
def test_a_column_that_the_catalog_cannot_name_is_left_out_and_logged(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(job.catalog_columns({name: "long", "b": "long"})) == 3
    assert repr(name) in caplog.text
