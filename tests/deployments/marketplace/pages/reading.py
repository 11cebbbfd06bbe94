"""Pages, read: links, fields and text as a browser finds them."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "link", "input", "br"}


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.texts, self._open = [], [], []
        self.forms, self._form = {}, {}
        self.feed(html)
        self.close()
        assert self._open == [], "every element is closed"

    def handle_starttag(self, tag, attrs):
        """One more."""
        found = dict(attrs)
        self.elements.append((tag, found))
        if tag == "form":
            self._form = self.forms.setdefault(found["action"], {})
        if tag == "input" and found.get("type") == "hidden":
            self._form[found["name"]] = found["value"]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """As SVG has them."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        """Of the one that was opened last."""
        assert self._open.pop() == tag

    def handle_data(self, data):
        """What stands between."""
        self.texts.append(data)

    def fault(self, name):
        """What is told at a field."""
        (marked,) = [
            found for _, found in self.elements if found.get("name") == name or name == found.get("id")
        ][:1]
        assert marked.get("aria-invalid") == "true", name
        return marked["aria-describedby"]

    @property
    def text(self):
        """All of it, spaces made one."""
        return " ".join(" ".join(self.texts).split())

    def all(self, tag, **having):
        """The attributes of these elements."""
        return [
            found
            for name, found in self.elements
            if name == tag and all(found.get(key) == value for key, value in having.items())
        ]

    def links(self, beginning):
        """Where links lead that begin so, in their order."""
        return [found["href"] for found in self.all("a") if found.get("href", "").startswith(beginning)]


def read(answer):
    """The page that was answered."""
    assert answer.headers["content-type"] == "text/html; charset=utf-8", answer.text
    return Page(answer.text)


def rows(answer):
    """The machines of the list, in order."""
    page = read(answer)
    return [found["id"].removeprefix("m-") for found in page.all("a") if found.get("id", "").startswith("m-")]
