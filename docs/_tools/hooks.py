"""What MkDocs does besides its settings in mkdocs.yml: pages made at build time, and links to the repository."""

from __future__ import annotations

import argparse
import importlib
import re
import textwrap
from importlib.metadata import entry_points
from typing import Any

import links  # beside this file
from mkdocs.structure.files import File, Files

from napari_tinc.sharing.page import single_page

SAMPLE = "src/napari_tinc/data/mri_mni152_crop.tinc"
SAMPLE_PAGE = "viewer/sample.html"  # what the front page shows: it has the viewer and the sample inside

CLI_HEAD = """# Command line

This page is made from the parser of `napari-tinc` itself. `napari-tinc COMMAND --help` prints the same.

Results go to stdout, progress and errors to stderr. The exit code is 0, 1 (failed: one line says why) or 2 (a wrong
command line). With `--json` every command prints one JSON object.
"""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in docs/: those of other folders, and the one of the command line."""
    made = {place: (links.ROOT / source).read_text(encoding="utf-8") for source, place in links.INCLUDED.items()}
    made["reference/cli.md"] = command_line()
    assert set(made) == set(links.INCLUDED.values()) | links.MADE
    for place, text in made.items():
        files.append(File.generated(config, place, content=text))
    sample = links.ROOT / SAMPLE
    files.append(File.generated(config, SAMPLE_PAGE, content=single_page(sample.name, sample.read_bytes())))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links to files of the repository into links of the site, or to the repository on the web."""
    place = page.file.src_uri
    if place in links.MADE:
        return markdown
    sources = {there: source for source, there in links.INCLUDED.items()}
    return links.for_site(markdown, sources.get(place, f"{links.DOCS}/{place}"))


def command_line() -> str:
    """The page of the command line: a heading, a usage line and a table of options for each command."""
    (command,) = entry_points(group="console_scripts", name="napari-tinc")
    parser = importlib.import_module(command.module)._parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    about = {choice.dest: choice.help or "" for choice in commands._choices_actions}
    parts = [CLI_HEAD, _section("napari-tinc", parser, "")]
    parts += [_section(f"napari-tinc {name}", each, about.get(name, "")) for name, each in commands.choices.items()]
    return "\n".join(parts)


def _section(title: str, parser: argparse.ArgumentParser, about: str) -> str:
    usage = re.sub(r"\s+", " ", parser.format_usage()).removeprefix("usage: ").strip()
    usage = textwrap.fill(usage, 74, subsequent_indent=" " * 4, break_on_hyphens=False, break_long_words=False)
    description = parser.description or about
    hidden = (argparse._SubParsersAction, argparse._HelpAction)
    rows = [_row(parser, action) for action in parser._actions if not isinstance(action, hidden)]
    table = "\n".join(["| argument | meaning |", "| --- | --- |", *rows])
    sentence = description[:1].upper() + description[1:]
    sentence += "." * (bool(sentence) and not sentence.endswith((".", "!", "?")))
    epilog = f"\n{parser.epilog}\n" if parser.epilog else ""
    return f"## {title}\n\n{sentence}\n\n```text\n{usage}\n```\n\n{table}\n{epilog}"


def _row(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    name = ", ".join(f"`{option}`" for option in action.option_strings) or f"`{action.metavar or action.dest}`"
    if action.option_strings and action.nargs != 0:
        value = action.metavar or (
            "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
        )
        name += f" `{value if isinstance(value, str) else ' '.join(value)}`"
    text = parser._get_formatter()._expand_help(action) if action.help else ""
    return f"| {_cell(name)} | {_cell(text)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
