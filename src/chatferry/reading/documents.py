"""The text of documents, up to a little more than is asked for."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING

from chatferry.reading.encodings import decoded
from chatferry.reading.jobs import Job, Unreadable
from chatferry.sniffing import DOCX, PDF, TEXT, XLSX

if TYPE_CHECKING:
    import pypdfium2
    from PIL import Image

_PAGES = 20_000
"""Pages that are looked at, where they have no text."""
_XML = 64 << 20
"""Bytes that the text of a document may have when it is unpacked."""
_WORDS = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"


def read(job: Job, data: bytes) -> str:
    """Raises Unreadable, and what the libraries raise."""
    if job.media_type == TEXT:
        return decoded(data, job.language)
    readers = {PDF: _pdf, DOCX: _docx, XLSX: _xlsx}
    return _first(readers[job.media_type](data), job.text)


def _first(pieces: Iterable[str], limit: int) -> str:
    """As many pieces as it takes to have more than `limit` characters."""
    taken, length = [], 0
    for piece in pieces:
        taken.append(piece[: limit + 1])
        length += len(taken[-1])
        if length > limit:
            break
    return "".join(taken)


def drawn(data: bytes, pages: int) -> tuple[list[Image.Image], int]:
    """The first pages of a PDF as pictures, and how many it has. Raises Unreadable."""
    document = _opened(data)
    return [_drawn(document[number]) for number in range(min(len(document), pages))], len(document)


def _drawn(page: pypdfium2.PdfPage) -> Image.Image:
    from chatferry.reading.pictures import LONGEST

    image: Image.Image = page.render(scale=LONGEST / max(page.get_size()), rev_byteorder=True).to_pil()
    page.close()
    return image


def _opened(data: bytes) -> pypdfium2.PdfDocument:
    import pypdfium2

    try:
        return pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as fault:
        raise Unreadable("locked" if "password" in str(fault).lower() else "broken") from None


def _pdf(data: bytes) -> Iterator[str]:
    document = _opened(data)
    for number in range(min(len(document), _PAGES)):
        page = document[number]
        text = page.get_textpage().get_text_bounded()
        page.close()
        yield text.replace("\r\n", "\n").strip() + "\n\n"


def _docx(data: bytes) -> Iterator[str]:
    """Paragraphs, and rows of tables with a tab between two cells."""
    from defusedxml.ElementTree import iterparse

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if archive.getinfo("word/document.xml").flag_bits & 1:
            raise Unreadable("locked")
        with archive.open("word/document.xml") as document:
            cells, stops = 0, False
            for event, element in iterparse(_Bounded(document), events=("start", "end")):
                name = element.tag.removeprefix(_WORDS)
                if name == "tabs":  # where its tabs stop, which is no text
                    stops = event == "start"
                if event == "start":
                    cells += name == "tc"
                    continue
                if name == "t":
                    yield element.text or ""
                elif name == "tab" and not stops:
                    yield "\t"
                elif name in ("br", "p"):
                    yield " " if cells else "\n"
                elif name == "tc":
                    cells -= 1
                    yield "\t"
                elif name == "tr":
                    yield "\n"
                if name in ("p", "tr"):
                    element.clear()


class _Bounded(io.RawIOBase):
    """A file that is unpacked while it is read, and not without end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left = _XML

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(min(size, 1 << 16) if size >= 0 else 1 << 16)
        self._left -= len(data)
        if self._left < 0:
            raise Unreadable("heavy")
        return data


def _xlsx(data: bytes) -> Iterator[str]:
    """Sheet after sheet that a reader sees, each below its name; a row is a line, with a tab between two cells."""
    import python_calamine

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _XML:
            raise Unreadable("heavy")
    book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
    for sheet in book.sheets_metadata:
        if sheet.visible != python_calamine.SheetVisibleEnum.Visible:
            continue
        name = sheet.name
        yield f"# {name}\n"
        for row in book.get_sheet_by_name(name).iter_rows():
            line = "\t".join(_cell(value) for value in row).rstrip()
            if line:
                yield f"{line}\n"
        yield "\n"


def _cell(value: object) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value).replace("\n", " ")
