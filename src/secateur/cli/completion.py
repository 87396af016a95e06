"""``secateur completion``: what a shell needs to complete verbs, recipes, options and the names of parts."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Literal

from secateur.runs import Parser

_BASH = """_secateur() {{
  local cur="${{COMP_WORDS[COMP_CWORD]}}" prev="${{COMP_WORDS[COMP_CWORD-1]}}" words=""
  if [ "$COMP_CWORD" -eq 1 ]; then words="{verbs}"
  else case "$prev" in
{values}
  *) case "${{COMP_WORDS[1]}}" in
{options}
    esac;;
  esac; fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o default -o bashdefault -F _secateur secateur
"""
_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"


def completion(argv: list[str]) -> None:
    """``secateur completion SHELL``: prints a script, to be evaluated by the shell's start-up file."""
    arguments = parser().read(argv)
    words, values = _words(), _values()
    sys.stdout.write(
        _fish(words, values) if arguments.shell == "fish" else _bash(words, values, arguments.shell)
    )


def parser() -> Parser:
    """The options of ``secateur completion``."""
    made = Parser(
        prog="secateur completion",
        description="Prints a script that makes the shell complete verbs, recipes and options: "
        'eval "$(secateur completion bash)" in ~/.bashrc, the same with zsh in ~/.zshrc, '
        "or secateur completion fish > ~/.config/fish/completions/secateur.fish.",
    )
    made.add_argument("shell", type=Literal["bash", "zsh", "fish"], help="which shell")
    return made


def _words() -> dict[str, list[str]]:
    """Verb to what may follow it."""
    from secateur.cli.main import VERBS
    from secateur.runs import ROOMS, ours, recipes, train_parser

    words = {
        verb: import_module(f"secateur.cli.{file}").parser().options
        for verb, file in VERBS.items()
        if verb != "train"
    }
    trained = list(
        dict.fromkeys(
            o
            for kind in ROOMS
            for name in ours(kind)
            for o in train_parser(["dense", f"--{kind}", name]).options
        )
    )
    every = [*recipes(), *trained, *(f"--{kind}" for kind in ROOMS), "--density", "--tasks"]
    return {**words, "train": every, "compare": list(dict.fromkeys([*every, *words["compare"]]))}


def _values() -> dict[str, list[str]]:
    """Option to the names that it takes."""
    from secateur.runs import ROOMS, ours

    return {
        **{f"--{kind}": list(ours(kind)) for kind in ROOMS},
        "--format": ["onnx", "openvino", "executorch", "pt2"],
        "--engines": ["torch", "onnxruntime", "openvino", "executorch", "sparse"],
        "--quantize": ["int8"],
        "--engine": ["sparse", "openvino"],
        "--device": ["cpu", "cuda", "auto"],
        "--split": ["val", "test"],
    }


def _bash(words: dict[str, list[str]], values: dict[str, list[str]], shell: str) -> str:
    script = _BASH.format(
        verbs=" ".join(words),
        values="\n".join(f'  {option}) words="{" ".join(known)}";;' for option, known in values.items()),
        options="\n".join(f'    {verb}) words="{" ".join(known)}";;' for verb, known in words.items()),
    )
    return _ZSH * (shell == "zsh") + script


def _fish(words: dict[str, list[str]], values: dict[str, list[str]]) -> str:
    lines = [f"complete -c secateur -n __fish_use_subcommand -a '{' '.join(words)}'"]
    for verb, known in words.items():
        lines.append(f"complete -c secateur -n '__fish_seen_subcommand_from {verb}' -a '{' '.join(known)}'")
    for option, known in values.items():
        lines.append(f"complete -c secateur -n '__fish_seen_argument -l {option[2:]}' -a '{' '.join(known)}'")
    return "\n".join(lines) + "\n"
