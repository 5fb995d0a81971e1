# SPDX-License-Identifier: MIT
"""Shell completion of the command `mpsnn`, written from its parser: bash, zsh, fish."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

SHELLS = ("bash", "zsh", "fish")


@dataclass
class Option:
    """An option of a command.

    Attributes:
        names: "-h", "--help".
        help: One line; may be empty.
        takes_value: Whether a value follows.
        choices: The values it may have; empty: any, files are offered.
    """

    names: list[str]
    help: str
    takes_value: bool
    choices: list[str]


@dataclass
class Command:
    """A command with what may follow it.

    Attributes:
        path: Its words after `mpsnn`, "denoise train"; empty for `mpsnn` itself.
        commands: Its commands with a line about each.
        options: Its options.
        words: Values of its other arguments where they have choices.
    """

    path: str
    commands: dict[str, str] = field(default_factory=dict)
    options: list[Option] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    @property
    def offers(self) -> list[str]:
        """All words that may follow."""
        names = [name for option in self.options for name in option.names]
        return [*self.commands, *self.words, *names]


def _line(text: str | None, action: argparse.Action) -> str:
    if text is None or text is argparse.SUPPRESS:
        return ""
    values = {**vars(action), "prog": "mpsnn"}
    return " ".join((text % values).split())


def commands_of(parser: argparse.ArgumentParser, path: str = "") -> Iterator[Command]:
    """Describes a parser and those below it.

    Args:
        parser: The parser.
        path: Its words after `mpsnn`.

    Yields:
        The command, then those below it.
    """
    command = Command(path)
    below: list[tuple[str, argparse.ArgumentParser]] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {one.dest: one.help for one in action._choices_actions}
            command.commands = {name: _line(helps.get(name), action) for name in action.choices}
            below += action.choices.items()
        elif action.option_strings:
            choices = [str(choice) for choice in action.choices or ()]
            option = Option(
                list(action.option_strings), _line(action.help, action), action.nargs != 0, choices
            )
            command.options.append(option)
        else:
            command.words += [str(choice) for choice in action.choices or ()]
    yield command
    for name, one in below:
        yield from commands_of(one, f"{path} {name}".strip())


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """The text that a shell reads.

    Args:
        shell: "bash", "zsh" or "fish".
        parser: The command's parser, with all below it.

    Returns:
        The script.
    """
    commands = list(commands_of(parser))
    if shell == "fish":
        return _fish(commands)
    return _bash(commands) if shell == "bash" else _zsh(commands)


def _cases(commands: list[Command]) -> tuple[str, str, str]:
    """Arms of `case`: known paths, words after a path, values after an option."""
    paths = "|".join(shlex.quote(command.path) for command in commands if command.path)
    words, values = [], []
    for command in commands:
        offers = shlex.quote(" ".join(command.offers))
        words.append(f"    {shlex.quote(command.path)}) offers={offers} ;;")
        for option in command.options:
            if option.takes_value:
                keys = "|".join(shlex.quote(f"{command.path} {name}") for name in option.names)
                choices = shlex.quote(" ".join(option.choices))
                values.append(f"    {keys}) offers={choices}; value=1 ;;")
    return paths, "\n".join(words), "\n".join(values)


def _bash(commands: list[Command]) -> str:
    paths, offers, values = _cases(commands)
    return f"""\
# Completion of mpsnn for bash: eval "$(mpsnn completion bash)"
_mpsnn() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}"
  local path="" next offers="" value="" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    next="${{path:+$path }}${{COMP_WORDS[i]}}"
    case "$next" in {paths}) path="$next" ;; esac
  done
  case "$path" in
{offers}
  esac
  case "$path $previous" in
{values}
  esac
  COMPREPLY=($(compgen -W "$offers" -- "$current"))
  if [[ -n "$value" && -z "$offers" ]]; then COMPREPLY=($(compgen -f -- "$current")); fi
}}
complete -o default -F _mpsnn mpsnn
"""


def _zsh(commands: list[Command]) -> str:
    paths, offers, values = _cases(commands)
    return f"""\
#compdef mpsnn
# Completion of mpsnn for zsh: eval "$(mpsnn completion zsh)", after compinit.
_mpsnn() {{
  local previous="${{words[CURRENT-1]}}" command="" next offers="" value="" i
  for ((i = 2; i < CURRENT; i++)); do
    next="${{command:+$command }}${{words[i]}}"
    case "$next" in {paths}) command="$next" ;; esac
  done
  case "$command" in
{offers}
  esac
  case "$command $previous" in
{values}
  esac
  if [[ -n "$offers" ]]; then compadd -- ${{=offers}}; fi
  if [[ -z "$offers" || -z "$value" ]]; then _files; fi
}}
if (( $+functions[compdef] )); then compdef _mpsnn mpsnn; fi
"""


def _fish(commands: list[Command]) -> str:
    paths = " ".join(shlex.quote(command.path) for command in commands if command.path)
    lines = [
        "# Completion of mpsnn for fish: mpsnn completion fish | source",
        "function __mpsnn_path",
        "    set -l path",
        "    for word in (commandline -opc)[2..-1]",
        f"        contains -- (string join ' ' $path $word) {paths}; and set -a path $word",
        "    end",
        "    string join ' ' $path",
        "end",
    ]
    for command in commands:
        here = f'test "$(__mpsnn_path)" = {shlex.quote(command.path)}'
        start = f"complete -c mpsnn -n {shlex.quote(here)}"
        for name, text in command.commands.items():
            lines.append(f"{start} -f -a {shlex.quote(name)} -d {shlex.quote(text)}")
        lines += [f"{start} -f -a {shlex.quote(word)}" for word in command.words]
        for option in command.options:
            names = [
                f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
                for name in option.names
            ]
            line = f"{start} {' '.join(names)} -d {shlex.quote(option.help)}"
            if option.takes_value:
                line += " -r"
            if option.choices:
                line += f" -f -a {shlex.quote(' '.join(option.choices))}"
            lines.append(line)
    return "\n".join(lines) + "\n"
