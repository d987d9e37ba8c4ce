"""Results on stdout: one JSON object, tables drawn by rich for a person at a terminal, or plain lines for all else.

Pipes, logs and terminals that cannot move their cursor never wait for the import of rich.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from ..encoding.log import to_json
from .tables import Part, cell, heading, plain, printable, put, table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

MOST_ROWS = 1000  # A longer table is printed as plain lines: rich needs about a millisecond a row.


def is_terminal(stream: IO[str] | None) -> bool:
    """Tell whether a person reads a stream on a terminal that can draw."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def print_result(args: argparse.Namespace, result: Mapping[str, Any], *parts: Part) -> None:
    """Print a result: as JSON where that was asked for, else its parts."""
    if args.json:
        put(to_json(result))
    elif is_terminal(sys.stdout):
        draw(parts)
    else:
        put("\n\n".join(map(plain, parts)))


def make_console(stream: IO[str]) -> Console:
    """Return rich's console on a stream; it takes texts as they are, without markup."""
    from rich.console import Console

    return Console(file=stream, markup=False, highlight=False, emoji=False)


def draw(parts: Sequence[Part]) -> None:
    """Print results on stdout: mappings and tables of one row with a line a key, other tables with a line a row.

    A table that is too wide, or of too many rows, is printed in plain lines.
    """
    console = make_console(sys.stdout)
    for number, part in enumerate(parts):
        if number:
            console.print()
        if isinstance(part, str):
            console.print(_text(part), soft_wrap=True)
        elif isinstance(part, Mapping):
            console.print(_drawn_pairs(part))
        elif len(part) == 1:
            console.print(_drawn_pairs(part[0]))
        elif len(part) > MOST_ROWS or len(table(part[:1]).partition("\n")[0]) > console.width:
            console.print(_text(table(part)), soft_wrap=True)
        else:
            console.print(_drawn_table(part))


def _text(text: str) -> str:
    """Replace what cannot be printed here, as for plain lines."""
    encoding = sys.stdout.encoding or "utf-8"
    return "\n".join(map(printable, text.split("\n"))).encode(encoding, "replace").decode(encoding)


def _drawn_pairs(result: Mapping[str, Any]) -> Table:
    from rich.table import Table

    drawn = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    drawn.add_column(style="bold", no_wrap=True)
    drawn.add_column(overflow="fold")
    for key, value in result.items():
        drawn.add_row(heading(key), _text(cell(value, key)))
    return drawn


def _drawn_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    from rich import box
    from rich.table import Table

    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for key, value in rows[0].items():
        drawn.add_column(heading(key), justify="left" if isinstance(value, str) else "right", overflow="fold")
    for row in rows:
        drawn.add_row(*(_text(cell(value, key)) for key, value in row.items()))
    return drawn
