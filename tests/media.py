"""Files that people send, made when they are needed."""

from __future__ import annotations

import base64
import io
import itertools
import math
import struct
import zipfile
import zlib

import av
import pillow_heif
from PIL import Image, ImageDraw, ImageFilter, ImageFont

pillow_heif.register_heif_opener()


def picture(form: str = "PNG", size: tuple[int, int] = (640, 480), color: str = "white") -> bytes:
    """A picture of one colour with a frame."""
    image = Image.new("RGB", size, color)
    ImageDraw.Draw(image).rectangle((10, 10, size[0] // 2, size[1] // 2), outline="red", width=5)
    into = io.BytesIO()
    image.save(into, form)
    return into.getvalue()


def photo(width: int = 4032, height: int = 3024) -> bytes:
    """A phone's photo: large, noisy, lying on its side."""
    noise = Image.effect_noise((width // 4, height // 4), 60).resize((width, height)).convert("RGB")
    into, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # upright once it is turned
    exif[0x010F] = "a phone that has a name"
    noise.save(into, "JPEG", quality=80, exif=exif)
    return into.getvalue()


def huge_png(width: int = 30_000, height: int = 30_000) -> bytes:
    """A megabyte that says it has 900 million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    rows = zlib.compress(b"\0" * 10_000_000, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def pdf(*pages: str, blank: int = 0) -> bytes:
    """A page for each line of ASCII, behind so many without any text."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for text in (*("" for _ in range(blank)), *pages):
        drawn = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
        objects.append(f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream")
        page = f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {len(objects)} 0 R "
        objects.append(page + "/Resources << /Font << /F1 3 0 R >> >> >>")
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    body, places = b"%PDF-1.4\n", []
    for number, text in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj\n{text}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    head = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n"
    return (
        body
        + f"{head}{table}trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF".encode()
    )


def zipped(**members: bytes | str) -> bytes:
    """A zip file; `__` in a name stands for a slash, `_` before its ending for a dot."""
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name if "." in name else name.replace("__", "/").replace("_", "."), data)
    return into.getvalue()


_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_S = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def docx(*paragraphs: str, **more: bytes) -> bytes:
    stops = '<w:pPr><w:tabs><w:tab w:pos="720"/><w:tab w:pos="1440"/></w:tabs></w:pPr>'
    text = "".join(f"<w:p>{stops}<w:r><w:t>{paragraph}</w:t></w:r></w:p>" for paragraph in paragraphs)
    return zipped(word__document_xml=f'<w:document xmlns:w="{_W}"><w:body>{text}</w:body></w:document>', **more)


def xlsx(*rows: tuple[str | int, ...]) -> bytes:
    def cell(value: str | int) -> str:
        return f"<c><v>{value}</v></c>" if isinstance(value, int) else f'<c t="inlineStr"><is><t>{value}</t></is></c>'

    lines = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
    return _book(f'<worksheet xmlns="{_S}"><sheetData>{lines}</sheetData></worksheet>')


def hidden(state: str) -> bytes:
    """A book whose only sheet is not shown."""
    row = "<row><c><v>7</v></c></row>"
    return _book(f'<worksheet xmlns="{_S}"><sheetData>{row}</sheetData></worksheet>', f'state="{state}"')


def _book(sheet: str, more: str = "") -> bytes:
    package = "http://schemas.openxmlformats.org/package/2006/relationships"

    def link(kind: str, target: str) -> str:
        one = f'<Relationship Id="r1" Type="{_R}/{kind}" Target="{target}"/>'
        return f'<Relationships xmlns="{package}">{one}</Relationships>'

    return zipped(
        **{
            "_rels/.rels": link("officeDocument", "xl/workbook.xml"),
            "xl/workbook.xml": f'<workbook xmlns="{_S}" xmlns:r="{_R}"><sheets>'
            f'<sheet name="Prices" sheetId="1" {more} r:id="r1"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": link("worksheet", "worksheets/sheet1.xml"),
            "xl/worksheets/sheet1.xml": sheet,
        }
    )


def entities() -> bytes:
    """A hundred characters that say a billion."""
    named = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "lol"}">' for n in range(10))
    return zipped(word__document_xml=f'<!DOCTYPE w [{named}]><w:document xmlns:w="{_W}">&e9;</w:document>')


def written(*lines: str) -> bytes:
    """A picture of text."""
    image = Image.new("RGB", (800, 80 * len(lines) + 20), "white")
    font = ImageFont.truetype("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc", 40)
    for number, line in enumerate(lines):
        ImageDraw.Draw(image).text((20, 20 + 80 * number), line, "black", font)
    into = io.BytesIO()
    image.save(into, "PNG")
    return into.getvalue()


def far() -> bytes:
    """A table with two cells, at its first and at its last place."""
    sheet = f'<worksheet xmlns="{_S}"><sheetData><row r="1"><c r="A1"><v>1</v></c></row>'
    return _book(f'{sheet}<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData></worksheet>')


def locked() -> bytes:
    """A PDF that says it is encrypted, by a way and with a key that nobody has."""
    key = "41" * 32
    lock = f"<< /Filter /Standard /V 1 /R 2 /O <{key}> /U <{key}> /P -4 >>"
    return pdf("secret").replace(b"/Root 1 0 R", f"/Root 1 0 R /Encrypt {lock} /ID [<00><00>]".encode())


def labyrinth() -> bytes:
    """A PDF of a few kilobytes whose page draws a form that draws a form ... ten times each."""
    forms = 9
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
               "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R"
               " /Resources << /XObject << /X 5 0 R >> /Font << /F1 20 0 R >> >> >>",
               "<< /Length 50 >>\nstream\n" + "/X Do " * 8 + "\nendstream"]  # fmt: skip
    for number in range(forms):
        drawn = "/X Do " * 10 if number < forms - 1 else "BT /F1 9 Tf (x) Tj ET"
        its = f"/XObject << /X {6 + number} 0 R >> /Font << /F1 20 0 R >>"
        objects.append(
            f"<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << {its} >> /Length {len(drawn)} >>\n"
            f"stream\n{drawn}\nendstream"
        )
    body = "".join(f"{number} 0 obj\n{text}\nendobj\n" for number, text in enumerate(objects, 1))
    font = "20 0 obj\n<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>\nendobj\n"
    return f"%PDF-1.4\n{body}{font}trailer << /Root 1 0 R /Size 21 >>".encode()


AMR = base64.b64decode(
    "IyFBTVIKBIA4H+/rafWOAKnGgAQdPTKn2x21UUUy0SwEjTgylqt/JYPwlJ4GBD4vMqprmnSoT09xxASNODama1FkJEsscqAEPj0ypus/pMymuK"
    "pABI04NpZrx2QnkwsNfgQ+PTKne310jpOkUr4EjTg2l2vGpEHtDwxgBD49Mqdr3aSujG7xOgSNODaqa8XkJgsOmhYEPj0yq2tYdI0E7FVGBI04"
    "Npt7UJRHizEyjAQ+LzKqe55UyPMaj0oEjTg2putVREBkyRWmBD49MqZ7eWSssxirRASNODaWe2ekQ5JlBSIEPj0ypmvfNIqzrRKcRCsHg2gAfH"
    "w="
)
"""A third of a second of 440 Hz as WeChat sends it, and two packets by which a phone says that nobody speaks."""


def hum(form: str, codec: str) -> bytes:
    """A second of 440 Hz."""
    into, rate = io.BytesIO(), 16_000
    with av.open(into, "w", format=form) as box:
        stream = box.add_stream(codec, rate=rate, layout="mono")
        assert isinstance(stream, av.AudioStream)
        for begin in range(0, rate, 1000):
            frame = av.AudioFrame("s16", "mono", 1000)
            frame.sample_rate, frame.pts = rate, begin
            heights = (int(9000 * math.sin(2 * math.pi * 440 * n / rate)) for n in range(begin, begin + 1000))
            frame.planes[0].update(struct.pack("<1000h", *heights))
            box.mux(stream.encode(frame))
        box.mux(stream.encode(None))
    return into.getvalue()


def heard(mp3: bytes) -> tuple[float, float]:
    """How long a sound is, in seconds, and how high, in hertz."""
    samples: list[int] = []
    with av.open(io.BytesIO(mp3), "r", format="mp3") as box:
        to_mono = av.AudioResampler("s16", "mono", 16_000)
        for frame in box.decode(audio=0):
            for one in to_mono.resample(frame):
                samples += struct.unpack(f"<{one.samples}h", bytes(one.planes[0])[: 2 * one.samples])
    loud = [n for n, sample in enumerate(samples) if abs(sample) > 2000]
    tone = samples[loud[0] : loud[-1]] if loud else []
    turns = sum((a < 0) != (b < 0) for a, b in itertools.pairwise(tone))
    return len(samples) / 16_000, turns / 2 / (len(tone) / 16_000) if tone else 0.0


def huge_heic() -> bytes:
    """A small picture that says it has 900 million pixels."""
    size = (64).to_bytes(4, "big") * 2
    return picture("HEIF", (64, 64)).replace(b"ispe\0\0\0\0" + size, b"ispe\0\0\0\0" + (30_000).to_bytes(4, "big") * 2)


def scan(*pages: tuple[str, ...]) -> bytes:
    """A PDF of pictures of paper, a little aslant."""
    images = [Image.open(io.BytesIO(written(*lines))).convert("L") for lines in pages]
    images = [image.rotate(0.5, fillcolor=255).filter(ImageFilter.GaussianBlur(0.7)) for image in images]
    into = io.BytesIO()
    images[0].save(into, "PDF", save_all=True, append_images=images[1:])
    return into.getvalue()


def huge_scan(width: int = 30_000) -> bytes:
    """A PDF of a few kilobytes whose one page is a picture of 900 million pixels."""
    packed = zlib.compress(bytes(10_000_000), 9)
    its = f"/Subtype /Image /Width {width} /Height {width} /ColorSpace /DeviceRGB /BitsPerComponent 8"
    drawn = "612 0 0 792 0 0 cm /X Do"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
        b" /Resources << /XObject << /X 5 0 R >> >> >>",
        f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream".encode(),
        f"<< /Type /XObject {its} /Filter /FlateDecode /Length {len(packed)} >>\nstream\n".encode()
        + packed
        + b"\nendstream",
    ]
    body = b"".join(b"%d 0 obj\n%b\nendobj\n" % (number, its) for number, its in enumerate(objects, 1))
    return b"%PDF-1.4\n" + body + b"trailer << /Root 1 0 R /Size 6 >>"
