"""Where Hydra looks for plugins: the sweeper of normlab, which leaves out what has a record."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override

# The keys of hydra.sweeper: those of Hydra's own, and a study to confirm.
KEYS = {"_target_": f"{__name__}.NormlabSweeper", "max_batch_size": None, "params": None, "confirm": None}
ConfigStore.instance().store(group="hydra/sweeper", name="normlab", node=KEYS, provider="normlab")


class NormlabSweeper(BasicSweeper):
    """Hydra's grid, minus the jobs that have a record; see :func:`normlab.commandline.sweep.jobs_to_run`."""

    def __init__(
        self, max_batch_size: int | None, params: dict[str, str] | None = None, confirm: str | None = None
    ) -> None:
        super().__init__(max_batch_size, params)
        self.confirm = confirm

    def split_arguments(  # type: ignore[override]
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """The jobs that are left to run, in one batch."""
        from normlab.commandline.sweep import jobs_to_run

        (jobs,) = super().split_arguments(overrides, None)
        assert self.config is not None
        assert self.hydra_context is not None
        left = jobs_to_run(jobs, self.confirm, self.config, self.hydra_context.config_loader)
        self.launching = True
        return [left] if left else []

    def sweep(self, arguments: list[str]) -> Any:
        """Run the grid. A launcher that breaks down ends the sweep, whose summary then says what is missing."""
        self.launching = False
        try:
            return super().sweep(arguments)
        except Exception as error:
            if not self.launching:
                raise
            lines = str(error).strip().splitlines() or [""]
            print(f"normlab: the launcher broke down ({type(error).__name__}: {lines[0]})", file=sys.stderr)
            return []

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Nothing: Hydra would compose every job twice; a job that cannot be composed is refused on its turn."""
