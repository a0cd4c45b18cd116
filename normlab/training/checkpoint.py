"""Checkpoints: a network with its fitted normalization, and the configuration that the network was built from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from normlab.archs import Network
from normlab.config import Config, defaults, parse_group
from normlab.errors import CheckpointError, ConfigError
from normlab.inputs import TYPE_NAMES

KEY = "normlab"


def description(config: Config, network: Network) -> dict[str, Any]:
    """How to build the network of a checkpoint, in plain types, so that loading runs no code from the file."""
    plain = config.plain()
    return {
        "norm": plain["norm"],
        "arch": plain["arch"],
        "input_shape": list(network.input_shape),
        "normalized_shape": list(network.normalized_shape),
        "classes": list(network.classes),
        "input_type": str(network.input_type).removeprefix("torch."),
    }


def load(path: str | Path) -> Network:
    """The network of a checkpoint with its normalization, in evaluation mode; the network takes inputs as stored.

    Its attribute ``classes`` holds the names of the outputs, ``input_type`` the type of the inputs.

    Args:
        path: ``checkpoint.ckpt`` in the folder of a run.

    Raises:
        CheckpointError: if the file is missing, unreadable, or no checkpoint of normlab.
    """
    saved = _read(Path(path))
    about = saved[KEY]
    for group in ("norm", "arch"):
        target = str(about[group].get("_target_"))
        if not target.startswith("normlab."):  # a file must not choose what code runs
            raise CheckpointError(f"{path}: names {target}, which is not part of normlab")
    network = Network(
        _scheme(about["norm"]).build(),
        parse_group("arch", about["arch"]),
        tuple(about["input_shape"]),
        tuple(about["classes"]),
        tuple(about["normalized_shape"]),
        TYPE_NAMES[about.get("input_type", "uint8")],  # without one: from the time when all inputs were of 8 bits
    )
    _put(network, saved, Path(path))
    return network.eval()


def _scheme(values: dict[str, Any]) -> Any:
    """The choice of a scheme; one that moved since the checkpoint was written is found by its name."""
    try:
        return parse_group("norm", values)
    except ConfigError:
        return parse_group("norm", {**values, "_target_": defaults("norm", values["name"])["_target_"]})


def start_from(network: Network, path: Path) -> None:
    """Put the weights of a checkpoint into the body of a network; the network keeps its own normalization.

    Raises:
        CheckpointError: if the checkpoint holds another architecture, naming what differs.
    """
    saved = _read(path)
    prefix = "network.body."
    weights = {k.removeprefix(prefix): v for k, v in saved["state_dict"].items() if k.startswith(prefix)}
    own = network.body.state_dict()
    if missing := sorted(own.keys() ^ weights.keys()):
        raise CheckpointError(
            _other(
                path, saved, f"{missing[0]} and {len(missing) - 1} more parameters are in only one of the two networks"
            )
        )
    for name, tensor in own.items():
        if tensor.shape != weights[name].shape:
            raise CheckpointError(
                _other(
                    path,
                    saved,
                    f"{name} is {list(weights[name].shape)} in the checkpoint and {list(tensor.shape)} in this run",
                )
            )
    network.body.load_state_dict(weights)


def _other(path: Path, saved: dict[str, Any], why: str) -> str:
    return f"weights={path}: a checkpoint of another network (arch={saved[KEY]['arch']['name']}): {why}"


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch each raise their own
        raise CheckpointError(f"{path}: not readable as a checkpoint ({str(error).splitlines()[0]})") from None
    if not isinstance(saved, dict) or KEY not in saved:
        raise CheckpointError(f"{path}: not a checkpoint of normlab")
    return saved


def _put(network: Network, saved: dict[str, Any], path: Path) -> None:
    prefix = "network."
    state = {k.removeprefix(prefix): v for k, v in saved["state_dict"].items() if k.startswith(prefix)}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: {str(error).splitlines()[-1].strip()}") from None
