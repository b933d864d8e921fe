"""The page as a file: it loads nothing else, and it is safe with any content."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dev.paths import EVENTS
from dev.trace.__main__ import main
from dev.trace.page import embed, write_page
from dev.trace.tour import messages_of
from tests.trace.emulated import execution


class Page(HTMLParser):
    """The texts of a page's scripts and styles, and its policy."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: dict[str, str] = {}
        self._open = ""
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        self._open = dict(attrs).get("id") or tag

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style", "data"):
            self.texts[self._open] = self.texts.get(self._open, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    @property
    def policy(self) -> str:
        return next(value for name, value in self.attributes if name == "content" and value and "default-src" in value)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    path = tmp_path_factory.mktemp("page") / "not there yet" / "page.html"
    write_page(path, "a page", [execution()], table_read="then")
    return Page(path)


def test_it_refers_to_nothing_outside_itself(page: Page) -> None:
    assert not [name for name, _ in page.attributes if name in ("src", "href")]
    addresses = set(re.findall(r"https?://[\w./-]+", page.texts["script"] + page.texts["style"]))
    assert addresses == {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize(("kind", "directive"), [("script", "script-src"), ("style", "style-src")])
def test_nothing_but_its_own_script_and_style_may_run(page: Page, kind: str, directive: str) -> None:
    digest = base64.b64encode(hashlib.sha256(page.texts[kind].encode()).digest()).decode()
    assert page.policy.startswith("default-src 'none';")
    assert f"{directive} 'sha256-{digest}'" in page.policy


def test_its_data_is_what_it_was_given(page: Page) -> None:
    data = json.loads(page.texts["data"])
    assert data["title"] == "a page"
    assert [each["status"] for each in data["executions"]] == ["SUCCEEDED"]


@pytest.mark.parametrize("text", ["</script><script>alert(1)</script>", "<!--<script>", "]]>", "&lt;", "\u2028"])
def test_no_text_ends_the_element_that_holds_the_data(text: str) -> None:
    embedded = embed({"key": text})
    assert not set("<>&\u2028") & set(embedded)
    assert json.loads(embedded) == {"key": text}


def test_an_event_is_run_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trace.html"
    event = EVENTS / "sqs_batch_with_poison.json"
    monkeypatch.setattr("sys.argv", ["trace", "--event", str(event), "--page", str(path)])
    assert main() == 0
    (drawn,) = json.loads(Page(path).texts["data"])["executions"]
    assert (drawn["title"], drawn["status"], drawn["messagesBack"]) == ("sqs_batch_with_poison", "SUCCEEDED", 1)
    assert [file["outcome"] for file in drawn["files"]] == ["tracked"] * 2


def test_an_event_that_is_not_there_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["trace", "--event", str(tmp_path / "no.json")])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "name an event, of tests/events say" in capsys.readouterr().err


def test_a_file_of_one_notification_is_the_body_of_one_message() -> None:
    text = (EVENTS / "s3_put.json").read_text()
    assert list(messages_of(text)) == [{"messageId": "message-1", "body": text}]
    assert list(messages_of("no event")) == [{"messageId": "message-1", "body": "no event"}]
