"""The text in a picture, read offline by models that come with the library: Chinese, Japanese and English."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import numpy
import onnxruntime
from PIL import Image
from rapidocr import RapidOCR
from rapidocr.utils.output import RapidOCROutput

_SURE = 0.5
"""Below this it is a guess."""


def read(images: Iterable[Image.Image]) -> Iterator[str]:
    """The text of each: a line for each line, from the top down."""
    logging.disable(logging.CRITICAL)
    onnxruntime.disable_telemetry_events()
    engine = RapidOCR(params={"EngineConfig.onnxruntime.intra_op_num_threads": 1, "Global.log_level": "critical"})
    for image in images:
        found = engine(numpy.asarray(image.convert("RGB"))[:, :, ::-1])
        if not isinstance(found, RapidOCROutput):
            yield ""
            continue
        lines = zip(found.txts or (), found.scores or (), strict=True)
        yield "\n".join(text for text, score in lines if score >= _SURE)
