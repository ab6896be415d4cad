"""The reference of the API as HTML: docs/api.md, and docs/api.cs.md, which is the same page in Czech.

Sections have the same ids in both languages, those of the English headings, so that a link to a section leads there in
either language. Raw HTML in the pages is not passed on, and nothing has a style of its own, which the policy of /docs
would block.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token

from smsevents.web.static_files import STATIC

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PAGES = {"en": "api.md", "cs": "api.cs.md"}
# the pages of the documentation that a server has, or has the subject of
_SERVED = {"page.md": "./"} | {name: f"docs?lang={language}" for language, name in PAGES.items()}
_DEEPEST_LISTED = 3
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
_ROLES = {"table_open": "table", "thead_open": "rowgroup", "tbody_open": "rowgroup", "tr_open": "row"}


class Heading(NamedTuple):
    """A heading of a page: `anchor` is its id on /docs, `text` is plain."""

    level: int
    anchor: str
    text: str


class Reference(NamedTuple):
    """The reference in one language, as HTML: what comes before the first section, the sections, and their list."""

    introduction: str
    sections: str
    contents: str


@cache
def reference(language: str) -> Reference:
    """Return the reference in a language of `PAGES`."""
    tokens = _tokens(language)
    anchors = _anchors(_tokens("en"))
    headings = [
        Heading(int(opening.tag[1]), anchor, _plain(inline))
        for (opening, inline), anchor in zip(_headings(tokens), anchors, strict=True)
    ]
    own_anchors = dict(zip(_anchors(tokens), anchors, strict=True))
    for (opening, _), heading in zip(_headings(tokens), headings, strict=True):
        opening.attrSet("id", heading.anchor)
    for token in tokens:
        if token.children:
            token.children = list(_linked(token.children, own_anchors))
    _label_cells(tokens)
    first = next(place for place, token in enumerate(tokens) if token.type == "heading_open" and token.tag == "h2")
    title = 3  # the tokens of the heading of level 1, which the page has itself
    return Reference(_html(tokens[title:first]), _html(tokens[first:]), _contents(headings))


def _tokens(language: str) -> list[Token]:
    return _MARKDOWN.parse((STATIC / "docs" / PAGES[language]).read_text("utf-8"))


def _html(tokens: Sequence[Token]) -> str:
    return str(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))


def _headings(tokens: Sequence[Token]) -> Iterator[tuple[Token, Token]]:
    """Yield the opening and the text of each heading."""
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            yield opening, inline


def _plain(inline: Token) -> str:
    return "".join(one.content for one in inline.children or ())


def _anchors(tokens: Sequence[Token]) -> list[str]:
    """Return the anchors of all headings, as code hosts make them: a repeated one gets a number."""
    seen: Counter[str] = Counter()
    found = []
    for _, inline in _headings(tokens):
        slug = re.sub(r"[^\w\- ]", "", _plain(inline).lower()).replace(" ", "-")
        found.append(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def _linked(children: Sequence[Token], anchors: dict[str, str]) -> Iterator[Token]:
    """Yield the parts of a text with links that work on /docs.

    A server has no other pages of the documentation, so their names stand in place of links to them.
    """
    name, is_shown = "", False
    for token in children:
        if token.type == "link_open":
            address = str(token.attrGet("href"))
            target = _target(address, anchors)
            if target is None:
                name = address.partition("#")[0]
                continue
            token.attrSet("href", target)
        elif token.type == "link_close" and name:
            if not is_shown:
                yield Token("text", "", 0, content=f" (docs/{name})")
            name, is_shown = "", False
            continue
        elif name and token.content == name:
            token.content, is_shown = f"docs/{name}", True
        yield token


def _target(address: str, anchors: dict[str, str]) -> str | None:
    """Return where a link leads on /docs, or None if that is not on the server."""
    page, _, anchor = address.partition("#")
    if "://" in address:
        return address
    if not page:
        return f"#{anchors[unquote(anchor)]}"
    return _SERVED.get(page) if not anchor else None


def _label_cells(tokens: Sequence[Token]) -> None:
    """Put the name of its column on each cell, for screens where a row is a card, and say what each part is.

    A browser no longer takes for a table what is displayed as something else.
    """
    names: list[str] = []
    column = 0
    for token, inline in pairwise(tokens):
        if token.type in _ROLES:
            token.attrSet("role", _ROLES[token.type])
        if token.type == "table_open":
            names = []
        elif token.type == "tr_open":
            column = 0
        elif token.type == "th_open":
            names.append(_plain(inline))
            token.attrSet("role", "columnheader" if names[-1] else "cell")
            token.tag = "th" if names[-1] else "td"  # the corner of a table is not the head of a column
        elif token.type == "th_close" and not names[-1]:
            token.tag = "td"
        elif token.type == "td_open":
            token.attrSet("role", "cell")
            token.attrSet("data-label", names[column])
            column += 1


def _contents(headings: Sequence[Heading]) -> str:
    """Return the list of sections, with the parts of each."""
    lines: list[str] = []
    is_nested = False
    for level, anchor, text in headings:
        if not 1 < level <= _DEEPEST_LISTED:
            continue
        if level == _DEEPEST_LISTED and not is_nested:
            lines.append("<ul>")
        elif level < _DEEPEST_LISTED and lines:
            lines.append("</li></ul></li>" if is_nested else "</li>")
        elif is_nested:
            lines.append("</li>")
        is_nested = level == _DEEPEST_LISTED
        lines.append(f'<li><a href="#{escape(anchor)}">{escape(text)}</a>')
    return "".join([*lines, "</li></ul></li>" if is_nested else "</li>"])
