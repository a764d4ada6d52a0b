"""Hostile files: valid files of every kind that is read, and how they are changed at random.

`attack()` is the harness: whatever is done to a file, its reader reads it or raises an error of ours, in one
line, within seconds. Call it with as many changed files as there is time for.
"""

from __future__ import annotations

import io
import json
import random
import signal
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omop_emb import EmbeddingRole, OmopEmbError
from omop_emb.arrays import HalfVectors
from omop_emb.embeddings.prices import price_list
from omop_emb.indexing import space_file
from omop_emb.mapping.approvals import ApprovedColumns, read_approved
from omop_emb.mapping.evaluation.gold import read_gold
from omop_emb.mapping.evaluation.report import read_ranks
from omop_emb.mapping.files.journal import Journal
from omop_emb.mapping.files.term_file import ReadOptions, open_terms
from omop_emb.mapping.judge.prompt import read_answers
from omop_emb.mapping.records import SourceTerm
from omop_emb.providers.model_folder import folder_files
from omop_emb.providers.parts import Part
from omop_emb.providers.profile_connection import ProfileConnection
from omop_emb.providers.profile_provider import ProfileProvider
from omop_emb.records import Fingerprint, IndexType
from omop_emb.spaces.tables import TEXT_COLUMNS
from omop_emb.vectors import as_matrix
from omop_emb.vocabulary.download import vocabulary_files
from omop_emb.web.review.reviewer_tokens import read_reviewers
from tests import media_files
from tests.unit.mapping.files.sample_results import rich

SECONDS = 20  # within which any small file is read or refused
ROWS = (
    ("code", "name", "frequency", "concept_id"),
    ("I10", "high blood pressure", "12", "320128"),
    ("R50.9", 'fever, "high"', "7", "437663"),
    ("F", "D\u00e9mence \u2014 na\u00efve", "3", "0"),
)


@dataclass(frozen=True)
class Reader:
    """A kind of file: a valid one, and what reads all of a file."""

    name: str
    content: Callable[[], bytes]
    read: Callable[[Path], object]


def attack(readers: Iterable[Reader], count: int, seed: int, folder: Path) -> list[str]:
    """What went wrong with so many changed files, spread over the readers: a line each, to be repeated."""
    valid = [(reader, reader.content()) for reader in readers]
    for number, (reader, content) in enumerate(valid):  # else nothing would be tested
        (folder / f"valid-{number}").write_bytes(content)
        reader.read(folder / f"valid-{number}")
    failures = []
    for number in range(count):
        reader, content = valid[number % len(valid)]
        path = folder / f"{number % len(valid)}-changed"
        chance = random.Random(f"{seed}-{number}")  # noqa: S311 - nothing secret
        path.write_bytes(changed(content, chance))
        if problem := try_to_read(reader, path):
            failures.append(f"{reader.name}, seed {seed}, number {number}: {problem}")
    return failures


def try_to_read(reader: Reader, path: Path) -> str:
    """Why a file is neither read nor refused in one line; "" if it is."""
    started = time.monotonic()
    try:
        with _time_limit():
            reader.read(path)
    except OmopEmbError as error:
        if len(str(error).splitlines()) != 1:
            return f"more than a line: {error!r}"
    except Exception:
        return traceback.format_exc(limit=-4)
    return f"{time.monotonic() - started:.0f} seconds" if time.monotonic() - started > SECONDS else ""


@contextmanager
def _time_limit() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 2 * SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


_TOKENS = (
    *(b"\0", b"\xff\xfe", b'"', b"\r", b"\n\n", b"\\", b"\xed\xa0\x80", b"\xf0\x9f", b"'", b"<", b"&#0;"),
    *(b"9" * 5_000, b"[" * 5_000, b"{" * 2_000, b"-1", b"1e999999999", b"NaN", b"snan", b"Infinity", b"0x1"),
    *(
        "\u0663\u0664".encode(),
        b"_xD800_",
        b"99999999999",
        b"null",
        b"true",
        b"[]",
        b"{}",
        b"\\ud800",
        b",,,,",
    ),
    *(b"\xff\xff\xff\xff", b"\0\0\0\x80", b"\xff\xff\xff\x7f", b"PK\x03\x04", b"PAR1", b"x" * 140_000),
)


