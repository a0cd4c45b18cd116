"""Images that several measurements look at."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two classes of six colour images each, 10 to 15 pixels wide, as lossless files; and the images."""
    monkeypatch.setenv("NORMLAB_CACHE", str(tmp_path / "cache"))
    generator = np.random.default_rng(0)
    images = []
    for place in range(12):
        pixels = generator.integers(0, 256, (10, 10 + place % 6, 3), dtype=np.uint8)
        path = tmp_path / "images" / f"class{place // 6}" / f"{place:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        images.append(pixels)
    return {"name": "folder", "root": str(tmp_path / "images")}, images
