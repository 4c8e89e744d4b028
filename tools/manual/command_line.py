"""`python -m tools.manual.command_line`: every command's options, as the page of the reference.

python -m tools.manual.command_line > docs/reference/command_line.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from pipeline import cli

INTRODUCTION = """\
# Options of every command

Written from the program itself (`python -m tools.manual.command_line`): what `nst COMMAND --help`
says, but for the [settings](settings.md). What the commands do: [Commands](commands.md); their exit
statuses: [Statuses and exit codes](statuses.md).
"""
# What argparse calls the groups of those that have none.
_UNTITLED = ("options", "positional arguments", "")


def page() -> str:
    """The page, Markdown."""
    top = cli.parser()
    (commands,) = (a for a in top._actions if isinstance(a, argparse._SubParsersAction))
    parts = [INTRODUCTION]
    if shown := [a for a in top._actions if a.option_strings and a.dest != "help"]:
        parts.append("## nst\n\n" + "\n".join(_table(shown)) + "\n")
    of_run = frozenset(commands.choices["run"]._option_string_actions)
    for name, command in commands.choices.items():
        told = of_run if name == "plan" else frozenset()
        parts.append("\n".join(_section(name, command, told)) + "\n")
    return "\n".join(parts)


def _section(
    name: str, command: argparse.ArgumentParser, told: frozenset[str] = frozenset()
) -> Iterator[str]:
    """One command; `told` are the options that another one has too, and that it has told."""
    yield f"## nst {name}"
    yield ""
    yield command.description or ""
    if told:
        yield ""
        yield "Every option of `nst run`, and:"
    for group in command._action_groups:
        actions = [
            action
            for action in group._group_actions
            if action.dest != "help" and not told.issuperset(action.option_strings or [""])
        ]
        if actions:
            title = group.title or ""
            if title not in _UNTITLED:
                yield ""
                yield f"**{title[:1].upper()}{title[1:]}**"
            yield ""
            yield from _table(actions)


def _table(actions: list[argparse.Action]) -> Iterator[str]:
    yield "| option | |"
    yield "|---|---|"
    for action in actions:
        text = (action.help or "") % {**vars(action), "prog": "nst"}
        if action.option_strings and action.required:
            text += " (required)"
        # In quotes of code a bar needs its backslash too; `<run>` would be taken for a tag.
        cells = (f"`{_spelt(action)}`", text.replace("<", "&lt;"))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _spelt(action: argparse.Action) -> str:
    """An option as it is typed, with what it takes."""
    value = action.metavar or "|".join(map(str, action.choices or ()))
    if action.nargs in ("+", "*") or isinstance(action, argparse._AppendAction):
        value = f"{value}…"
    names = ", ".join(action.option_strings)
    return f"{names} {value}".strip() if action.nargs != 0 else names


if __name__ == "__main__":
    sys.stdout.write(page())
