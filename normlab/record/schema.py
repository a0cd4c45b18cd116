"""The record of a run, field by field: what ``record.json`` holds.

Version 2 (``"schema": 2``). Records of version 1, which lack this key, can still be read; they lack the later fields.
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
    """The measurements of training; NaN if not measured, infinity for a target that was never reached.

    Attributes:
        test_accuracy, test_loss: at the end, over all test images; NaN for a run that diverged.
        validation_accuracy, validation_loss: at the end, or at the last evaluation before a divergence.
        best_validation_accuracy, best_epoch, best_validation_loss: over all evaluations.
        train_loss, best_train_loss: of the last step, and the smallest of any step (means over one batch).
        validation_area_under_curve: mean validation accuracy over epochs, 0..1.
        epochs, steps: how long the run trained.
        epochs_to, steps_to: until each target of ``trainer.targets`` was first reached on validation images.
        training_seconds, images_per_second: of training with its evaluations on validation images.

    Of a regression, ``test_r2``, ``test_rmse``, ``validation_r2``, ``validation_rmse`` and ``best_validation_r2`` stand
    in place of the accuracies, and targets and area are those of R2.

    Further keys: ``first_layer_activation_rms``, ``first_layer_gradient_norm`` and ``gradient_norm``
    at the start; ``lambda_max_at``, ``layers_at_start`` and ``layers_at_end`` with ``trainer.probe_steps``;
    ``accuracy_under`` by shift and severity; ``lambda_max``, ``condition_number``, ``rank``, ``predicted_iterations``
    and ``measured_iterations`` for a linear model; the trained values of a scheme.
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
    """Code, packages and machine that made the record, without host name and paths.

    Attributes:
        commit, dirty: of the checkout of normlab, and whether it had changes; None for an installed package.
        versions: of Python and the packages that a result depends on.
        processor, cores: of the machine.
        device, device_name: the device that PyTorch trained on, and the name of the GPU if it is one.
        threads: of PyTorch.
        data_key: hash of the images, labels and splits as they were trained on.
        test_key: hash of the test samples, in their order; None where it was neither recorded nor computed afterwards.
        data_notes: how the files were changed.
        images: number of images in each split.
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
    test_key: str | None = None
    data_notes: tuple[str, ...] = ()
    images: dict[str, int] = Field(default_factory=dict)


class Record(_Part):
    """One run.

    Attributes:
        schema: version of this list of fields, 2.
        fingerprint: identity of the run; see :mod:`normlab.record.identity`.
        status: ``diverged`` is a result (the loss was not finite), ``failed`` is not (an exception ended the run).
        error: the exception of a failed run.
        diverged_at: step of the first loss that was not finite.
        study: group of the run.
        norm, arch, data, optim, seed: chosen names, and the seed.
        lr: the learning rate; ``auto`` in a failed run that ended before the rate was chosen.
        data_content: hash of the source's images and labels; None in records of version 1.
        config: the resolved configuration.
        normalized: mean, std, min and max of the normalized training images at the start, over ``images`` images;
            ``shape``: C, H, W.
        metrics: the measurements.
        target: of a regression, mean and std of the training labels, by which training standardized them; 0 and 1 if
            it did not.
        correct: which test images were classified correctly at the end, in the order of the test split: base64 of
            numpy.packbits; None if several processes shared the images, or the run diverged.
        provenance: code, packages and machine that made the record.
        seconds: duration of each stage of the run.
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
    target: dict[str, float] | None = None
    seconds: dict[str, float] = Field(default_factory=dict)
    path: str | None = Field(None, exclude=True)  # of the run's folder, added when the record is read

    def plain(self) -> dict[str, Any]:
        """The record as JSON types; NaN and infinities stay numbers."""
        return self.model_dump(by_alias=True, exclude_none=False)


def upgrade(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A record in version 2 of the schema, from one of version 1 or 2.

    Raises:
        NormlabError: for an unknown version.
    """
    version = stored.get("schema", 1)
    if version not in (1, SCHEMA):
        raise NormlabError(f"the record has schema {version}, of a newer normlab: update normlab to read it")
    return {"data_content": None, "correct": None, **stored, "schema": SCHEMA}
