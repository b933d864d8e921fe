"""docs/performance.md says what docs/performance.csv and dev/bench/prices.toml say."""

import pytest

from dev.bench import bars, page
from dev.bench.counts import Record
from dev.bench.runs import runs

AGAIN = "run `make bench`, or `make bench ARGS=--draw` where only a price or a setting has changed"


@pytest.fixture(scope="module")
def record() -> Record:
    return Record.read()


def test_the_figures_of_the_page_are_those_of_the_record(record: Record) -> None:
    written = page.PAGE.read_text()

    assert page.with_figures(written, record) == written, AGAIN


def test_every_block_of_figures_is_on_the_page() -> None:
    assert [name for _, name, _ in page.BLOCK.findall(page.PAGE.read_text())] == list(page.BLOCKS)


def test_a_block_that_nobody_makes_is_an_error(record: Record) -> None:
    with pytest.raises(KeyError, match="weather"):
        page.with_figures("<!-- figures: weather -->\n<!-- /figures -->", record)


def test_the_record_has_every_run(record: Record) -> None:
    assert list(record.counts) == [run.name for run in runs()], AGAIN


def test_the_plots_of_the_page_are_there() -> None:
    text = page.PAGE.read_text()

    assert {path.name for path in page.PAGE.parent.glob("performance-*.svg")} == set(page.plots_named_in(text))


def test_a_bar_that_is_missed_is_named_on_the_page(record: Record) -> None:
    missed = [bar.what for bar in bars.bars(record) if not bar.holds]

    assert page.reached(record).count("**no**") == len(missed)
