"""What training leaves: networks, metrics, and how to go on."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attnflow.schedule import Schedule
from attnflow.tabled import Tabled
from attnflow.train.logs import flat, runaway
from attnflow.train.objective import Objective
from attnflow.train.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Trained(Tabled):
    """What training leaves.

    Attributes:
        engine: the compiled functions, with data and config.
        state: weights and optimiser after the last step.
        rows: metrics, one row an epoch and run; before them those of the first steps, whose
            ``epoch`` is below 1.
        goals: what each stage of the schedule minimises.
        schedule: with the switch time that theory proposed.
        folder: where the run is on disk, or None.
        stage: the stage of the schedule that it ended in, from 0.
        noted: what one should know of the inputs.
    """

    engine: Any
    state: Any
    rows: list[dict[str, Any]]
    goals: list[Objective]
    schedule: Schedule
    folder: RunFolder | None = None
    stage: int = 0
    noted: tuple[str, ...] = ()

    @property
    def objective(self) -> Objective:
        """What was minimised last."""
        return self.goals[self.stage]

    @property
    def remarks(self) -> tuple[str, ...]:
        """What one should know of this run: of its inputs, its schedule and its scores."""
        return (*self.noted, *self.schedule.unreached(self.stage), *runaway(self.rows))

    def to_pandas(self) -> "pd.DataFrame":
        """The metrics as a table, a column for each quantity of each set ("heldout.alpha")."""
        import pandas as pd

        return pd.DataFrame([flat(row) for row in self.rows])

    def __repr__(self) -> str:
        run, last = self.engine.run, flat(self.rows[-1]) if self.rows else {}
        where = "in memory" if self.folder is None else f"in {str(self.folder.path)!r}"
        told = ("loss", "alpha", "heldout.alpha", "heldout.accuracy", "val.bleu4")
        known = (f"{name} {last[name]:.4g}" for name in told if last.get(name) is not None)
        lines = (
            f"Trained on {run.task} by {run.paradigm}, {last.get('epoch', 0)} epochs, {where}",
            f"  last row: {', '.join(known)}" if last else "",
            *(f"  {remark}" for remark in self.remarks[:6]),
        )
        return "\n".join(filter(None, lines))
