"""Passwords: no part of one is shown, however it is mistyped, by any command that connects."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from urllib.parse import quote

import pytest

from omop_emb.database.engine import database_engine
from omop_emb.errors import ConfigurationError
from omop_emb.service import diagnose

PARTS = ("xqzj", "wvkj")
SIGNS = (
    *(
        "@",
        "/",
        "#",
        "?",
        ":",
        "%",
        "&",
        "=",
        " ",
        "+",
        "\\",
        "'",
        '"',
        "[",
        "]",
        "[]",
        "{",
        "}",
        ",",
        ";",
        "|",
        "<",
    ),
    *(
        "@/",
        "/@",
        "?@",
        "@?",
        "#@",
        "@#",
        ":@",
        "@:",
        ":1/",
        "@h/",
        "@h:1/",
        "@@",
        "%40@",
        "%zz",
        "%4",
        "://",
        "ä",
        "€",
    ),
    *("日本", "\u200b", "\t", "$", "!", "*", "(", "~", "^", "`"),
)
FORMS = {
    "URL": "postgresql://u:{}@127.0.0.1:1/db",
    "URL of a driver": "postgresql+psycopg://u:{}@127.0.0.1:1/db",
    "URL without a port": "postgres://u:{}@127.0.0.1/db?port=1",
    "URL with an option": "postgresql://u:{}@127.0.0.1:1/db?sslmode=disable&application_name=a@b",
    "without a database": "postgresql://u:{}@127.0.0.1:1",
    "without a user": "postgresql://:{}@127.0.0.1:1/db",
    "in the options": "postgresql://u@127.0.0.1:1/db?password={}",
    "another database": "mysql://u:{}@127.0.0.1:1/db",
    "no scheme": "u:{}@127.0.0.1:1/db",
    "one slash": "postgresql:/u:{}@127.0.0.1:1/db",
    "of libpq": "host=127.0.0.1 port=1 user=u password={} dbname=db",
    "user with a slash": "postgresql://u/v:{}@127.0.0.1:1/db",
    "no host": "postgresql://u:{}@/db?host=127.0.0.1&port=1",
    "port that is none": "postgresql://u:{}@127.0.0.1:port/db",
}
COMMANDS = (
    *("db status", "db migrate", "vocabulary status", "vocabulary list", "vocabulary load .", "index list"),
    *("index build --yes", "index verify", "index activate x", "search fever", "search --explain fever"),
    *("map terms.csv -o out.csv", "evaluate terms.csv", "memory list", "estimate", "doctor", "models list"),
)


@pytest.fixture
def terms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("terms.csv").write_text("name\nfever\n")


@pytest.fixture
def plain_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    yield
    root.handlers[:], root.level = handlers, level


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints, its traceback included where --debug shows it."""
    main = import_module("omop_emb.cli.main").main
    told = ""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["omop-emb", *arguments])
        try:
            main()
        except SystemExit:
            pass
        except Exception:
            told = traceback.format_exc()
    return told + "".join(capsys.readouterr())


@pytest.mark.parametrize("form", FORMS)
def test_an_engine_shows_no_part_of_a_password(form: str) -> None:
    passwords = [sign.join(PARTS) for sign in SIGNS]
    for written in (*passwords, *(quote(password, safe="") for password in passwords)):
        told = ""
        try:
            engine = database_engine(FORMS[form].format(written))
            told += repr(engine)
            with engine.connect():
                pass
        except Exception:
            told += traceback.format_exc()
        assert told
        assert not [part for part in PARTS if part in told.replace(f'"{FORMS[form]}"', "")], told


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_shows_a_part_of_a_password(
    command: str,
    debug: bool,
    terms: None,
    plain_logging: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for sign in ("@", "/", "#", "?", ":", "%", " ", "ä", "?@", "@h/"):
        for form in ("URL", "of libpq", "user with a slash"):
            monkeypatch.setenv("OMOP_EMB_DATABASE_URL", FORMS[form].format(sign.join(PARTS)))
            told = output(capsys, *(["--debug"] if debug else []), *command.split())
            assert told
            assert not [part for part in PARTS if part in told], told


@pytest.mark.parametrize("sign", ["@", "@@", "@h/", "?@", "@?", "@:"])
def test_a_password_that_cannot_be_read_must_be_percent_encoded(sign: str) -> None:
    with pytest.raises(ConfigurationError, match=r"percent-encode .* \(@ as %40") as raised:
        database_engine(FORMS["URL"].format(sign.join(PARTS)))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("sign", SIGNS)
def test_an_encoded_password_is_the_one_that_was_meant(sign: str) -> None:
    password = sign.join(PARTS)
    assert database_engine(FORMS["URL"].format(quote(password, safe=""))).url.password == password


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u@127.0.0.1/db",
        "postgresql://u:p@127.0.0.1/a%40b",
        "postgresql:///db?host=/tmp&user=a@b",
        "postgresql://u:p@/db?host=/a@b",
        "postgresql://u:p@[::1]:5432/db?options=-csearch_path%3Da@b&application_name=c@d",
        "postgresql://me%40site:p@h/db",
        "postgresql://h/db?password=a@b&application_name=c@d",
    ],
)
def test_an_at_sign_elsewhere_is_no_mistake(url: str) -> None:
    database_engine(url)


@pytest.mark.parametrize(
    ("variable", "value", "shown"),
    [
        ("OLLAMA_HOST", "http://u:xqzj@gpu:11434", "http://…@gpu:11434"),
        ("OLLAMA_HOST", "u:xqzj@wvkj@gpu:11434", "…@gpu:11434"),
        ("OLLAMA_HOST", "u:xqzj/wvkj@gpu", "…@gpu"),
        ("OLLAMA_HOST", "xqzj@gpu", "…@gpu"),
        ("OLLAMA_HOST", "gpu:11434", "gpu:11434"),
        ("OPENAI_BASE_URL", "https://u:xqzj?wvkj@h/v1", "https://…@h/v1"),
        ("OPENAI_BASE_URL", "https://u:xqzj#wvkj@h/v1", "https://…@h/v1"),
        (
            "OPENAI_BASE_URL",
            "https://h/v1?api-version=1&api-key=xqzj",
            "https://h/v1?api-version=1&api-key=…",
        ),
        ("OPENAI_BASE_URL", "https://h/v1?TOKEN=xqzj&a=1", "https://h/v1?TOKEN=…&a=1"),
        ("OMOP_EMB_MODEL", "local:owner/name@mean", "local:owner/name@mean"),
        ("OMOP_EMB_PRICES", "https://u:xqzj@h/prices", "https://…@h/prices"),
        ("OMOP_EMB_QUERY_EMBEDDING_PREFIX", "a@b: ", "a@b: "),
        ("GEMINI_API_KEY", "xqzj", "set (not shown)"),
        ("OPENAI_API_KEY", "xqzj", "set (not shown)"),
        ("OMOP_EMB_DATABASE_URL", "postgresql://u:xqzj@127.0.0.1:1/db", "set (not shown)"),
    ],
)
def test_doctor_shows_addresses_without_user_and_password(
    variable: str, value: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", "postgresql://u:wvkj@127.0.0.1:1/db")
    monkeypatch.setenv("HTTPS_PROXY", "http://u:xqzj@127.0.0.1:1")
    monkeypatch.setenv("PGPASSWORD", "wvkj")
    monkeypatch.setenv(variable, value)
    findings = list(diagnose())
    details = {finding.check: finding.details for finding in findings}
    assert details[variable].strip("'") == shown
    assert not [part for part in PARTS if any(part in f"{finding}" for finding in findings)]
