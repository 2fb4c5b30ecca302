"""What a report is put beside: another model or checkpoint, or another task."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from lensdepth.cli import session
from lensdepth.cli.app import PANEL
from lensdepth.cli.completion import complete_models, complete_tasks
from lensdepth.cli.model_options import ModelOptions
from lensdepth.cli.task_options import TaskOptions, check_task

if TYPE_CHECKING:
    from lensdepth.model import DepthModel
    from lensdepth.tasks import Task


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Which other model, and which other task."""

    compare: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=complete_models,
            help="Another model, folder or checkpoint (NAME@REVISION): a report of it is measured "
            "as well, and stands beside this one on relative depth.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    compare_task: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=complete_tasks,
            help="Another task to compare with, of --compare's model or of the same one.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None

    @property
    def asked(self) -> bool:
        """Whether there is anything to compare with."""
        return self.compare is not None or self.compare_task is not None

    def task(self, own: TaskOptions) -> TaskOptions:
        """The other report's task: this one's, or another, whose wordings are its own."""
        if self.compare_task is None:
            return own
        return replace(own, task=self.compare_task, prompts=None, template=None, only=None)

    def check(self, own: TaskOptions, *, dry_run: bool) -> None:
        """Refuse what cannot be, before any model is loaded.

        Raises:
            ValueError: no such task, or a plan, which is of one model.
        """
        if not self.asked:
            return
        if dry_run:
            raise ValueError("--dry-run plans one report; leave out --compare and --compare-task.")
        check_task(self.task(own))

    def open(
        self, model: "DepthModel", own: TaskOptions, loading: ModelOptions, *, debug: bool
    ) -> "tuple[DepthModel, Task] | None":
        """The other model, held like this one, and the pairs that it answers."""
        if not self.asked:
            return None
        other = model
        if self.compare is not None:
            # Which files of a repository is said of the first one.
            loading = replace(loading, model=self.compare, file=None, revision=None, subfolder="")
            other = session.open_model(loading, debug=debug)
        pairs = session.open_task(self.task(own), other, keep="correct", edited=True, asked=loading)
        return other, pairs
