"""What the command line names: "package.module:Class", with arguments "package.module:Class(3)", or an instance."""

from __future__ import annotations

import ast
import importlib
import sys
from typing import Any

from modgrad.graph import Module


class UsageError(Exception):
    """What was asked for cannot be done as it was asked; the message says what to write."""


def module_of(target: str) -> Module:
    """The module that `target` names, made if it names a class or a function that makes one.

    Arguments are literals: numbers, strings, None, True, False, and tuples, lists, dicts, sets of them. Nothing in
    `target` is evaluated.   Raises UsageError.
    """
    place, colon, expression = target.partition(":")
    if not colon or not place or not expression:
        raise UsageError(f"{target!r}: expected package.module:Class, as in modgrad.nn:Linear(3, 2)")
    name, arguments, named = _parsed(expression)
    found = _imported(place, name)
    if isinstance(found, Module):
        if arguments is not None:
            raise UsageError(f"{target!r}: {name} is a module already, and takes no arguments here")
        return found
    if arguments is None and not isinstance(found, type):
        hint = f": write {target}() to call it" if callable(found) else ""
        raise UsageError(f"{target!r} is {type(found).__name__}, not a module or a class of modules{hint}")
    try:
        made = found(*(arguments or ()), **named)
    except Exception as error:
        raise UsageError(
            f"{name}{_shown(arguments, named)} raises {type(error).__name__}: {error}\n"
            f"Its arguments are given as in modgrad.nn:Linear(3, 2)"
        ) from error
    if not isinstance(made, Module):
        raise UsageError(f"{target!r} makes {type(made).__name__}, not an nn.Module")
    return made


def _parsed(expression: str) -> tuple[str, list[Any] | None, dict[str, Any]]:
    """The dotted name, and the arguments; None without parentheses."""
    try:
        body = ast.parse(expression, mode="eval").body
    except SyntaxError as error:
        raise UsageError(f"{expression!r} is not a name, or a name with arguments: {error.msg}") from error
    call = body if isinstance(body, ast.Call) else None
    name = ast.unparse(call.func if call else body)
    if not all(part.isidentifier() for part in name.split(".")):
        raise UsageError(f"{expression!r}: expected a name, as in Linear(3, 2)")
    if call is None:
        return name, None, {}
    arguments = [_literal(argument) for argument in call.args]
    if any(keyword.arg is None for keyword in call.keywords):
        raise UsageError(f"{expression!r}: write each argument out, without **")
    return name, arguments, {str(keyword.arg): _literal(keyword.value) for keyword in call.keywords}


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise UsageError(
            f"argument {ast.unparse(node)!r} is not a literal (number, string, tuple, ...). For a module made in "
            "another way, make an instance of it in a file, and name that: package.module:instance"
        ) from error


def _imported(place: str, name: str) -> Any:
    if "" not in sys.path:  # python -m puts the current directory there; a console script does not
        sys.path.insert(0, "")
    try:
        found: Any = importlib.import_module(place)
    except (Exception, SystemExit) as error:
        raise UsageError(f"importing {place!r} raises {type(error).__name__}: {error}") from error
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise UsageError(f"{place!r} has no {name!r}") from error
    return found


def _shown(arguments: list[Any] | None, named: dict[str, Any]) -> str:
    parts = [*map(repr, arguments or ()), *(f"{key}={value!r}" for key, value in named.items())]
    return f"({', '.join(parts)})"
