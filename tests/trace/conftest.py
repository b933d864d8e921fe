"""Pages in a headless Chromium, each opened anew for every test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from dev.pictures.browser import BrowserMissing, headless_chromium
from dev.simulator.world import World
from dev.trace.data import Execution
from dev.trace.page import write_page
from dev.trace.tour import run, trace_tour
from tests.trace.emulated import execution

HOSTILE_KEYS = [
    '2025-12-23 <img src=x onerror="document.title=1">.csv',
    "2025-12-23 </script><script>document.title=1</script><!--.ndjson",
    "2025-12-23 \u202enosjdn.csv",
]


HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker: the tests share a browser and the executions, which take seconds."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("trace"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Chrome]:
    try:
        with headless_chromium(1280, 800) as window:
            yield window
    except BrowserMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def tour_executions() -> list[Execution]:
    return trace_tour()[1]


@pytest.fixture(scope="session")
def tour_file(browser: Chrome, tour_executions: list[Execution], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tour") / "trace.html"
    write_page(path, "tour", tour_executions, table_read="Afterwards")
    return path


@pytest.fixture
def tour(browser: Chrome, tour_file: Path) -> Chrome:
    """The page of the tour, just opened."""
    browser.get(tour_file.as_uri())
    return browser


@pytest.fixture
def hostile(browser: Chrome, tmp_path: Path) -> Chrome:
    """A page of files whose keys try to be markup."""
    with World() as world:
        messages = [world.upload(key, 1024**2) for key in HOSTILE_KEYS]
        execution = run(
            world, "<b>hostile</b>", "<script>document.title=1</script>", lambda world: world.deliver(*messages)
        )
    path = tmp_path / "hostile.html"
    write_page(path, "hostile", [execution], table_read="Afterwards")
    browser.get(path.as_uri())
    return browser


@pytest.fixture
def emulated(browser: Chrome, tmp_path: Path) -> Chrome:
    """A page of executions with incomplete histories: one with files, and one without work."""
    path = tmp_path / "emulated.html"
    write_page(path, "emulated", [execution(), execution(dates=False)], table_read="At the end")
    browser.get(path.as_uri())
    return browser


@pytest.fixture
def empty(browser: Chrome, tmp_path: Path) -> Chrome:
    """A page without executions."""
    path = tmp_path / "empty.html"
    write_page(path, "empty", [], table_read="At the end")
    browser.get(path.as_uri())
    return browser
