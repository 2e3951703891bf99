"""Finds and opens the files of a source: unpacked, decoded, and outspoken about a cut end or a wrong encoding."""

import codecs
import gzip
import io
import zlib
from collections.abc import Callable
from glob import glob, has_magic
from pathlib import Path
from typing import IO

from beforehand.ingest.words import Source

BAD_BYTE = 0xF700
"""Bytes that the encoding does not know become U+F700 + byte (private use), so that their rows can be told apart."""
BAD = "[\uf700-\uf7ff]"
UNTOLD = 64 * 1024


class SourceProblem(Exception):
    """A source cannot be used; the text says what to do. The loads that need it are left, the others go on."""


def find_files(source: Source, data: Path) -> list[Path]:
    """The files of a source in the order of their names. Raises SourceProblem where there is none."""
    path = data / source.file
    if has_magic(source.file):
        found = [Path(name) for name in sorted(glob(str(path)))]  # noqa: PTH207 - the pattern may be absolute
    else:
        plain = path.with_suffix("") if path.suffix == ".gz" else Path(f"{path}.gz")
        found = [candidate for candidate in (path, plain) if candidate.is_file()][:1]
    if not found:
        raise SourceProblem(
            f"there is no file {path}. Put it there, or say where the data is with --data FOLDER "
            "(or BEFOREHAND_DATA, or 'data:' in the mapping file)"
        )
    return found


class _Bytes(io.RawIOBase):
    """The bytes of a file, unpacked where they are packed; a cut or broken gz ends early and is remembered."""

    def __init__(self, path: Path, seen: Callable[[int], None]) -> None:
        self._file: IO[bytes] = path.open("rb")
        packed = self._file.peek(2)[:2] == b"\x1f\x8b" if isinstance(self._file, io.BufferedReader) else False
        self._content: IO[bytes] | gzip.GzipFile = gzip.GzipFile(fileobj=self._file) if packed else self._file
        self._seen = seen
        self.cut = ""
        self.first = b""
        self.last = b""

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        """Fill the buffer; 0 at the end, be it the right one or not."""
        try:
            data = self._content.read(len(buffer))
        except (EOFError, gzip.BadGzipFile, zlib.error):
            self.cut = "the packed file ends in the middle; fetch it again, and then ingest it again"
            return 0
        if not self.first:
            self.first = data[:UNTOLD]
        if data:
            self.last = data[-4:]
        self._seen(self._file.tell())
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file."""
        self._content.close()
        self._file.close()
        super().close()


class TextFile:
    """A text file, read by whole lines; ends of line stay as they are."""

    def __init__(self, path: Path, encoding: str, seen: Callable[[int], None] = lambda _: None) -> None:
        self.bad_bytes = 0
        self._bytes = _Bytes(path, seen)
        self._name = f"beforehand-{id(self)}"
        codecs.register_error(self._name, self._bad)
        buffered = io.BufferedReader(self._bytes, 1 << 20)  # type: ignore[type-var]
        self._text = io.TextIOWrapper(buffered, encoding=encoding, errors=self._name, newline="")
        self.encoding = encoding

    def _bad(self, wrong: UnicodeError) -> tuple[str, int]:
        if not isinstance(wrong, UnicodeDecodeError):
            raise wrong
        self.bad_bytes += wrong.end - wrong.start
        return "".join(chr(BAD_BYTE + byte) for byte in wrong.object[wrong.start : wrong.end]), wrong.end

    def lines(self, size: int) -> list[str]:
        """About ``size`` characters of whole lines, with their ends; an empty list at the end of the file."""
        return self._text.readlines(size)

    @property
    def cut(self) -> str:
        """What is said of a packed file that ends in the middle, or an empty text."""
        return self._bytes.cut

    @property
    def guess(self) -> str:
        """The encoding that the file is more likely in, for a message."""
        first = self._bytes.first
        if first[:2] in (b"\xff\xfe", b"\xfe\xff") or first.count(b"\0") > len(first) // 4:
            return "utf-16"
        try:
            codecs.getincrementaldecoder("utf-8")().decode(first)
        except UnicodeDecodeError:
            return "windows-1252"
        return "utf-8" if "utf" not in self.encoding else "windows-1252"

    @property
    def rather_utf8(self) -> bool:
        """Whether another encoding was declared, but the file begins as proper UTF-8 with more than plain letters."""
        first = self._bytes.first
        return "utf" not in self.encoding and not first.isascii() and self.guess == "utf-8"

    def close(self) -> None:
        """Close the file."""
        self._text.close()
