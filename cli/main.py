"""omop-emb: the command line, its commands and its exit codes."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module

import click

import omop_emb
from omop_emb import OmopEmbError

from . import streams
from .suggestions import Group
from .table import one_line

# Each command is `command` in the module of its name.
_COMMANDS = (
    *("demo", "db", "vocabulary", "models", "index", "estimate", "search", "concept", "map", "review"),
    *("memory", "evaluate", "calibrate", "ranker", "tune", "bundle", "serve", "mcp", "doctor"),
)
_STOPPED = 130  # the exit code that shells give a program ended by Ctrl-C


class _Commands(Group):
    """Imports each command only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = import_module(f"{__package__}.{cmd_name}").command
        assert isinstance(command, click.Command)  # noqa: S101 - a module of ours without a command is a bug
        return command


_WAYS_IN = """\
Map local clinical terms to standard OMOP concepts. Three ways in:

  try it           omop-emb demo                   a sample, nothing to set up
  in the browser   omop-emb serve                  search, review files, export
  your own data    omop-emb vocabulary load PATH   then: omop-emb index build

omop-emb --help lists all commands; omop-emb doctor says what is missing.
"""


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110, "show_default": True},
)
@click.option("--debug", is_flag=True, help="Show tracebacks and the library's log messages.")
@click.version_option(omop_emb.__version__, prog_name="omop-emb")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Map local clinical terms to standard OMOP concepts.

    \b
    omop-emb demo                              everything, on a sample vocabulary
    omop-emb vocabulary load PATH              load a vocabulary from Athena
    omop-emb index build                       embed its concepts
    omop-emb search HTN "heart attack"         find the concepts that terms may mean
    """
    if context.invoked_subcommand is None:
        click.echo(_WAYS_IN, nl=False)
        return
    handler = logging.StreamHandler(sys.stderr)
    if not debug:
        handler.addFilter(_says_something_new())
    logging.basicConfig(
        handlers=[handler],
        level=logging.DEBUG if debug else logging.WARNING,
        format="%(name)s: %(message)s" if debug else "%(levelname)s: %(message)s",
    )


def _says_something_new() -> Callable[[logging.LogRecord], bool]:
    """A filter that leaves out records that say that all is right, and those that were printed before."""
    printed: set[str] = set()

    def passes(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        is_new = message not in printed and not getattr(record, "is_right", False)
        printed.add(message)
        return is_new

    return passes


def main() -> None:
    """Run the command line; exit 0 done, 1 a user's error, 2 wrong usage, 3 done with rows skipped."""
    debug = "--debug" in sys.argv[1:]
    streams.prepare()
    try:
        if (number := streams.unreadable_argument(sys.argv[1:])) is not None:
            raise click.UsageError(f"argument {number} is not text in this terminal's encoding")
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except OmopEmbError as error:
        if debug:
            raise
        _say(f"error: {error}")
        code = 1
    except (click.Abort, KeyboardInterrupt):
        _say("stopped")
        code = _STOPPED
    except (Exception, SystemExit) as error:
        if streams.is_closed(error):
            code = 0  # nothing is wrong, and nobody is there to be told
        elif debug or isinstance(error, SystemExit):
            raise
        else:
            _say(_unexpected(error))
            code = 1
    if (problem := streams.finish()) and not code:  # a command that returns nothing is done, like 0
        _say(f"error: stdout cannot be written: {problem}")
        code = 1
    if code == _STOPPED:
        # Python would wait, maybe minutes, for the thread of a running request, which cannot be cancelled.
        sys.stderr.flush()
        os._exit(_STOPPED)
    sys.exit(code if isinstance(code, int) else 0)


def _unexpected(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        if error.filename is None:
            return f"error: stdout, or a temporary file, cannot be written: {error.strerror}"
        return f"error: {os.fsdecode(error.filename)} cannot be used: {error.strerror}"
    return f"error: unexpected {type(error).__name__}; run again as omop-emb --debug … and report it"


def _say(message: str) -> None:
    with suppress(OSError):  # stderr may be closed or full too
        click.echo(one_line(message), err=True)
