"""`Sweep`: the folder of a sweep, as one table, as mean curves, and as one figure."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pandas as pd

from lensdepth.arguments import checked
from lensdepth.outside import shown
from lensdepth.scale import collect, means
from lensdepth.scale.manifest import NAME, Manifest, read_manifest
from lensdepth.scale.parts import read_receipt
from lensdepth.scale.shards import Shard

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class Sweep:
    """What `run_sweep` leaves in a folder; `Sweep.open(folder)` reads it.

    Of a sweep that is not done there are the parts that are (`missing` names the others).
    """

    MADE_BY: ClassVar[str] = "run_sweep(config, out)"
    """The call that makes one."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: str | Path) -> "Sweep":
        """The sweep that a folder holds, done or not.

        Raises:
            ValueError: it holds none, or its manifest is damaged.
        """
        place = Path(folder).expanduser().resolve()
        manifest = read_manifest(place)
        if manifest is None:
            raise ValueError(
                f"Sweep.open: {shown(str(folder))} holds no sweep: there is no {NAME} in it."
            )
        return cls(folder=place, manifest=manifest)

    @cached_property
    def shards(self) -> tuple[Shard, ...]:
        """All of them, in their order."""
        return tuple(self.manifest.shards)

    @property
    def missing(self) -> tuple[Shard, ...]:
        """Shards that are not done."""
        done = {shard.number for shard in self._done}
        return tuple(shard for shard in self.shards if shard.number not in done)

    @property
    def _done(self) -> list[Shard]:
        sweep = self.manifest.sweep
        return [one for one in self.shards if read_receipt(self.folder, one, sweep) is not None]

    def write_table(self, path: str | Path, *, partial: bool = False) -> int:
        """Write all rows as one Parquet file, part by part, and say how many there are.

        Each part is held against its checksum. Rows hold what `to_frame()` of the analysis gives
        for each pair, and in front whose they are: model, revision, dtype, task, analysis, settings
        (JSON), shard, and the number of the pair in the whole task; at the end its units
        (`unit_...`) and labels (`label_...`).

        Args:
            path: of the file.
            partial: write what is done, where not all is.
        Raises:
            ValueError: shards are missing, or a part is damaged.
            OSError: the file cannot be written.
        """
        return collect.write_table(self.folder, self.manifest, self._some(partial), Path(path))

    def to_frame(self, *, partial: bool = False) -> pd.DataFrame:
        """The same in memory."""
        return collect.whole_table(self.folder, self.manifest, self._some(partial)).to_pandas()

    def means(self, *, partial: bool = False) -> pd.DataFrame:
        """One row a curve, quantity and depth: mean over all pairs with its 95 % interval, which
        goes over units as that of the analysis itself does."""
        return means.mean_table(self.folder, self.manifest, self._some(partial))

    def plot(self, *, partial: bool = False) -> "Figure":
        """The curves of all models on relative depth, with bands; a panel a task and analysis."""
        from lensdepth.scale.figures import curves_figure

        return curves_figure(self.means(partial=partial), f"Sweep: {self.folder.name}")

    def _some(self, partial: bool) -> list[Shard]:
        done = self._done
        missing = len(self.shards) - len(done)
        if (missing and not partial) or not done:
            raise ValueError(
                f"Sweep: {missing} of {len(self.shards)} shards are missing; run the sweep again, "
                f"which goes on with it" + (", or take partial=True." if done else ".")
            )
        return done
