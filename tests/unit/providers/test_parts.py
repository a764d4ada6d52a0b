"""Parts: files are what their bytes show, pages are cut out, lengths told, and errors quote no file."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path

import pytest

from omop_emb import Part
from omop_emb.embeddings import find_model
from omop_emb.errors import InputError
from omop_emb.providers.media_types import audio_seconds, media_type
from omop_emb.providers.parts import PartKind, digest_of, split_page
from tests.media_files import jpeg, mp3, pdf, png, wav


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png(), "image/png"),
        (jpeg(), "image/jpeg"),
        (b"GIF89a....", "image/gif"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
        (b"\0\0\0\x18ftypheic", "image/heic"),
        (b"\0\0\0\x18ftypisom", "video/mp4"),
        (wav(0.5), "audio/wav"),
        (mp3(2), "audio/mpeg"),
        (mp3(2, tag=b"title"), "audio/mpeg"),
        (b"junk\n%PDF-1.7\n", "application/pdf"),
        (bytes(128) + b"DICM", "application/dicom"),
        (b"\xff\xfb\x90\x00 one frame alone", ""),
        (b"TERM,CODE\n", ""),
        (b"", ""),
    ],
)
def test_a_media_type_is_what_the_bytes_show(data: bytes, expected: str) -> None:
    assert media_type(data) == expected


@pytest.mark.parametrize("seconds", [0.01, 2.5, 180.01])
def test_the_length_of_a_wav_is_its_samples(seconds: float) -> None:
    assert audio_seconds(wav(seconds), "audio/wav") == pytest.approx(seconds)


def test_the_length_of_a_wav_that_was_streamed_is_what_there_is() -> None:
    streamed = wav(1.0).replace(b"data" + (100).to_bytes(4, "little"), b"data\xff\xff\xff\xff")
    assert audio_seconds(streamed, "audio/wav") == pytest.approx(1.0)


@pytest.mark.parametrize("tag", [b"", b"a title" * 30])
def test_the_length_of_an_mp3_is_that_of_its_frames(tag: bytes) -> None:
    assert audio_seconds(mp3(1000, tag=tag), "audio/mpeg") == pytest.approx(1000 * 1152 / 44_100)


def test_an_image_is_taken_for_what_it_is_whatever_its_name_says(tmp_path: Path) -> None:
    path = tmp_path / "panel.jpg"
    path.write_bytes(png())
    part = Part.image(path)
    assert (part.kind, part.media_type, part.data, part.name) == (
        PartKind.IMAGE,
        "image/png",
        png(),
        "panel.jpg",
    )
    assert part == Part.image(png()) == Part.file(str(path))
    assert repr(part) == f"Part(image/png, {len(png())} bytes)"


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.png", b"TERM,SECRET\n", "a.png is no image, PDF or recording"),
        ("a.png", b"\0\0\0\x18ftypisom", "a.png is no image, PDF or recording but video/mp4"),
        ("a.png", wav(1), "a.png is not an image but audio/wav"),
        ("empty.png", b"", "empty.png is no image, PDF or recording"),
    ],
)
def test_what_is_no_image_is_refused_by_name_in_one_line(
    tmp_path: Path, name: str, data: bytes, expected: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        Part.image(path)
    assert str(caught.value) == expected


def test_a_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.png cannot be read: No such file"):
        Part.image(tmp_path / "none.png")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        Part.image(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InputError, match=r"pipe\.png is not a regular file"):
        Part.image(tmp_path / "pipe.png")


@pytest.mark.parametrize("source", [None, 7, ["a.png"]])
def test_a_part_is_made_from_a_path_or_from_bytes(source: object) -> None:
    with pytest.raises(InputError, match="from a path or from bytes; found"):
        Part.file(source)  # type: ignore[arg-type]  # the mistake


def test_a_damaged_recording_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "dictated.wav"
    path.write_bytes(wav(1)[:30])
    with pytest.raises(InputError, match=r"^dictated\.wav is audio/wav whose length cannot be read"):
        Part.audio(path)


def test_a_digest_tells_parts_from_others_and_from_their_order() -> None:
    texts = [Part.text("ab"), Part.text("c")]
    digests = {
        digest_of(parts)
        for parts in (
            texts,
            texts[::-1],
            [Part.text("a"), Part.text("bc")],
            [Part.text("abc")],
            [Part.image(png(1))],
            [Part.image(png(2))],
        )
    }
    assert len(digests) == 6


@pytest.mark.parametrize("prefix", [True, False])
def test_a_model_says_whether_a_prefix_goes_with_pictures(prefix: bool) -> None:
    known = find_model("gemini:gemini-embedding-2")
    assert known is not None
    assert known.parts is not None
    assert not known.parts.prefix
    limits = replace(known.parts, prefix=prefix)
    image, text = Part.image(png()), Part.text("panel")

    def prefixed(*parts: Part) -> list[Part]:
        return list(limits.content(parts, "a model").prefixed("query: ").parts)

    assert prefixed(text, text) == [Part.text("query: panel"), text]
    if prefix:
        assert prefixed(image, text) == [image, Part.text("query: panel")]
        assert prefixed(image) == [Part.text("query: "), image]
    else:
        assert prefixed(image, text) == [image, text]
        assert prefixed(image) == [image]


def test_a_page_is_named_after_the_file() -> None:
    assert split_page("scans/dictionary.pdf#page=12") == ("scans/dictionary.pdf", 12)
    assert split_page("a#page=b.pdf") == ("a#page=b.pdf", None)
    assert split_page("#page=1") == ("#page=1", None)


def test_a_page_of_a_pdf_is_cut_out_the_same_each_time(tmp_path: Path) -> None:
    pypdf = pytest.importorskip("pypdf", reason="the extra pdf is not installed")
    path = tmp_path / "dictionary.pdf"
    path.write_bytes(pdf("GLUC is glucose", "NA is sodium", "K is potassium"))
    whole, second = Part.pdf(path), Part.pdf(path, page=2)
    assert (whole.pages, whole.data, second.pages) == (3, path.read_bytes(), 1)
    pages = pypdf.PdfReader(io.BytesIO(second.data)).pages
    assert [page.extract_text() for page in pages] == ["NA is sodium"]
    assert second == Part.pdf(path, page=2) != Part.pdf(path, page=3)
    for page in (0, 4):
        with pytest.raises(InputError, match=rf"dictionary\.pdf has 3 pages, and no page {page}"):
            Part.pdf(path, page=page)


def test_a_pdf_that_cannot_be_read_is_refused_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pypdf = pytest.importorskip("pypdf", reason="the extra pdf is not installed")
    path = tmp_path / "torn.pdf"
    path.write_bytes(b"%PDF-1.4\nSECRET" + pdf("SECRET")[40:300])
    with pytest.raises(InputError, match=r"^torn\.pdf ") as caught:
        Part.pdf(path, page=1)
    assert "\n" not in str(caught.value)
    assert "SECRET" not in f"{caught.value}{caplog.text}"
    writer = pypdf.PdfWriter()
    writer.add_blank_page(100, 100)
    writer.encrypt("x", algorithm="RC4-128")
    writer.write(path)
    with pytest.raises(InputError, match=r"^torn\.pdf is encrypted: save it without a password$"):
        Part.pdf(path)


def test_what_is_put_right_in_a_pdf_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("pypdf", reason="the extra pdf is not installed")
    with caplog.at_level("DEBUG"), caplog.at_level("DEBUG", logger="pypdf"):
        assert Part.pdf(b"SECRET\n" + pdf("a")).pages == 1
    assert "SECRE" not in caplog.text


def test_an_image_has_no_page() -> None:
    with pytest.raises(InputError, match="the part is image/png and has no pages"):
        Part.file(png(), page=1)
