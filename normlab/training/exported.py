"""Networks in files for other programs, and what such a program has to know of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from normlab.archs import Network
from normlab.errors import CheckpointError, ConfigError, DataError, first_line
from normlab.inputs import TYPE_NAMES, range_of_type
from normlab.norms import Affine, Masked, Normalization
from normlab.training.checkpoint import load as load_checkpoint

METADATA = "normlab.json"  # name of the metadata inside a .pt2 file
RESIZED = "shorter side to {0} pixels (bilinear, antialiased), then the center of {0}x{0} cut out"


def metadata(network: Network) -> dict[str, Any]:
    """What a program has to know to use a network, as JSON types; the same in ONNX metadata and beside a .pt2 file.

    ``input`` is the shape of one input without the batch, its type and the values that stand for u = 0 and u = 1;
    ``resize`` the rule by which images came to that size, None if they were not resized. ``mean`` and ``std`` are in
    units of u, for the record: the normalization is inside the file. They are None where the scheme is no scale and
    shift of each channel. ``left_out`` is there if the network was trained with ``data.mask``: the value of the pixels
    that do not count.
    """
    norm: Normalization = network.norm.scheme if isinstance(network.norm, Masked) else network.norm
    black, white = (norm.black.item(), norm.white.item()) if norm.has_range else range_of_type(network.input_type)
    mean = std = None
    if isinstance(norm, Affine) and norm.mean.numel() == norm.mean.shape[0]:
        mean, std = norm.mean.flatten().tolist(), norm.std.flatten().tolist()
    size = network.image_size
    return {
        "format": 1,
        "classes": list(network.classes),
        "input": {
            "shape": list(network.input_shape),
            "type": str(network.input_type).removeprefix("torch."),
            "black": black,
            "white": white,
            **({"left_out": "NaN"} if isinstance(network.norm, Masked) else {}),
        },
        "resize": None if size is None else RESIZED.format(size),
        "normalization": type(norm).__name__,
        "mean": mean,
        "std": std,
    }


class Exported(nn.Module):
    """A network from an exported file: inputs as stored in, scores out.

    Attributes:
        metadata: see :func:`metadata`.
        classes: names of the outputs.
        input_shape: of one input.
        input_type: of the inputs.
    """

    def __init__(self, function: Any, about: Mapping[str, Any]) -> None:
        super().__init__()
        self.function, self.metadata = function, dict(about)
        self.classes = tuple(about["classes"])
        self.input_shape = tuple(about["input"]["shape"])
        self.input_type = TYPE_NAMES[about["input"]["type"]]

    def forward(self, inputs: Tensor) -> Tensor:
        """Scores [B, outputs] of inputs [B, C, *positions].

        Raises:
            DataError: for inputs of another type or shape.
        """
        if inputs.dtype != self.input_type or tuple(inputs.shape[1:]) != self.input_shape:
            expected, given = (str(kind).removeprefix("torch.") for kind in (self.input_type, inputs.dtype))
            raise DataError(
                f"the network takes {expected} {['B', *self.input_shape]}, given {given} {list(inputs.shape)}".replace(
                    "'B'", "B"
                )
            )
        with torch.no_grad():
            return self.function(inputs)


def load(path: str | Path) -> Network | Exported:
    """A trained network with its normalization: of a checkpoint, or of an exported ``.onnx`` or ``.pt2`` file.

    Its attribute ``classes`` holds the names of the outputs, ``input_type`` the type of the inputs; ``metadata`` of an
    exported network holds what :func:`metadata` says.

    Args:
        path: ``checkpoint.ckpt`` in the folder of a run, or what :func:`normlab.export` wrote.

    Raises:
        CheckpointError: if the file is missing, unreadable, or not written by normlab.
        ConfigError: if a package for ONNX is missing.
    """
    path = Path(path)
    readers = {".onnx": _from_onnx, ".pt2": _from_program}
    if path.suffix not in readers:
        return load_checkpoint(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        function, text = readers[path.suffix](path)
    except ConfigError:
        raise
    except Exception as error:  # torch and onnxruntime raise several kinds
        raise CheckpointError(f"{path}: not readable as an exported network ({first_line(error)})") from None
    try:
        return Exported(function, json.loads(text))
    except (ValueError, KeyError, TypeError):
        raise CheckpointError(f"{path}: without normlab's metadata; export it again with normlab.export") from None


def _from_onnx(path: Path) -> tuple[Any, str]:
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(f"ONNX needs the package {error.name}: pip install 'normlab[export]'") from None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return (
        lambda inputs: torch.from_numpy(session.run(None, {name: inputs.numpy()})[0]),
        session.get_modelmeta().custom_metadata_map.get("normlab", ""),
    )


def _from_program(path: Path) -> tuple[Any, str]:
    extra = {METADATA: ""}
    program = torch.export.load(path, extra_files=extra)
    return program.module(), extra[METADATA]
