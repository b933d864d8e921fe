"""The page in a browser, used by a person who looks for a file."""

from itertools import combinations
from typing import Any

import pytest
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from dev.simulator.acts import DAY, NEXT_DAY
from dev.trace.machine import Machine
from tests.trace.conftest import HOSTILE_KEYS

MIXED, FAILING, RESUMING, VERSION, SWEEP = range(5)


def find(page: Chrome, selector: str) -> WebElement:
    return page.find_element(By.CSS_SELECTOR, selector)


def texts(page: Chrome, selector: str) -> list[str]:
    return [" ".join(element.text.split()) for element in page.find_elements(By.CSS_SELECTOR, selector)]


def state(page: Chrome, name: str) -> WebElement:
    return find(page, f'[data-state="{name}"]')


def style(page: Chrome, selector: str, name: str) -> str:
    return find(page, selector).value_of_css_property(name)


def choose(page: Chrome, execution: int) -> None:
    find(page, f"#pill-{execution}").click()


def click_state(page: Chrome, name: str) -> None:
    find(page, f'[data-state="{name}"] text').click()


def history(page: Chrome) -> list[str]:
    """The subjects of the history's entries, in their order."""
    return texts(page, "#entries .what")


def row_of(page: Chrome, key: str) -> str:
    (row,) = [row for row in texts(page, "#outcome tbody tr") if row.startswith(key)]
    return row


def press(page: Chrome, *keys: str) -> None:
    ActionChains(page).send_keys(*keys).perform()


def run(page: Chrome, script: str) -> Any:
    return page.execute_script(script)


def complaints(page: Chrome) -> object:
    return page.get_log("browser")  # type: ignore[no-untyped-call]


def test_it_opens_without_a_complaint_and_asks_the_network_for_nothing(tour: Chrome) -> None:
    for execution in (MIXED, FAILING, RESUMING, VERSION, SWEEP):
        choose(tour, execution)
    assert complaints(tour) == []
    assert run(tour, "return performance.getEntriesByType('resource').length") == 0


def test_why_a_file_was_refused_and_where_another_went_is_read_at_a_glance(tour: Chrome) -> None:
    assert row_of(tour, f"orders/{DAY}-orders.csv") == (
        f"orders/{DAY}-orders.csv 10.0 MB quarantined: Invalid extension quarantined"
    )
    assert "quarantined: Size 20.00MB out of range" in row_of(tour, f"orders/{DAY}-orders-large.ndjson")
    tracked = f"orders/{DAY}-orders-00.ndjson"
    manifest = row_of(tour, tracked).partition(" tracked in ")[2]
    assert "failed: RuntimeError: TrackFile broke" in row_of(tour, f"orders/{DAY}-orders-03.ndjson")
    assert row_of(tour, "message of somebody else").endswith("the body is JSON but not an S3 event")
    (row,) = [row for row in tour.find_elements(By.CSS_SELECTOR, "#outcome tr") if row.text.startswith(manifest)]
    row.find_element(By.TAG_NAME, "summary").click()
    assert tracked in row.text


BOXES = """
const box = (element) => {
  const { left, top, right, bottom } = element.getBoundingClientRect();
  return [left, top, right, bottom];
};
const groups = [...nodes.values()].filter(({ inside }) => !inside).map(({ group }) => group);
return {
  states: groups.map(box),
  shapes: groups.map((group) => box(group.querySelector(".shape"))),
  names: groups.map((group) => box(group.querySelector(".name"))),
  labels: [...document.querySelectorAll(".edge-label")].map(box),
};
"""


def test_every_state_is_drawn_once_and_nothing_covers_a_name(tour: Chrome) -> None:
    assert sorted(run(tour, "return [...nodes.keys()]")) == sorted(each.name for each in Machine.load().all_states())
    boxes = run(tour, BOXES)
    assert not [pair for pair in combinations(boxes["states"] + boxes["labels"], 2) if overlap(*pair)]
    assert all(is_inside(*pair) for pair in zip(boxes["names"], boxes["shapes"], strict=True))


