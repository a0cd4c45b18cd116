"""Checkpoints: a network with its fitted normalization, and the configuration that the network was built from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from normlab.archs import Network
from normlab.config import Config, defaults, parse_group
from normlab.errors import CheckpointError, ConfigError, first_line, lack
from normlab.inputs import TYPE_NAMES, Target
from normlab.norms import Front, Masked, build_scheme

KEY = "normlab"
# What the description of a network has, by type; see :func:`description`.
ABOUT = {"norm": dict, "arch": dict, "input_shape": list, "normalized_shape": list, "classes": list}


def description(config: Config, network: Network) -> dict[str, Any]:
    """How to build the network of a checkpoint, in plain types, so that loading runs no code from the file."""
    plain = config.plain()
    return {
        "norm": plain["norm"],
        "arch": plain["arch"],
        "input_shape": list(network.input_shape),
        "normalized_shape": list(network.normalized_shape),
        "classes": list(network.classes),
        "image_size": config.data.image_size,
        "input_type": str(network.input_type).removeprefix("torch."),
        **({} if network.tokenizer is None else {"tokenizer": network.tokenizer}),
        "target": None if network.target is None else list(network.target),
        "forecasts": network.forecasts,
        "front": network.front.plain() if network.front else None,
        "masked": isinstance(network.norm, Masked),
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
    choice: dict[str, Any] = {}
    for group in ("norm", "arch"):
        target = str(about[group].get("_target_"))
        if not target.startswith("normlab."):  # a file must not choose what code runs
            raise CheckpointError(f"{path}: names {target}, which is not part of normlab")
        try:
            choice[group] = _choice(group, about[group])
        except ConfigError as error:
            raise CheckpointError(f"{path}: {error}") from None
    front = Front(**about["front"]) if about.get("front") else None
    network = Network(
        build_scheme(choice["norm"], front, bool(about.get("masked"))),
        choice["arch"],
        tuple(about["input_shape"]),
        tuple(about["classes"]),
        tuple(about["normalized_shape"]),
        TYPE_NAMES[about.get("input_type", "uint8")],  # without one: from the time when all inputs were of 8 bits
        about.get("tokenizer"),
        Target(*about["target"]) if about.get("target") else None,
        front,
        bool(about.get("forecasts")),
    )
    network.image_size = about.get("image_size")
    _put(network, saved, Path(path))
    return network.eval()


def _choice(group: str, values: dict[str, Any]) -> Any:
    """The choice of a checkpoint by its name, because a class may have moved since."""
    own = defaults(group, str(values["name"]))["_target_"]
    if own == "normlab.norms.schemes.raw":  # which had constants in older checkpoints; the tensors hold all of it
        values = {"name": values["name"]}
    return parse_group(group, {**values, "_target_": own})


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
        reason = lack(error) or ("the file is empty" if not path.stat().st_size else first_line(error))
        raise CheckpointError(f"{path}: not readable as a checkpoint ({reason})") from None
    about = saved.get(KEY) if isinstance(saved, dict) else None
    if not isinstance(about, dict) or any(not isinstance(about.get(key), kind) for key, kind in ABOUT.items()):
        raise CheckpointError(f"{path}: not a checkpoint of normlab")
    if not isinstance(saved.get("state_dict"), dict):
        raise CheckpointError(f"{path}: a checkpoint without weights (state_dict); it may have been cut")
    return saved


def _put(network: Network, saved: dict[str, Any], path: Path) -> None:
    prefix = "network."
    state = {k.removeprefix(prefix): v for k, v in saved["state_dict"].items() if k.startswith(prefix)}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: {str(error).splitlines()[-1].strip()}") from None
