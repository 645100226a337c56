"""Reads a run's folder and its pages, and has a hostile text that must stay text."""

import json
from html.parser import HTMLParser
from pathlib import Path

ATTACK = "<script>document.title='owned'</script><img src=x onerror=alert(1)>"


class Text(HTMLParser):
    """The text that a reader sees: without tags, scripts and styles, with SVG titles."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag, attrs):
        self.hidden += tag in ("script", "style")
        self.parts += [value or "" for name, value in attrs if name in ("title", "aria-label")]

    def handle_endtag(self, tag):
        self.hidden -= tag in ("script", "style")

    def handle_data(self, data):
        if not self.hidden:
            self.parts.append(data)


def text_of(page: Path) -> str:
    parser = Text()
    parser.feed(page.read_text())
    return " ".join(" ".join(parser.parts).split())


def lines_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "measurements.jsonl").open()]
