"""The pages of the documentation, taken apart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_block = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_table = re.compile(r"^\|.*\n\|[-|]+\|\n(?:\|.*\n)+", re.MULTILINE)
_span = re.compile(r"(?<!`)(`{1,2})(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)


@dataclass(frozen=True)
class Page:
    """A page of Markdown, taken apart."""

    path: Path

    @property
    def text(self) -> str:
        """The complete text."""
        return self.path.read_text("utf-8")

    @property
    def prose(self) -> str:
        """The text without its code blocks."""
        return _block.sub("", self.text)

    @property
    def blocks(self) -> list[tuple[str, str]]:
        """The language and the text of each code block."""
        return _block.findall(self.text)

    def blocks_under(self, heading: str, *languages: str) -> list[str]:
        """Return the code blocks of some languages in the section with a heading of the second level."""
        [section] = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", self.text, re.MULTILINE | re.DOTALL)
        return [text for language, text in _block.findall(section) if language in languages]

    @property
    def spans(self) -> list[str]:
        """The code within the prose, each on one line."""
        return [" ".join(text.split()).replace("\\|", "|") for _, text in _span.findall(self.prose)]

    @property
    def prose_without_spans(self) -> str:
        """The prose with a `§` in place of each piece of code within it."""
        return _span.sub("§", self.prose)

    @property
    def headings(self) -> list[tuple[int, str]]:
        """The level and the text of each heading."""
        return [(len(marks), text) for marks, text in re.findall(r"^(#+) (.*)$", self.prose, re.MULTILINE)]

    @property
    def tables(self) -> list[list[list[str]]]:
        """The cells of each table, the header first."""
        return [
            [_cells(row) for index, row in enumerate(table.splitlines()) if index != 1]
            for table in _table.findall(self.prose)
        ]

    def table(self, column: str, place: int = 0) -> list[list[str]]:
        """Return the rows of the only table whose column number `place` is named `column`."""
        [found] = [rows for header, *rows in self.tables if len(header) > place and header[place] == column]
        return found


def _cells(row: str) -> list[str]:
    """Return the cells of a row of a table."""
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


def bare(cell: str) -> str:
    """Return a cell without its code marks."""
    return cell.strip("`")
