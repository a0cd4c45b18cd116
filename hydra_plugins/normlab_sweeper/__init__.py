"""Where Hydra looks for plugins: the sweeper of normlab, which leaves out what has a record."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override

from normlab.sweep import at_compared, left_to_run


class NormlabSweeper(BasicSweeper):
    """Hydra's grid, less the jobs that have a record; see :func:`normlab.sweep.left_to_run`."""

    def split_arguments(  # type: ignore[override]
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """The jobs that are left to run, in one batch."""
        (jobs,) = super().split_arguments(overrides, None)
        assert self.config is not None
        assert self.hydra_context is not None
        loader = self.hydra_context.config_loader
        study = self.config.get("confirm")
        if study:
            jobs = at_compared(study, jobs, self.config, loader)
        left = left_to_run(jobs, self.config, loader)
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
