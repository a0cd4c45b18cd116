from pathlib import PurePosixPath

import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch, tmp_path_factory, request):
    monkeypatch.setenv("NORMLAB_CACHE", str(tmp_path_factory.mktemp("cache")))
    if request.node.get_closest_marker("real_data") is None:
        monkeypatch.delenv("NORMLAB_DATA", raising=False)


@pytest.fixture
def make_folder(tmp_path):
    """A function from {"train/cat": 5, ...} to a folder of so many PNG files.

    Red is 20 for each step of the class among the class names, green the number of the image in its folder.
    """

    def make(counts, name="images", size=(8, 8)):
        root = tmp_path / name
        root.mkdir(parents=True, exist_ok=True)
        classes = sorted({PurePosixPath(folder).name for folder in counts})
        for folder, count in counts.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                colour = (20 * classes.index(PurePosixPath(folder).name), i, 77)
                Image.new("RGB", size, colour).save(root / folder / f"{i:03}.png")
        return root

    return make
