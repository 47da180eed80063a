"""Write the generated pages.

`architectures.md` comes from the table that the tests run on, `command-line.md` from the commands,
`record.md` from the record's schema, and `statements.md` from the statements that a check evaluates.

python docs/generate.py            rewrites the pages
python docs/generate.py --check    exits 1 where a page is stale
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from gradflow.cli import application
from gradflow.record import schema_markdown
from gradflow.statements import EQUATIONS, NUMBERS

DOCS = Path(__file__).parent


def architectures() -> str:
    """Return the table of public architectures as Markdown."""
    sys.path.insert(0, str(DOCS.parent / "tests"))
    from architectures.page import architectures_markdown

    return architectures_markdown()


def command_line() -> str:
    """Return the command reference as Markdown."""
    lines = [
        "# Command line",
        "",
        "Generated from the commands' own help; `gradflow COMMAND --help` says the same.",
    ]
    with click.Context(application, info_name="gradflow") as context:
        for name in application.list_commands(context):
            command = application.get_command(context, name)
            assert command is not None
            lines += command_section(name, command)
    return "\n".join(lines) + "\n"


def command_section(name: str, command: click.Command) -> Iterator[str]:
    """Yield the section of one command: its text, its arguments and its options."""
    arguments = "".join(
        f" {cell(argument.make_metavar(click.Context(command)))}" for argument in arguments_of(command)
    )
    yield ""
    yield f"## gradflow {name}"
    yield ""
    yield f"    gradflow {name} [OPTIONS]{arguments}"
    yield ""
    for line in inspect.cleandoc(command.help or "").replace("\b\n", "").splitlines():
        yield f"  {line}" if line.startswith("  ") else line  # examples, as a block of code
    yield ""
    yield "| Option | Default | Meaning |"
    yield "|---|---|---|"
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            yield option_row(option)


def arguments_of(command: click.Command) -> list[click.Argument]:
    """Return the command's positional arguments."""
    return [parameter for parameter in command.params if isinstance(parameter, click.Argument)]


def option_row(option: click.Option) -> str:
    """Return one option as a row of a table."""
    names = ", ".join(f"`{name}`" for name in option.opts)
    if isinstance(option.type, click.Choice):
        names += " `" + "|".join(map(str, option.type.choices)) + "`"
    elif option.metavar:
        names += f" `{option.metavar}`"
    # Defaults that depend on other options are said in the help's text.
    meaning, _, said = (option.help or "").partition(" [default: ")
    if option.required:
        default = "required"
    elif option.show_default:
        default = f"`{option.default}`"
    else:
        default = said.removesuffix("]")
    return f"| {cell(names)} | {cell(default)} | {cell(meaning)} |"


def cell(text: str) -> str:
    """Return `text` with what would end a table's cell or begin a tag escaped."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def statements() -> str:
    """Return every statement that can be checked as Markdown."""
    lines = [
        "# Every statement",
        "",
        "Generated from `gradflow.statements.EQUATIONS`.",
        "[The mathematics](equations.md) says what letters and forms mean, and when a statement holds.",
    ]
    for number in NUMBERS:
        lines += ["", f"## {'Plain networks' if number == 'plain' else f'Equation {number}'}"]
        for one in EQUATIONS:
            if one.number == number:
                when = one.holds_when if one.holds_when.startswith("always") else f"where {one.holds_when}"
                lines += ["", f"### {number}, {one.form}", "", f"$${one.latex}$$", ""]
                lines += [f"Compared: {one.meaning}. Must hold {when}. Source: {one.source}."]
    return "\n".join(lines) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "architectures.md": architectures,
    "command-line.md": command_line,
    "record.md": schema_markdown,
    "statements.md": statements,
}


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` only compare them; return the exit status."""
    stale = []
    for name, generated in PAGES.items():
        text = generated()
        page = DOCS / name
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in arguments:
                page.write_text(text, encoding="utf-8")
    if stale and "--check" in arguments:
        print(f"stale: {', '.join(stale)}; run python docs/generate.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
