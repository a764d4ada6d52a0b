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
    """Answer an assistant that speaks MCP (Model Context Protocol), on stdin and stdout.

    An assistant such as Claude Desktop starts this command by itself: put it into its configuration. Its
    tools search, look concepts up and suggest mappings, and change nothing. It runs on this machine, but the
    assistant's provider sees what the assistant asks, and the answers. `omop-emb serve` has the same tools at
    /mcp, behind its token.

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
