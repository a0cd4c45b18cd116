"""A trained network as one file for other programs, with its normalization inside."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import nn

from normlab.archs.folding import example_inputs, folded
from normlab.errors import CheckpointError, ConfigError, NormlabError, first_line
from normlab.files import replacing, write_whole
from normlab.norms import Masked
from normlab.training.checkpoint import load
from normlab.training.exported import METADATA, metadata

TOLERANCE = 1e-5  # of the scores read back from the file, relative to the largest


def export(path: str | Path, out: str | Path, fold: bool = True) -> str:
    """Write the network of a checkpoint as ONNX or as a torch.export program, taking inputs as stored, of any B.

    The file carries what a program has to know (:func:`normlab.training.exported.metadata`): ONNX as its metadata, the
    whole under ``normlab`` and each part under its own name; a .pt2 file inside, and as ``NAME.json`` beside it.

    The file is read back and must give the same scores; otherwise it is deleted, and an earlier file stays.

    Args:
        path: ``checkpoint.ckpt`` in the folder of a run.
        out: ``NAME.onnx`` (``pip install 'normlab[export]'``) or ``NAME.pt2``.
        fold: put the normalization into the weights of the first layer where that is exact; see
            :func:`normlab.archs.folding.folded`.

    Returns:
        A text: whether the normalization is folded into the weights or kept as a layer, and why.

    Raises:
        CheckpointError: if the checkpoint cannot be read, its network cannot be exported, or the file gives other
            scores.
        ConfigError: for another ending, a path that cannot be written, or a missing package.
    """
    out = Path(out).expanduser()
    writers = {".onnx": _to_onnx, ".pt2": _to_program}
    if out.suffix not in writers:
        raise ConfigError(f"{out}: expected a name that ends in {' or '.join(writers)}")
    if out.is_dir():
        raise ConfigError(f"{out}: this is a folder; give the name of a file")
    with ExitStack() as stack:
        try:
            temporary = stack.enter_context(replacing(out))
        except OSError as error:
            raise ConfigError(f"{out}: cannot be written ({error.strerror})") from None
        network = load(path)
        if isinstance(network.norm, Masked) and network.norm.scheme.looks_at == "sample":
            raise CheckpointError(
                f"{path}: cannot be exported: its normalization gathers the pixels of each image that count, and each "
                f"image has another number of them (data.mask); normlab.load takes the checkpoint itself"
            )
        module, text = folded(network) if fold else (network, "kept as a layer")
        images = example_inputs(network, 3)
        with torch.no_grad():
            expected = network(images)
        try:
            about = metadata(network)
            actual = writers[out.suffix](module.eval(), images, temporary, about)
        except NormlabError:
            raise
        except Exception as error:  # torch and onnx raise several kinds for what they cannot trace or write
            raise CheckpointError(f"{out}: cannot be exported: {first_line(error)}") from error
        gap = ((actual - expected).abs().max() / expected.abs().max().clamp(min=1)).item()
        if not gap <= TOLERANCE:
            raise CheckpointError(f"{out}: its scores differ from the checkpoint's by {gap:.1e}; the file was deleted")
    if out.suffix == ".pt2":
        write_whole(out.with_suffix(".json"), json.dumps(about, indent=1))
    return text


def _program(module: nn.Module, images: torch.Tensor) -> Any:
    return torch.export.export(module, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))


def _to_program(module: nn.Module, images: torch.Tensor, out: Path, about: dict[str, Any]) -> torch.Tensor:
    torch.export.save(_program(module, images), out, extra_files={METADATA: json.dumps(about)})
    with torch.no_grad():
        return torch.export.load(out).module()(images)


def _to_onnx(module: nn.Module, images: torch.Tensor, out: Path, about: dict[str, Any]) -> torch.Tensor:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch.onnx needs it
    except ImportError as error:
        raise ConfigError(f"ONNX needs the package {error.name}: pip install 'normlab[export]'") from None
    written = torch.onnx.export(
        _program(module, images), (), input_names=["images"], output_names=["scores"], dynamo=True, verbose=False
    )
    assert written is not None
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in about.items()}
    written.model.metadata_props.update({"normlab": json.dumps(about), **texts})
    written.save(out)
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0])
