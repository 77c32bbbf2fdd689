"""Pages of reports show words as they are, in Markdown and in HTML."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from attnflow.train.report.page import Page

WORDS = st.text("ab<>&[]()|`*_\\!#\"' \n", min_size=1, max_size=30).filter(str.strip)


class Shown(HTMLParser):
    """The words of a page, and the elements that it is made of."""

    def __init__(self, text):
        super().__init__()
        self.words, self.elements, self.said = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.said += [value for name, value in attrs if name == "alt"]

    def handle_data(self, data):
        self.words.append(data)


def squeezed(words):
    return "".join("".join(words).split())


@given(WORDS, WORDS, WORDS)
def test_markdown_of_a_page_holds_its_words_and_no_elements_of_theirs(folder_words, cell, text):
    page = Page(folder_words)
    page.text(text)
    page.table(["run", "value"], [[cell, "1"]])
    shown = Shown(
        MarkdownIt("commonmark", {"html": True})
        .enable("table")
        .render(page.render("markdown", None))
    )
    assert squeezed(shown.words) == squeezed([folder_words, text, "run", "value", cell, "1"])
    plain = Page("a")
    plain.text("a")
    plain.table(["run", "value"], [["a", "1"]])
    expected = Shown(
        MarkdownIt("commonmark").enable("table").render(plain.render("markdown", None))
    )
    assert shown.elements == expected.elements


@pytest.mark.parametrize("kind", ["markdown", "html"])
def test_captions_of_figures_are_words(tmp_path, kind):
    image = tmp_path / "a.svg"
    image.write_text("<svg/>", encoding="utf-8")
    caption = "runs [x](javascript:alert) of <script>, 1|2"
    page = Page("title")
    page.figure(caption, image)
    text = page.render(kind, tmp_path)
    text = MarkdownIt("commonmark", {"html": True}).render(text) if kind == "markdown" else text
    shown = Shown(text)
    assert "script" not in shown.elements and "a" not in shown.elements
    assert shown.said == [caption] and caption in "".join(shown.words)
