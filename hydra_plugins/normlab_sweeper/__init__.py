"""Where Hydra looks for plugins: the sweeper of normlab, which leaves out what has a record."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override

from normlab.errors import first_line

# The keys of hydra.sweeper: those of Hydra's own, a study to confirm, one whose learning rates are searched, and
# the change with which it is run.
KEYS = {"_target_": f"{__name__}.NormlabSweeper", "max_batch_size": None, "params": None}
KEYS |= {"confirm": None, "search": None, "sensitivity": None}
ConfigStore.instance().store(group="hydra/sweeper", name="normlab", node=KEYS, provider="normlab")


class NormlabSweeper(BasicSweeper):
    """Hydra's grid, minus the jobs that have a record, in as many rounds as the search for learning rates takes.

    See :class:`normlab.commandline.sweep.Rounds`.
    """

    def __init__(
        self,
        max_batch_size: int | None,
        params: dict[str, str] | None = None,
        confirm: str | None = None,
        search: str | None = None,
        sensitivity: str | None = None,
    ) -> None:
        super().__init__(max_batch_size, params)
        self.confirm = confirm
        self.search = search
        self.sensitivity = sensitivity

    def split_arguments(  # type: ignore[override]
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """The jobs of the first round; :meth:`is_done` asks for the others."""
        from normlab.commandline.launcher import KnownJobs
        from normlab.commandline.sweep import Rounds

        (jobs,) = super().split_arguments(overrides, None)
        assert self.config is not None
        assert self.hydra_context is not None
        loader = self.hydra_context.config_loader
        self.rounds = Rounds(jobs, self.confirm, self.search, self.sensitivity, self.config, loader)
        assert self.launcher is not None
        self.launcher = KnownJobs(self.launcher, self.rounds, self.config)
        first = self.rounds.next_batch()
        self.launching = True
        return [first] if first else []

    def is_done(self) -> bool:
        """Whether no job is left; at the end of a round the next one is appended."""
        if not super().is_done():
            return False
        self.launching = False
        batch = self.rounds.next_batch()
        self.launching = True
        if batch:
            assert isinstance(self.overrides, list)
            self.overrides.append(batch)
        return not batch

    def sweep(self, arguments: list[str]) -> Any:
        """Run the grid and print its summary, which sets the exit status.

        A launcher that breaks down ends the sweep, whose summary then says what is missing. The summary is no callback
        of Hydra's, because Hydra makes warnings of a callback's exceptions.
        """
        from normlab.commandline.summary import close

        self.launching = False
        returned: Any = []
        try:
            returned = super().sweep(arguments)
        except Exception as error:
            if not self.launching:
                raise
            print(f"normlab: the launcher broke down ({type(error).__name__}: {first_line(error)})", file=sys.stderr)
        assert self.config is not None
        if status := close(Path(self.config.hydra.sweep.dir), self.rounds.folders):
            sys.exit(status)
        return returned

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Nothing: Hydra would compose every job twice; a job that cannot be composed is refused on its turn."""
