"""The command `mirrornode`: assembles the verbs, and turns every failure into one line and a code.

A run loads only the verb it was asked for, and verbs import what they need when they run: what
the user types at a prompt answers at once.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated, Any

import typer

from mirrornode import __version__
from mirrornode.errors import Incomplete, MirrorError
from mirrornode_cli import exit_codes
from mirrornode_cli.context import Factory, Interrupted
from mirrornode_cli.log import DEBUG_VARIABLE, is_debugging, quiet_log
from mirrornode_cli.output import write_error, write_note

PROGRAM = "mirrornode"
# In the order of the help. Each is a function, or an app of more words, in a module of its name;
# an underscore at the end is only Python's.
VERBS = (
    "serve",
    "add",
    "get",
    "ls",
    "status",
    "history",
    "alerts",
    "peers",
    "mirrors",
    "doctor",
    "verify",
    "publish",
    "export",
    "import_",
    "pin",
    "unpin",
    "gc",
    "unshare",
    "sync",
    "bootstrap",
)
GROUPS = ("service",)
EPILOG = """\b
A first run on two machines of one network:
  one$ mirrornode serve &
  one$ mirrornode add ./model            # prints: added CID model
  two$ mirrornode get CID -o ./model     # every byte verified

`mirrornode VERB --help` shows examples of each verb."""

# typer bundles its own copy of click in some versions and imports the real one in others; the
# base of its usage errors is the same class name in both.
_UsageBase: type[Exception] = next(
    cls for cls in typer.BadParameter.__mro__ if cls.__name__ == "ClickException"
)


def build_app(only: str | None = None) -> typer.Typer:
    """Return the command with all its verbs, or with one: the word as the user types it."""
    app = typer.Typer(
        name=PROGRAM,
        # Plain help: rich's costs a third more start-up time and wraps the examples.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )

    @app.callback(invoke_without_command=True, epilog=EPILOG)
    def root(
        context: typer.Context,
        version: Annotated[
            bool, typer.Option("--version", help="Show the version and stop.")
        ] = False,
    ) -> None:
        """Fetch models once, share them with the whole network, verify every byte."""
        if version:
            sys.stdout.write(f"{PROGRAM} {__version__}\n")
            raise typer.Exit(exit_codes.DONE)
        if context.invoked_subcommand is None:
            sys.stderr.write(context.get_help() + "\n")
            raise typer.Exit(exit_codes.USAGE)

    for verb in VERBS:
        if only in (None, _word(verb)):
            module = _module_of(verb)
            app.command(_word(verb), epilog=module.EPILOG)(getattr(module, verb))
    for group in GROUPS:
        if only in (None, group):
            app.add_typer(_module_of(group).app, name=group)
    return app


def main(argv: Sequence[str] | None = None, factory: Factory | None = None) -> int:
    """Run the command and return its exit code; never raises for a failure of its work."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in arguments
    _tolerate_any_text()
    try:
        with quiet_log():
            result = build_app(_verb_of(arguments))(
                arguments,
                prog_name=PROGRAM,
                standalone_mode=False,
                obj=factory or Factory(),
            )
    except Interrupted as exc:
        write_note(str(exc))
        return exit_codes.INTERRUPTED
    except (KeyboardInterrupt, typer.Abort):
        write_note("stopped")
        return exit_codes.INTERRUPTED
    except Exception as exc:
        return _report(exc, arguments, as_json=as_json)
    if result == exit_codes.INTERRUPTED:
        write_note("stopped")
    return result if isinstance(result, int) else exit_codes.DONE


def _word(verb: str) -> str:
    return verb.removesuffix("_")


def _module_of(verb: str) -> Any:
    return importlib.import_module(f"mirrornode_cli.commands.{verb}")


def _verb_of(arguments: Sequence[str]) -> str | None:
    """Return the verb that alone is needed; None: help, completion and mistakes need them all."""
    word = next(iter(arguments), None)
    return word if word in (*map(_word, VERBS), *GROUPS) else None


def _report(exc: Exception, arguments: Sequence[str], *, as_json: bool) -> int:
    """Write the one line about a failure and return its exit code."""
    if isinstance(exc, _UsageBase):
        write_error("UsageError", _usage_text(exc, arguments), as_json=as_json)
        return exit_codes.USAGE
    if is_debugging():
        traceback.print_exception(exc)
    error = _first_of_ours(exc)
    if error is None:
        name = type(exc).__name__
        hint = f"run with {DEBUG_VARIABLE}=1 for a traceback"
        write_error(name, f"unexpected {name}: {exc}; {hint}", as_json=as_json)
        return exit_codes.LOCAL
    extra = {"missing": list(error.missing)} if isinstance(error, Incomplete) else {}
    for path in () if as_json else extra.get("missing", ()):
        write_note(f"missing: {path}")
    write_error(type(error).__name__, str(error), as_json=as_json, **extra)
    return exit_codes.exit_code_of(error)


def _first_of_ours(exc: BaseException) -> MirrorError | None:
    """Return the error itself, or the first of ours in a group that a task group raised."""
    if isinstance(exc, MirrorError):
        return exc
    inner = exc.exceptions if isinstance(exc, BaseExceptionGroup) else ()
    return next(filter(None, map(_first_of_ours, inner)), None)


def _usage_text(exc: Exception, arguments: Sequence[str]) -> str:
    format_message = getattr(exc, "format_message", None)
    message = str(format_message() if callable(format_message) else exc)
    verb = next((word for word in arguments if not word.startswith("-")), "")
    context = getattr(exc, "ctx", None)
    path = context.command_path if context is not None else f"{PROGRAM} {verb}".strip()
    return f"{message.rstrip('. ')}; see `{path} --help`".replace("?; see", "? See")


def _tolerate_any_text() -> None:
    """File names need not be valid text in the terminal's encoding: escape, do not fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
