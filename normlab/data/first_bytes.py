"""What the first bytes of a text file say: it may be no text, or have another encoding than was thought."""

from __future__ import annotations

from pathlib import Path

from normlab.errors import DataError

GZIP = b"\x1f\x8b"
LFS = b"version https://git-lfs.github.com/spec/"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # the marks of byte order


def require_text(path: Path) -> None:
    """Refuse a compressed file that is called a text, and the note that Git LFS leaves in the place of a large file.

    Raises:
        DataError: with what the file is.
    """
    start = first_bytes(path)
    if start.startswith(GZIP) and path.suffix.lower() != ".gz":
        raise DataError(f"{path.name}: a file that is compressed by gzip; unpack it, or let its name end in .gz")
    if start.startswith(LFS):
        raise DataError(f"{path.name}: a pointer of Git LFS, not the file itself; git lfs pull fetches it")


def likely_encoding(path: Path) -> str:
    """The encoding to suggest for a file that is not in UTF-8."""
    return "utf-16" if first_bytes(path).startswith(UTF_16) else "latin-1"


def first_bytes(path: Path) -> bytes:
    """As many as tell what a file is.

    Raises:
        DataError: if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(len(LFS))
    except OSError as error:
        raise DataError(f"{path.name}: cannot be read ({error.strerror})") from None
