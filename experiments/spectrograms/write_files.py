"""Write the spoken digits as files of floats, one mel spectrogram each, for the study spectrograms.

    python experiments/spectrograms/write_files.py

Reads NORMLAB_DATA/spoken_digits, writes NORMLAB_DATA/spectrograms_log/DIGIT/NAME.npy and
NORMLAB_DATA/spectrograms_power/DIGIT/NAME.npy: float32 of 32 mel bins by 32 frames, half a second. The logarithm is
computed in float64 and rounded to a thousandth, so that the files, and the fingerprints of the runs, are the same on
every machine; the power is its exponential.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from normlab.config import choose
from normlab.data import open_source
from normlab.data.folder import find
from normlab.data.recordings import recordings_below


def main() -> None:
    """Write both folders."""
    recordings = find(Path("spoken_digits"), "data=spoken_digits")
    source = open_source(choose("data", "spoken_digits", mels=32, seconds=0.496))
    paths, waveforms = recordings_below(recordings, lambda error: None), source.train.pictures
    assert isinstance(waveforms, torch.Tensor)
    assert source.front is not None
    layer = source.front.build()
    spectrograms = torch.cat([layer(part) for part in waveforms.split(256)]).double().numpy()
    for path, label, spectrogram in zip(paths, source.train.labels.tolist(), spectrograms, strict=True):
        logarithm = np.round(spectrogram, 3)
        for name, values in (("spectrograms_log", logarithm), ("spectrograms_power", np.exp(logarithm))):
            file = recordings.parent / name / source.classes[label] / f"{path.stem}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, values.astype(np.float32))
    print(f"{len(paths):,} recordings, in {recordings.parent / 'spectrograms_log'} and spectrograms_power")


if __name__ == "__main__":
    main()
