"""The tables of the embedded run."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from dev.run.report import MAX_ROWS, print_tables, print_verdict
from tests.run.kept import MANIFEST, MAX_BATCH_BYTES, PENDING, kept, manifest, row, version
from toolkit.facts import Facts
from toolkit.verdict import verify


def printed(facts: Facts, width: int = 80) -> str:
    output = io.StringIO()
    console = Console(file=output, width=width)
    print_tables(
        console,
        facts,
        {"2025-12-23-valid.ndjson": "a note"},
        max_batch_bytes=MAX_BATCH_BYTES,
        flush_after_minutes=10**9,
    )
    print_verdict(console, facts, verify(facts, MAX_BATCH_BYTES), seconds=1)
    return output.getvalue()


@pytest.mark.parametrize("width", [80, 120, 200])
def test_every_file_is_listed_with_what_became_of_it(width: int) -> None:
    lines = printed(kept(), width)
    assert "in 12-23 #2" in lines
    assert "quarantined: Invalid" in lines
    assert "pending" in lines
    assert "deleted" in lines
    assert "a note" in lines


def test_a_key_is_shown_so_that_no_terminal_obeys_it() -> None:
    strange = replace(kept().files[0], uri="s3://input/2025-12-23\x1b[31m.ndjson")
    assert "2025-12-23\\x1b[31m.ndjson" in printed(replace(kept(), files=[strange]), 200)


def test_a_file_that_was_uploaded_twice_shows_where_both_versions_are() -> None:
    text = " ".join(printed(kept(), 200).split())
    assert "in 12-23 #1, an older version" in text
    assert text.count("an older version") == 1


def test_a_file_that_is_named_but_not_marked_yet_says_where() -> None:
    cut_short = replace(kept(), manifests=[*kept().manifests, manifest(MANIFEST + "2", version(PENDING))])
    text = " ".join(printed(cut_short, 200).split())
    assert "pending named in 12-23 #3" in text


def test_a_problem_keeps_its_uri_whole_in_any_terminal() -> None:
    facts = replace(kept(), files=[file for file in kept().files if file.uri != PENDING])
    assert f"{PENDING} is not in the table" in printed(facts, 40)


@pytest.mark.parametrize("width", [80, 120, 200])
def test_every_manifest_shows_its_run_and_state_in_any_terminal(width: int) -> None:
    text = printed(kept(), width)
    assert text.count("SUCCEEDED") == len(kept().manifests)
    assert all(each.path.removeprefix("s3://manifests/") in text for each in kept().manifests)


def test_a_manifest_whose_job_was_not_started_says_so() -> None:
    assert printed(replace(kept(), runs=[])).count("not started") == len(kept().manifests)


def test_what_is_pending_says_why() -> None:
    text = " ".join(printed(kept(), 200).split())
    assert "10% of a manifest: more files of this date fill it, or the sweep takes them in" in text


def test_a_file_that_the_workflow_lost_is_listed_too() -> None:
    facts = replace(kept(), files=[file for file in kept().files if file.uri != PENDING])
    text = printed(facts, 200)
    assert "unknown to the workflow" in text
    assert f"{PENDING} is not in the table" in text
    assert "promise NOT kept" in text


def test_of_many_files_those_that_need_a_look_are_shown() -> None:
    many = [row(f"s3://input/2025-12-23-{number:04}.ndjson", "manifested") for number in range(MAX_ROWS + 100)]
    text = " ".join(printed(replace(kept(), files=many + kept().files), 200).split())
    assert "106 more files are not shown" in text
    assert "quarantined: Invalid extension" in text


def test_the_verdict_of_a_kept_promise_counts_everything() -> None:
    assert "promise kept: 5 files in 6 versions, 2 manifests, 2 Glue runs, 1 s" in printed(kept(), 200)
