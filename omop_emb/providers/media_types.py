"""Media types: what a file is by its first bytes, and how long a recording plays."""

from __future__ import annotations

from collections.abc import Iterator

from omop_emb.errors import InputError

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"ID3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
)
_RIFF = {b"WAVE": "audio/wav", b"WEBP": "image/webp", b"AVI ": "video/avi"}
# The brand of an ISO media file, by how it begins.
_BRANDS = {
    b"he": "image/heic",
    b"mif1": "image/heif",
    b"avif": "image/avif",
    b"M4A": "audio/mp4",
    b"": "video/mp4",
}
_PDF_START = 1024  # bytes in which readers look for "%PDF-"
_DICOM = (128, b"DICM")

# MPEG audio: kbit/s by the number in a frame's header, of layer III in version 1 and in 2 and 2.5.
_KBITS = (
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
_SAMPLE_RATES = (44_100, 48_000, 32_000)


def media_type(data: bytes) -> str:
    """The media type that the bytes themselves show, such as "image/png"; "" if it is none known here."""
    for signature, name in _SIGNATURES:
        if data.startswith(signature):
            return name
    if data.startswith(b"RIFF"):
        return _RIFF.get(data[8:12], "")
    if data[4:8] == b"ftyp":
        return next(name for brand, name in _BRANDS.items() if data[8:12].startswith(brand))
    if b"%PDF-" in data[:_PDF_START]:
        return "application/pdf"
    if data[_DICOM[0] : _DICOM[0] + 4] == _DICOM[1]:
        return "application/dicom"
    # A bare MP3 begins with a frame, and a second one must follow where the first ends.
    first = _frame(data, 0)
    return "audio/mpeg" if first is not None and _frame(data, first[0]) is not None else ""


def audio_seconds(data: bytes, kind: str) -> float:
    """How long a WAV or MP3 plays.

    Raises:
        InputError: it is damaged, or of another kind.
    """
    seconds = _wav_seconds(data) if kind == "audio/wav" else 0.0
    if kind == "audio/mpeg":
        seconds = sum(seconds for _, seconds in _frames(data))
    if seconds <= 0:
        raise InputError(f"is {kind} whose length cannot be read: save it as WAV (PCM) or MP3")
    return seconds


def _wav_seconds(data: bytes) -> float:
    position, bytes_per_second = 12, 0
    while position + 8 <= len(data):
        name, size = (
            data[position : position + 4],
            int.from_bytes(data[position + 4 : position + 8], "little"),
        )
        position += 8
        if name == b"fmt " and size >= 16:
            bytes_per_second = int.from_bytes(data[position + 8 : position + 12], "little")
        elif name == b"data":
            # A program that streams does not know the size when it writes it.
            return min(size, len(data) - position) / bytes_per_second if bytes_per_second else 0.0
        position += size + size % 2
    return 0.0


def _frames(data: bytes) -> Iterator[tuple[int, float]]:
    """(bytes, seconds) of each frame of an MP3."""
    position = 0
    if data.startswith(b"ID3") and len(data) >= 10:
        # Its size is in four bytes of seven bits.
        position = 10 + sum((data[6 + byte] & 0x7F) << 7 * (3 - byte) for byte in range(4))
    while (frame := _frame(data, position)) is not None:
        yield frame
        position += frame[0]


def _frame(data: bytes, position: int) -> tuple[int, float] | None:
    """(bytes, seconds) of the frame of layer III that begins here; None if none does."""
    if position + 4 > len(data):
        return None
    header = int.from_bytes(data[position : position + 4], "big")
    version, layer = header >> 19 & 3, header >> 17 & 3
    rate, kbits = header >> 10 & 3, header >> 12 & 15
    if header >> 21 != 0x7FF or version == 1 or layer != 1 or rate == 3 or kbits in (0, 15):
        return None
    is_first_version = version == 3
    sample_rate = _SAMPLE_RATES[rate] // (1 if is_first_version else 2 if version == 2 else 4)
    samples = 1152 if is_first_version else 576
    bits = _KBITS[0 if is_first_version else 1][kbits] * 1000
    size = samples // 8 * bits // sample_rate + (header >> 9 & 1)
    return size, samples / sample_rate
