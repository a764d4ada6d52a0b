"""omop-emb mcp: search and mapping for an assistant that speaks MCP."""

from __future__ import annotations

import sys

import click

from omop_emb import config
from omop_emb.errors import MissingExtraError

from .options import site_option
from .render import echo


@click.command("mcp")
@site_option
def command(site: str) -> None:
    """Serve an AI assistant over MCP (Model Context Protocol), on stdin and stdout.

    An assistant such as Claude Desktop starts this command itself: add it to the assistant's configuration.
    The tools search, look up concepts and suggest mappings; they change nothing. The command runs on this
    machine, but the assistant's provider sees the assistant's questions and the answers. `omop-emb serve`
    offers the same tools at /mcp, protected by its token.

    \b
    omop-emb mcp
    omop-emb mcp --site north
    """
    config.one_blas_thread()
    try:
        from omop_emb.web import run_mcp
    except ImportError as error:
        raise MissingExtraError("omop-emb mcp", "mcp") from error
    if sys.stdin.isatty():
        echo("waiting for an assistant's messages on stdin; Ctrl-C ends")
    run_mcp(site)
