"""Killable commands: processes forked from one that has imported everything, so that they start at once."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.attack.imports"])


def start(line: list[str], folder: Path, environment: Mapping[str, str], log: Path) -> BaseProcess:
    """Start `omop-emb`, or a step, with arguments in a folder, its stdout and stderr going to a file."""
    process = _context.Process(target=_run, args=(line, str(folder), dict(environment), str(log)))
    process.start()
    return process


def start_function(function: Callable[..., None], *args: object, log: Path) -> BaseProcess:
    """Start a function of a module, its stdout and stderr going to a file."""
    process = _context.Process(target=_call, args=(function, args, str(log)))
    process.start()
    return process


def _call(function: Callable[..., None], args: tuple[object, ...], log: str) -> None:
    _print_to(log)
    function(*args)


def _run(line: list[str], folder: str, environment: dict[str, str], log: str) -> None:
    os.setpgid(0, 0)
    os.umask(0o022)
    os.chdir(folder)
    for name in list(os.environ):
        if name.startswith(("OMOP_EMB_", "PG")):
            del os.environ[name]
    os.environ.update(environment)
    _print_to(log)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = open(0, closefd=False)
    sys.argv = ["omop-emb", *line]
    from tests.attack.imports import main, steps

    if line[0] in steps.STEPS:
        steps.run(*line)
    else:
        main()


def _print_to(log: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)