def changed(content: bytes, chance: random.Random) -> bytes:
    """The content with one to four changes; of an archive, often one of its files is changed instead."""
    if content.startswith(b"PK") and chance.random() < 0.7:
        return _with_changed_member(content, chance)
    data = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.choice((1, 1, 2, 4, 8, 100, 1_000)))
        how = chance.randrange(7)
        if how == 0 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif how == 1:
            del data[at:]
        elif how == 2:
            del data[at:end]
        elif how == 3:
            data[at:at] = data[at:end] * chance.choice((1, 1, 50))
        elif how == 4:
            data[at:at] = chance.choice(_TOKENS)
        elif how == 5:
            data[at:end] = chance.choice(_TOKENS)
        else:
            data[at:end] = chance.randbytes(end - at)
    return bytes(data)


def _with_changed_member(content: bytes, chance: random.Random) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(out, "w") as copy:
        chosen = chance.choice(archive.namelist())
        for name in archive.namelist():
            data = archive.read(name)
            copy.writestr(name, changed(data, chance) if name == chosen else data)
    return out.getvalue()


# --- valid files, and what reads them


def _csv(separator: str = ",", encoding: str = "utf-8") -> Callable[[], bytes]:
    quoted = [[f'"{value.replace(chr(34), chr(34) * 2)}"' for value in row] for row in ROWS]
    return lambda: "".join(separator.join(row) + "\r\n" for row in quoted).encode(encoding)


def workbook(shared: bool = False) -> bytes:
    """A workbook; in one with `shared` strings each cell is an index into them, as Excel writes it."""
    book, out = openpyxl.Workbook(), io.BytesIO()
    assert book.active is not None
    for row in ROWS:
        book.active.append(list(row))
    book.active["C2"], book.active["C2"].number_format = 12, "0000"
    book.save(out)
    return rezipped(out.getvalue(), strings=b"<si><t>fever</t></si>") if shared else out.getvalue()


_SHARED = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
_SST = b'<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'


