"""Recordings made by formula, for those who have none: six kinds of tones, played by ten instruments."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from normlab.config import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from normlab.data.audio import front_notes
from normlab.data.splits import Part, Source
from normlab.norms.log_mel import Front, FrontName, Level

KINDS = ("steady", "rising", "falling", "vibrato", "tremolo", "pulsed")
RATE = 8000
# Instruments of each split: a network is tested on instruments that it never heard.
INSTRUMENTS = {"train": range(6), "validation": range(6, 8), "test": range(8, 10)}


def tones(
    *,
    seconds: PositiveFloat = 0.5,
    per_class: PositiveInt = 60,
    level_db: NonNegativeFloat = 6.0,
    noise_db: float = -50.0,
    source_seed: NonNegativeInt = 0,
    front: FrontName = "log_mel",
    mels: PositiveInt = 40,
    window_ms: PositiveFloat = 32.0,
    hop_ms: PositiveFloat = 16.0,
    level: Level = "none",
) -> Source:
    """Tones whose class is how pitch and loudness move: steady, rising, falling, vibrato, tremolo, pulsed.

    A tone is a sum of harmonics sum_k a^k cos(k phi(t) + phase_k) with k f below half the rate, of a fundamental
    between 150 and 400 Hz; a, the color of the instrument, differs between instruments, and no instrument is in two
    splits. Its level is -20 dBFS plus a draw from -``level_db`` to ``level_db``, plus white noise. Values are rounded
    to 16 bits, so that they are the same on every machine.

    Args:
        seconds: length, at 8,000 samples in a second.
        per_class: training recordings of each class; validation and test have a third of this number each.
        level_db: largest difference of the level from its mean, in decibels.
        noise_db: level of the noise, in dBFS.
        source_seed: of everything that is drawn.
        front: ``log_mel``, ``kaldi`` or ``none``; see :class:`normlab.norms.log_mel.Front` for this and the next.
        mels: bins of the mel scale.
        window_ms: length of a frame.
        hop_ms: from one frame to the next.
        level: scheme of the waveform: ``peak``, ``rms`` or ``none``.
    """
    generator = torch.Generator().manual_seed(source_seed)
    parts = {}
    for split, instruments in INSTRUMENTS.items():
        count = per_class if split == "train" else max(1, per_class // 3)
        waveforms = [
            _tone(kind, instruments[i % len(instruments)], seconds, level_db, noise_db, generator)
            for kind in KINDS
            for i in range(count)
        ]
        labels = torch.arange(len(KINDS)).repeat_interleave(count)
        parts[split] = Part(torch.stack(waveforms), labels)
    settings = Front(front, RATE, mels, window_ms, hop_ms, level)
    notes = tuple(front_notes(settings))
    return Source(KINDS, parts["train"], parts["validation"], parts["test"], notes=notes, kind="audio", front=settings)


def _tone(
    kind: str, instrument: int, seconds: float, level_db: float, noise_db: float, generator: torch.Generator
) -> Tensor:
    """One recording, float32 [1, T] in multiples of 2^-15."""
    time = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    share = time / seconds
    draw = torch.rand(16, generator=generator, dtype=torch.float64)
    pitch = 150 * (400 / 150) ** draw[0].item() * torch.ones_like(time)
    speed = 5 + 3 * draw[1].item()  # Hz, of vibrato and tremolo
    swing = torch.sin(2 * math.pi * (speed * time + draw[2].item()))
    if kind in ("rising", "falling"):
        pitch = pitch * 1.5 ** ((share - 0.5) * (1 if kind == "rising" else -1))
    if kind == "vibrato":
        pitch = pitch * 2 ** (swing / 6)
    phase = 2 * math.pi * torch.cumsum(pitch, 0) / RATE
    color = 0.35 + 0.05 * instrument
    wave = torch.zeros_like(time)
    for k in range(1, 11):
        audible = (k * pitch < 0.45 * RATE).double()
        wave += audible * color**k * torch.cos(k * phase + 2 * math.pi * draw[2 + k].item())
    if kind == "tremolo":
        wave = wave * (1 + 0.8 * swing)
    if kind == "pulsed":
        wave = wave * (swing > 0)
    loudness = 10 ** ((-20 + level_db * (2 * draw[13].item() - 1)) / 20)
    noise = torch.randn(len(time), generator=generator, dtype=torch.float64) * 10 ** (noise_db / 20)
    wave = wave * (loudness / wave.square().mean().sqrt()) + noise
    return ((wave * 2**15).round().clamp(-(2**15), 2**15 - 1) / 2**15).float()[None]
