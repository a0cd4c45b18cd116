"""The record of a run, field by field: what ``record.json`` holds.

Version 2 (``"schema": 2``). Records of version 1, which have no such key, still read: they lack what came later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from normlab.errors import NormlabError

SCHEMA = 2
Status = Literal["finished", "diverged", "failed"]
Numbers = dict[str, int | float]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Metrics(_Part):
    """What training measured; NaN where nothing was measured, infinity where a target was never reached.

    Attributes:
        test_accuracy, test_loss: at the end, over all test images; NaN for a run that diverged.
        validation_accuracy, validation_loss: at the end, or at the last evaluation before a divergence.
        best_validation_accuracy, best_epoch, best_validation_loss: over all evaluations.
        train_loss, best_train_loss: of the last step, and the smallest of any step (means over one batch).
        validation_area_under_curve: mean validation accuracy over epochs, 0..1.
        epochs, steps: trained.
        epochs_to, steps_to: until each target of ``trainer.targets`` was first reached on validation images.
        training_seconds, images_per_second: of training with its evaluations on validation images.

    Others have keys of their own: ``first_layer_activation_rms``, ``first_layer_gradient_norm`` and ``gradient_norm``
    at the start; ``lambda_max_at``, ``layers_at_start`` and ``layers_at_end`` where ``trainer.probe_steps`` asked for
    them; ``accuracy_under`` by shift and severity; ``lambda_max``, ``condition_number``, ``rank`` and
    ``predicted_iterations`` beside ``measured_iterations`` for a linear model; what a scheme learned.
    """

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())

    test_accuracy: float = float("nan")
    test_loss: float = float("nan")
    validation_accuracy: float = float("nan")
    validation_loss: float = float("nan")
    best_validation_accuracy: float = float("nan")
    best_epoch: float = float("nan")
    best_validation_loss: float = float("nan")
    train_loss: float = float("nan")
    best_train_loss: float = float("nan")
    validation_area_under_curve: float = float("nan")
    epochs: float = float("nan")
    steps: int | float = float("nan")
    epochs_to: Numbers = Field(default_factory=dict)
    steps_to: Numbers = Field(default_factory=dict)
    training_seconds: float = float("nan")
    images_per_second: float = float("nan")


class Provenance(_Part):
    """What made the record: no host name, no path.

    Attributes:
        commit, dirty: of the checkout that normlab ran from, and whether it had changes; None if it was installed.
        versions: of Python and the packages that a result depends on.
        processor, cores: of the machine.
        device, device_name: that PyTorch trained on, and the name of a GPU.
        threads: of PyTorch.
        data_key: hash of the images, labels and splits as they were trained on.
        data_notes: what was done to the files.
        images: in each split.
    """

    commit: str | None
    dirty: bool | None
    versions: dict[str, str]
    processor: str
    cores: int | None
    device: str | None = None
    device_name: str | None = None
    threads: int | None = None
    data_key: str | None = None
    data_notes: tuple[str, ...] = ()
    images: dict[str, int] = Field(default_factory=dict)


class Record(_Part):
    """One run.

    Attributes:
        schema: version of this list, 2.
        fingerprint: what the run is; see :mod:`normlab.record.identity`.
        status: ``diverged`` is a result (the loss was not finite), ``failed`` is none (an exception ended the run).
        error: the exception of a failed run.
        diverged_at: step of the first loss that was not finite.
        study: group of the run.
        norm, arch, data, optim, seed: chosen names, and the seed.
        lr: the learning rate; ``auto`` in a failed run that did not come to choose one.
        data_content: hash of what the data are made of; None in records of version 1.
        config: the resolved configuration.
        normalized: mean, std, min and max of the training images as the network first sees them, over ``images`` of
            them; ``shape`` C, H, W.
        metrics: what was measured.
        correct: which test images were classified rightly at the end, in the order of the test split: base64 of
            numpy.packbits; None where the processes of several devices shared the images, or the run diverged.
        provenance: what made the record.
        seconds: by stage of the run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), populate_by_name=True)

    schema_version: Literal[2] = Field(2, alias="schema")
    fingerprint: str
    status: Status
    study: str
    norm: str
    arch: str
    data: str
    optim: str
    lr: float | Literal["auto"]
    seed: int
    config: dict[str, Any]
    metrics: Metrics
    provenance: Provenance
    data_content: str | None = None
    diverged_at: int | None = None
    error: str | None = None
    normalized: dict[str, Any] = Field(default_factory=dict)
    correct: str | None = None
    seconds: dict[str, float] = Field(default_factory=dict)
    path: str | None = Field(None, exclude=True)  # of the run's folder, known to whoever read it

    def plain(self) -> dict[str, Any]:
        """The record as JSON types; NaN and infinities stay numbers."""
        return self.model_dump(by_alias=True, exclude_none=False)


def upgrade(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A record as version 2 has it, from one of version 1 or 2.

    Raises:
        NormlabError: for a version that this release does not know.
    """
    version = stored.get("schema", 1)
    if version not in (1, SCHEMA):
        raise NormlabError(f"a record of schema {version}, which a newer normlab has written")
    return {"data_content": None, "correct": None, **stored, "schema": SCHEMA}