def rezipped(
    content: bytes, *, sheet: Callable[[bytes], bytes] = bytes, strings: bytes = b"", **parts: bytes
) -> bytes:
    """A workbook with another sheet, shared strings and other parts (named with _ for /)."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as archive,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as copy,
    ):
        for name in archive.namelist():
            data = parts.get(name.replace("/", "_").partition(".")[0], archive.read(name))
            if name.endswith("sheet1.xml"):
                row = b'<row><c t="s"><v>0</v></c><c t="s"><v>0</v></c></row>' if strings else b""
                data = sheet(data.replace(b"</sheetData>", row + b"</sheetData>"))
            if name == "[Content_Types].xml" and strings:
                part = f'<Override PartName="/xl/sharedStrings.xml" ContentType="{_SHARED}"/></Types>'
                data = data.replace(b"</Types>", part.encode())
            copy.writestr(name, data)
        if strings:
            copy.writestr("xl/sharedStrings.xml", _SST + strings + b"</sst>")
    return out.getvalue()


def parquet(table: dict[str, Any], **options: Any) -> bytes:
    """A Parquet file of a table."""
    out = io.BytesIO()
    pq.write_table(pa.table(table), out, **options)
    return out.getvalue()


def _terms_table() -> bytes:
    columns = dict(zip(ROWS[0], map(list, zip(*ROWS[1:], strict=True)), strict=True))
    lists = pa.array([["a", "b"], None, []], pa.list_(pa.string()))
    return parquet(
        {**columns, "n": [1.5, None, 3], "b": [b"\xff", b"", None], "l": lists, "m": [{"x": "y"}] * 3}
    )


def _usagi() -> bytes:
    header = (
        "sourceCode,sourceName,sourceFrequency,matchScore,mappingStatus,equivalence,conceptId,statusSetOn"
    )
    return (
        f'{header}\nI10,high\\, \\"blood\\" pressure,12,0.9,APPROVED,EQUAL,320128,1700000000000\n'.encode()
        + (b"R50,fever,7,0.5,UNCHECKED,UNREVIEWED,0,0\n")
    )


FINGERPRINT = Fingerprint(provider="local", model="tiny", revision="r", dimensions=4)


def space_table(texts: Sequence[str] = ("Fever", "Pain"), **options: Any) -> bytes:
    """A file as index export writes it."""
    metadata = space_file.SpaceMetadata(
        fingerprint=FINGERPRINT,
        index_type=IndexType.FLAT,
        texts="names",
        template="{text}",
        synonym_languages=(4180186,),
        hnsw_m=16,
        hnsw_ef_construction=64,
        first_pass="",
        partial="auto",
        selection=None,
        vocabulary_release=None,
        rows=len(texts),
    )
    columns: dict[str, list[Any]] = {name: ["x"] * len(texts) for name in TEXT_COLUMNS}
    columns.update(concept_id=list(range(len(texts))), text_hash=list(range(len(texts))), text=list(texts))
    columns["text_kind"] = ["n"] * len(texts)
    vectors: HalfVectors = np.full((len(texts), 4), 0.5, np.float16)
    out = io.BytesIO()
    with pq.ParquetWriter(out, space_file.schema(4, metadata), **options) as writer:
        writer.write_batch(space_file.record_batch(columns, vectors))
    return out.getvalue()


def _read_space(path: Path) -> None:
    with space_file.open_space_file(path) as (file, metadata):
        for batch in file.batches(5_000):
            space_file.batch_columns(batch, path)
            space_file.batch_vectors(batch, metadata.fingerprint.dimensions)


def vocabulary(**files: bytes) -> bytes:
    """A zip with a vocabulary's files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in {"CONCEPT": b"concept_id\tconcept_name\n1\tFever\n", **files}.items():
            archive.writestr(f"{name}.csv", content)
    return out.getvalue()


def _read_vocabulary(path: Path) -> None:
    with vocabulary_files(path) as files:
        for file in files:
            for _ in file.pieces():
                pass


def _read_terms(path: Path) -> None:
    with open_terms(path) as terms:
        list(terms)


def _read_as(encoding: str) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        with open_terms(path, ReadOptions(encoding=encoding)) as terms:
            list(terms)

    return read


def _read_list(path: Path) -> None:
    with open_terms(path, ReadOptions(separator="none")) as terms:
        list(terms)


def _read_reviewers(path: Path) -> None:
    path.chmod(0o600)
    read_reviewers(path)