def overlap(one: list[float], other: list[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def is_inside(one: list[float], other: list[float]) -> bool:
    return one[0] > other[0] and one[1] > other[1] and one[2] < other[2] and one[3] < other[3]


def test_the_picture_leads_from_the_start_down_to_the_end(tour: Chrome) -> None:
    spine = ["Source", "ForEachDate", "CheckThreshold", "AcquireLock", "CreateManifest", "ReleaseLock", "Done"]
    tops = [state(tour, name).rect["y"] for name in spine]
    assert tops == sorted(tops)


def test_colours_and_counts_say_what_happened(tour: Chrome) -> None:
    choose(tour, FAILING)
    ends = {name: state(tour, name).get_attribute("data-status") for name in ("TrackFile", "UpdateStatus", "Done")}
    assert ends == {"TrackFile": "run", "UpdateStatus": "failed", "Done": "idle"}
    assert is_red(style(tour, '[data-state="UpdateStatus"] .shape', "stroke"))
    assert not is_red(style(tour, '[data-state="TrackFile"] .shape', "stroke"))
    assert state(tour, "BuildManifest").get_attribute("data-status") == "caught"
    choose(tour, MIXED)
    assert texts(tour, '[data-state="ValidateFile"] .badge') == ["×9"]
    assert texts(tour, '[data-state="TrackFile"] .badge') == ["×7 1!"]
    assert texts(tour, '[data-state="ForEachFile"] .badge') == ["×2 · 9 items"]
    assert not is_red(style(tour, '[data-state="UpdateStatus"] .shape', "stroke"))


def is_red(colour: str) -> bool:
    red, green, blue = (int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))
    return red > 150 and green < 90 and blue < 90


def test_an_arrow_of_errors_is_dashed_and_marked_where_it_was_taken(tour: Chrome) -> None:
    assert style(tour, ".edge.catch.taken", "stroke-dasharray") != "none"
    assert style(tour, ".edge.taken:not(.catch)", "stroke-dasharray") == "none"
    taken = (
        "return edges.filter(({ line }) => line.matches('.catch.taken')).map(({ edge }) => edge.from + ' ' + edge.to)"
    )
    assert run(tour, taken) == ["TrackFile FileFailed"]
    choose(tour, FAILING)
    assert run(tour, taken) == ["BuildManifest ReleaseLock"]


def test_a_click_on_a_state_shows_its_visits_and_another_everything(tour: Chrome) -> None:
    everything = history(tour)
    click_state(tour, "QuarantineFile")
    assert history(tour) == ["QuarantineFile"] * 2
    assert state(tour, "QuarantineFile").get_attribute("aria-pressed") == "true"
    click_state(tour, "QuarantineFile")
    assert history(tour) == everything
    assert len(everything) > 50


def test_a_click_on_a_file_shows_its_way_through_the_machine(tour: Chrome) -> None:
    find(tour, f'[data-uri$="{DAY}-orders-03.ndjson"]').click()
    assert history(tour) == ["IsFileRemoved", "ValidateFile", "IsFileValid", "TrackFile", "FileFailed"]
    assert "dimmed" in (state(tour, "QuarantineFile").get_attribute("class") or "")
    assert "dimmed" not in (state(tour, "FileFailed").get_attribute("class") or "")
    find(tour, "#all").click()
    assert len(history(tour)) > 50


def test_a_visit_opens_to_its_input_its_output_and_its_events(tour: Chrome) -> None:
    find(tour, f'[data-uri$="{DAY}-orders.csv"]').click()
    (quarantine,) = [each for each in tour.find_elements(By.CSS_SELECTOR, ".entry") if "QuarantineFile" in each.text]
    quarantine.find_element(By.TAG_NAME, "summary").click()
    given, answered = texts(tour, ".entry[open] .body > div > pre")
    assert '"reason": "Invalid extension"' in given
    assert '"outcome": "quarantined"' in answered
    assert "LambdaFunctionSucceeded" in " ".join(texts(tour, ".entry[open] .event"))


def test_pills_switch_between_executions(tour: Chrome) -> None:
    choose(tour, FAILING)
    assert find(tour, '[aria-selected="true"]').text.startswith("✕\nBuild fails")
    assert texts(tour, "#summary .status") == ["FAILED"]
    assert "lock taken 1×, released 1×" in texts(tour, "#summary .fact")
    assert row_of(tour, "12-24 #1 created").endswith("not started")
    choose(tour, RESUMING)
    assert texts(tour, "#summary .status") == ["SUCCEEDED"]
    assert "run " in row_of(tour, "12-24 #1 resumed")
    assert f"orders/{NEXT_DAY}-orders-01.ndjson" in " ".join(texts(tour, "#outcome td"))


def test_a_file_is_found_in_every_execution_that_saw_it(tour: Chrome) -> None:
    find(tour, "#find").send_keys(f"{NEXT_DAY}-ORDERS-02")
    rows = texts(tour, "#outcome tbody tr")
    assert [row.split(" orders/")[0] for row in rows] == ["Build fails", "Redelivery resumes"]
    tour.find_elements(By.CSS_SELECTOR, "#outcome tbody .link.key")[1].click()
    assert find(tour, '[aria-selected="true"]').text.startswith("✓\nRedelivery resumes")
    assert history(tour) == ["IsFileRemoved", "ValidateFile", "IsFileValid", "TrackFile"]


def test_everything_is_reached_and_worked_by_the_keyboard(tour: Chrome) -> None:
    find(tour, "#find").click()
    press(tour, Keys.TAB, Keys.ARROW_RIGHT)
    assert tour.switch_to.active_element.get_attribute("id") == "pill-1"
    assert texts(tour, "#summary .status") == ["FAILED"]
    tab_to(tour, '[data-state="Source"]')
    press(tour, Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
    assert tour.switch_to.active_element.get_attribute("data-state") == "ParseEvent"
    press(tour, Keys.ENTER)
    assert history(tour) == ["ParseEvent"]
    press(tour, Keys.ESCAPE)
    assert len(history(tour)) > 20
    tab_to(tour, "#entries summary")
    assert tour.switch_to.active_element.value_of_css_property("outline-style") != "none"
    press(tour, Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ENTER)
    assert texts(tour, ".entry[open] .what") == ["ParseEvent"]


def tab_to(page: Chrome, selector: str) -> None:
    for _ in range(40):
        press(page, Keys.TAB)
        if page.switch_to.active_element == find(page, selector):
            return
    raise AssertionError(f"no Tab leads to {selector}")


def test_states_and_pills_have_names_and_roles_for_a_screen_reader(tour: Chrome) -> None:
    choose(tour, FAILING)
    assert state(tour, "UpdateStatus").accessible_name == "UpdateStatus, Lambda function: 1 visit, 1 failed"
    assert state(tour, "UpdateStatus").aria_role == "button"
    assert find(tour, "#pill-1").aria_role == "tab"
    assert "FAILED" in find(tour, "#pill-1").accessible_name


def test_hostile_keys_are_shown_and_do_nothing(hostile: Chrome) -> None:
    assert hostile.title == "hostile"
    assert complaints(hostile) == []
    assert hostile.find_elements(By.CSS_SELECTOR, "img, b > b") == []
    shown = texts(hostile, "#outcome .key")
    assert shown == [key.replace("\u202e", "\\u202e") for key in HOSTILE_KEYS]
    for link in hostile.find_elements(By.CSS_SELECTOR, "#outcome .key"):
        link.click()
        for summary in hostile.find_elements(By.CSS_SELECTOR, "#entries summary"):
            summary.click()
    assert hostile.title == "hostile"
    assert complaints(hostile) == []


def test_what_an_engine_does_not_report_is_hatched_and_said(emulated: Chrome) -> None:
    assert find(emulated, "#gap").is_displayed()
    statuses = {name: state(emulated, name).get_attribute("data-status") for name in ("IsFileValid", "ForEachFile")}
    assert set(statuses.values()) == {"untold"}
    assert "hatch" in style(emulated, '[data-state="IsFileValid"] .shape', "fill")
    assert state(emulated, "ValidateFile").get_attribute("data-status") == "run"
    assert state(emulated, "AcquireLock").get_attribute("data-status") == "idle"
    assert "ValidateFile logs debug: ended, valid" in history(emulated)
    choose(emulated, 1)
    assert not find(emulated, "#gap").is_displayed()
    assert state(emulated, "IsFileValid").get_attribute("data-status") == "idle"


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_it_is_light_or_dark_as_the_reader_likes_it(tour: Chrome, scheme: str, is_dark: bool) -> None:
    emulate(tour, {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    brightness = int(style(tour, "body", "background-color").partition("(")[2].partition(",")[0])
    emulate(tour, {"features": [{"name": "prefers-color-scheme", "value": "light"}]})
    assert (brightness < 100) == is_dark


def test_on_paper_everything_of_the_chosen_execution_is_there(tour: Chrome) -> None:
    emulate(tour, {"media": "print"})
    displayed = [pill.is_displayed() for pill in tour.find_elements(By.CSS_SELECTOR, "#pills button")]
    overflow = {style(tour, selector, "overflow-y") for selector in ("#graph", "#entries", "#outcome")}
    emulate(tour, {"media": ""})
    assert displayed == [True, False, False, False, False]
    assert overflow == {"visible"}


def emulate(page: Chrome, media: dict[str, object]) -> None:
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


def test_where_there_was_no_execution_it_says_so(empty: Chrome) -> None:
    assert texts(empty, "#summary") == ["There was no execution."]
    assert complaints(empty) == []
