"""Text with positions: a source file, spans in it, and edits of it.

Everything else speaks of places in a ruleset as spans (offsets into the text); lines and columns exist only here.
"""

import os
import stat
import sys
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import NamedTuple, cast

from ruleaudit.diagnostics import SourceError


class Span(NamedTuple):
    """A half-open range of character offsets into one source file; there are many, and a tuple is soon made."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Position:
    """A place as people count: line and column start at 1; `path` is the file's, which may be an included one."""

    line: int
    column: int
    path: str = ""


@dataclass(frozen=True, slots=True)
class Include:
    """A statement that brings other files in.

    span      where it stands, without the end of the line
    pattern   what it names; `folder`: where that was found, "" for an absolute path
    files     which of `SourceFile.included` it brings in, in order
    """

    span: Span
    pattern: str
    folder: str
    files: tuple[int, ...]


@dataclass(frozen=True)
class SourceFile:
    """A file's path and its whole text; bytes that are not UTF-8 survive as surrogate escapes.

    The texts of the files that it includes lie behind its own in one space of offsets, each one past the last's end;
    `includes` are the statements that bring them in. A file that is included twice lies there twice.
    """

    path: str
    text: str
    included: tuple["SourceFile", ...] = ()
    includes: tuple[Include, ...] = ()

    @cached_property
    def _line_starts(self) -> "array[int]":
        starts = array("Q", [0])
        find = self.text.find
        at = find("\n")
        while at >= 0:
            starts.append(at + 1)
            at = find("\n", at + 1)
        return starts

    @cached_property
    def _bases(self) -> list[int]:
        bases = [0]
        for file in (self, *self.included):
            bases.append(bases[-1] + len(file.text) + 1)
        return bases[:-1]

    def parts(self) -> Iterator[tuple["SourceFile", int]]:
        """The file itself, then those that it includes, each with the offset at which its text begins."""
        yield from zip((self, *self.included), self._bases, strict=True)

    def number_at(self, offset: int) -> int:
        """Which of the parts an offset lies in; 0 is the file itself."""
        return 0 if not self.included or offset <= len(self.text) else bisect_right(self._bases, offset) - 1

    def file_at(self, offset: int) -> tuple["SourceFile", int]:
        """The file that an offset lies in, and the offset at which its text begins."""
        number = self.number_at(offset)
        return (self.included[number - 1] if number else self), self._bases[number]

    def position(self, offset: int) -> Position:
        """Line and column of an offset, and the path of the file that it lies in."""
        file, base = self.file_at(offset)
        line = bisect_right(file._line_starts, offset - base)
        return Position(line, offset - base - file._line_starts[line - 1] + 1, file.path)

    def line(self, number: int, offset: int = 0) -> str:
        """The text of line `number` (from 1) of the file that an offset lies in, without its line end."""
        file, _ = self.file_at(offset)
        start = file._line_starts[number - 1]
        end = file.text.find("\n", start)
        return file.text[start : end if end >= 0 else None].rstrip("\r")

    def slice(self, span: Span) -> str:
        """The text under a span."""
        file, base = self.file_at(span.start)
        return file.text[span.start - base : span.end - base]


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """Replace the text under `span` with `text`; an empty span inserts."""

    span: Span
    text: str


def apply(text: str, edits: Iterable[Edit]) -> str:
    """The text after all edits; insertions at one place keep their order, and edits may not overlap."""
    pieces: list[str] = []
    at = 0
    for edit in sorted(edits, key=lambda e: (e.span.start, e.span.end)):
        if edit.span.start < at:
            raise ValueError(f"overlapping edits at offset {edit.span.start}")
        pieces += (text[at : edit.span.start], edit.text)
        at = edit.span.end
    pieces.append(text[at:])
    return "".join(pieces)


def read(path: str, name: str | None = None, *, ruleset: bool = True) -> SourceFile:
    """Read a file, or standard input for `-`; `name` is what reports call it.

    Raises SourceError when it cannot be read, is a folder or holds binary data; an empty file is no `ruleset`.
    """
    shown = name or ("<stdin>" if path == "-" else path)
    if path == "-" and sys.stdin is None:
        raise SourceError(f"{shown}: cannot be read: it is closed")
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except IsADirectoryError:
        raise SourceError(f"{shown}: is a directory; name the ruleset files in it") from None
    except OSError as error:
        raise SourceError(f"{shown}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    if ruleset and not data.strip():
        raise SourceError(
            f"{shown}: line 1: the file is empty; an iptables-save file starts with a line such as *filter"
        )
    nul = data.find(b"\0")
    if nul >= 0:
        line = data.count(b"\n", 0, nul) + 1
        raise SourceError(f"{shown}: line {line}: binary data (a NUL byte), not a ruleset")
    return SourceFile(shown, data.decode("utf-8", "surrogateescape"))


#: a long file is read in pieces of this size
_BLOCK = 1 << 20
#: what is read where packed data end too early
_CUT = b"\n(the packed data end here)\n"


def blocks(path: str, passed: Callable[[int], object] = lambda place: None) -> Iterator[bytes]:
    """A long file, or standard input for `-`, piece by piece; what gzip has packed is unpacked.

    `passed` is told how far in the file the reading is. A packed file that ends too early is read as far as it goes; a
    line says so then. Raises SourceError when it cannot be read.
    """
    import zlib
    from gzip import BadGzipFile, GzipFile

    shown = "<stdin>" if path == "-" else path
    if path == "-" and sys.stdin is None:
        raise SourceError(f"{shown}: cannot be read: it is closed")
    try:
        # whatever standard input is: what it is packed with is seen before it is read
        stdin = BufferedReader(cast(RawIOBase, sys.stdin.buffer)) if path == "-" else None
        with nullcontext(stdin) if stdin else Path(path).open("rb") as file:
            pieces = GzipFile(fileobj=file) if file.peek(2).startswith(b"\x1f\x8b") else file
            while block := pieces.read1(_BLOCK):
                yield block
                if path != "-":
                    passed(file.tell())
    except EOFError:
        yield _CUT
    except IsADirectoryError:
        raise SourceError(f"{shown}: is a directory; name a file") from None
    except (zlib.error, BadGzipFile):
        raise SourceError(f"{shown}: cannot be unpacked: damaged gzip data") from None
    except OSError as error:
        raise SourceError(f"{shown}: cannot be read: {(error.strerror or str(error)).lower()}") from None


def write(path: str, text: str) -> None:
    """Write a file atomically: the old contents stay until the new are complete on disk.

    Permissions and owner are kept, a link goes on pointing at what is written, and what is no file (a pipe, a terminal)
    is written to as it is. Raises SourceError when it cannot be written; nothing is left behind then.
    """
    import tempfile

    target = Path(os.path.realpath(path))
    temporary: str | None = None
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            target.write_bytes(text.encode("utf-8", "surrogateescape"))
            return
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(handle, "wb") as out:
            out.write(text.encode("utf-8", "surrogateescape"))
            out.flush()
            os.fsync(out.fileno())
        if target.exists():
            old = target.stat()
            if hasattr(os, "chown") and (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(temporary, old.st_uid, old.st_gid)
            os.chmod(temporary, stat.S_IMODE(old.st_mode))
        else:
            os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        raise SourceError(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}") from None
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