def _read_prices(path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMOP_EMB_PRICES", str(path))
        price_list()


def _journal() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal"
        with Journal(path, input_digest="", settings={}, resume=True) as journal:
            journal.append([rich(SourceTerm(name="fever", code="1"))] * 2)
        return path.read_bytes()


def _read_journal(path: Path) -> None:
    path.chmod(0o600)
    with Journal(path, input_digest="", settings={}, resume=True) as journal:
        list(journal.replay())


def _read_model(name: str) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        folder = path.parent / "model"
        (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_bytes(b"")
        (folder / "tokenizer.json").write_text("{}")
        (folder / name).write_bytes(path.read_bytes())
        try:
            folder_files(folder)
        finally:
            (folder / name).unlink()

    return read


class _Answering(ProfileConnection):
    """An endpoint that answers with a file's bytes."""

    body = b""
    headers: Mapping[str, str] = MappingProxyType({})

    def _open(self, **arguments: Any) -> Any:
        def answer(_request: httpx.Request) -> httpx.Response:
            stream = httpx.ByteStream(self.body)
            return httpx.Response(200, headers=self.headers, stream=stream)

        return httpx.Client(transport=httpx.MockTransport(answer), event_hooks=arguments["event_hooks"])


def read_answer(body: bytes, headers: dict[str, str] | None = None) -> None:
    """Embed a text with a provider that answers so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
        provider = ProfileProvider("openai", "m")
        connection = _Answering("openai", "m")
    connection.body, connection.headers = body, headers or {}
    provider._connection = connection
    response = provider.embed_batch(["fever"], EmbeddingRole.QUERY, timeout_seconds=30)
    as_matrix(response.vectors, count=1, source="openai:m")


def _json(value: object) -> Callable[[], bytes]:
    return lambda: json.dumps(value).encode()


_ANSWERS = {
    "answers": [
        {"term": 1, "concept_id": "437663", "reason": "the same"},
        {"term": "2", "concept_id": "none"},
    ]
}
_RANKS = {"terms": [{"source": "s", "code": "1", "name": "fever", "findable": True, "ranks": {"ranker": 1}}]}
READERS = (
    Reader("CSV", _csv(), _read_terms),
    Reader("CSV with semicolons", _csv(";", "cp1252"), _read_terms),
    Reader("TSV in UTF-16", _csv("\t", "utf-16"), _read_terms),
    Reader("CSV read as UTF-16", _csv(",", "utf-16-le"), _read_as("utf-16-le")),
    Reader("workbook", workbook, _read_terms),
    Reader("workbook with shared strings", lambda: workbook(shared=True), _read_terms),
    Reader("Parquet", _terms_table, _read_terms),
    Reader("Usagi", _usagi, _read_terms),
    Reader("approved CSV", _csv(), lambda path: read_approved(path, ApprovedColumns(all_approved=True))),
    Reader("approved Usagi", _usagi, lambda path: read_approved(path)),
    Reader("gold", _csv(), lambda path: read_gold([path], ApprovedColumns(all_approved=True))),
    Reader("list of terms", lambda: b"fever\nhigh blood pressure\nD\xc3\xa9mence\n", _read_list),
    Reader(
        "reviewers",
        lambda: b"# who may review\nAda 0123456789abcdef-A\nBob 0123456789abcdef-B\n",
        _read_reviewers,
    ),
    Reader("PDF", lambda: media_files.pdf("fever", "cough"), Part.pdf),
    Reader("page of a PDF", lambda: media_files.pdf("a", "b", "c"), lambda path: Part.pdf(path, page=2)),
    Reader("WAV", lambda: media_files.wav(2), Part.audio),
    Reader("MP3", lambda: media_files.mp3(3, tag=b"title"), Part.audio),
    Reader("space file", space_table, _read_space),
    Reader("vocabulary", vocabulary, _read_vocabulary),
    Reader(
        "prices",
        lambda: b'[[model]]\nname = "gemini:x"\nprice = 0.15\nprice_date = "2026-01-01"\n',
        _read_prices,
    ),
    Reader("report", _json(_RANKS), read_ranks),
    Reader("journal", _journal, _read_journal),
    Reader("config.json", _json({"hidden_size": 8, "pad_token_id": 0}), _read_model("config.json")),
    Reader("modules.json", _json([{"type": "models.Transformer"}]), _read_model("modules.json")),
    Reader("pooling", _json({"pooling_mode_cls_token": True}), _read_model("1_Pooling/config.json")),
    Reader("prompts", _json({"prompts": {"query": "q: "}}), _read_model("config_sentence_transformers.json")),
    Reader(
        "a provider's answer",
        _json({"data": [{"index": 0, "embedding": [0.5, 1]}], "usage": {"prompt_tokens": 3}}),
        lambda path: read_answer(path.read_bytes()),
    ),
    Reader(
        "a judge's answer", _json(_ANSWERS), lambda path: read_answers(path.read_text(errors="replace"), 2)
    ),
)
