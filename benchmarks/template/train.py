"""The usual way, for benchmarks/sweep.py: Lightning and Hydra as in the lightning-hydra-template, without normlab.

    python benchmarks/template/train.py -m 'seed=range(0,200)'

A LightningDataModule with DataLoaders, a LightningModule with torchmetrics and self.log, instantiated by Hydra with
its trainer, a CSV logger, checkpoints of the best and the last epoch, early stopping, and a test of the best epoch. The
model, the optimizer, the batches and the number of epochs are those of `+norm=unit data=digits arch=linear`.
"""

from __future__ import annotations

from functools import partial

import hydra
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, random_split
from torchmetrics import MaxMetric, MeanMetric
from torchmetrics.classification import MulticlassAccuracy

Batch = tuple[Tensor, Tensor]


class Digits(pl.LightningDataModule):
    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size

    def setup(self, stage: str | None = None) -> None:
        if stage == "fit":
            bunch = load_digits()
            images = torch.from_numpy(bunch.images).float()[:, None] / 16
            dataset = TensorDataset(images, torch.from_numpy(bunch.target))
            generator = torch.Generator().manual_seed(0)
            self.train, self.validation, self.test = random_split(dataset, [1295, 143, 359], generator)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.train, self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.validation, 256)

    def test_dataloader(self) -> DataLoader:
        return DataLoader(self.test, 256)


class Classifier(pl.LightningModule):
    def __init__(self, optimizer: partial[torch.optim.Optimizer]) -> None:
        super().__init__()
        self.optimizer = optimizer
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        self.criterion = nn.CrossEntropyLoss()
        self.train_accuracy, self.val_accuracy, self.test_accuracy = (MulticlassAccuracy(10) for _ in range(3))
        self.train_loss, self.val_loss, self.test_loss, self.val_best = *(MeanMetric() for _ in range(3)), MaxMetric()

    def step(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        images, labels = batch
        scores = self.network(images)
        return self.criterion(scores, labels), scores.argmax(1), labels

    def on_train_start(self) -> None:
        self.val_loss.reset()
        self.val_accuracy.reset()
        self.val_best.reset()

    def training_step(self, batch: Batch, index: int) -> Tensor:
        loss, found, labels = self.step(batch)
        self.train_loss(loss)
        self.train_accuracy(found, labels)
        self.log("train/loss", self.train_loss, on_step=False, on_epoch=True, prog_bar=True)
        self.log("train/acc", self.train_accuracy, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        loss, found, labels = self.step(batch)
        self.val_loss(loss)
        self.val_accuracy(found, labels)
        self.log("val/loss", self.val_loss, on_step=False, on_epoch=True, prog_bar=True)
        self.log("val/acc", self.val_accuracy, on_step=False, on_epoch=True, prog_bar=True)

    def on_validation_epoch_end(self) -> None:
        self.val_best(self.val_accuracy.compute())
        self.log("val/acc_best", self.val_best.compute(), sync_dist=True, prog_bar=True)

    def test_step(self, batch: Batch, index: int) -> None:
        loss, found, labels = self.step(batch)
        self.test_loss(loss)
        self.test_accuracy(found, labels)
        self.log("test/loss", self.test_loss, on_step=False, on_epoch=True)
        self.log("test/acc", self.test_accuracy, on_step=False, on_epoch=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer(params=self.parameters())


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(config: DictConfig) -> None:
    pl.seed_everything(config.seed, workers=True)
    data = hydra.utils.instantiate(config.data)
    model = hydra.utils.instantiate(config.model)
    callbacks = [hydra.utils.instantiate(callback) for callback in config.callbacks.values()]
    logger = [hydra.utils.instantiate(one) for one in config.logger.values()]
    trainer = hydra.utils.instantiate(config.trainer, callbacks=callbacks, logger=logger)
    trainer.fit(model, datamodule=data)
    # The file is our own, so torch.load need not distrust it.
    trainer.test(model, datamodule=data, ckpt_path="best", weights_only=False)


if __name__ == "__main__":
    main()
