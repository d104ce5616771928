"""What a gateway of the demo knows before its first model: features, and their values at the start."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from turnout.features.v1 import feature_service_pb2 as features_pb

if TYPE_CHECKING:
    from trainer.demo.screen import Screen
    from turnout.control import Control

DEFINITIONS = Path(__file__).parent / "definitions"


def furnish(control: Control, sources: Path, screen: Screen, *, start_us: int) -> None:
    """Make the features known, set the replay clock to the start, and fill the online store as of then."""
    screen.doing("applying and materializing the features")
    applied = control.apply_features(DEFINITIONS, base_dir=sources)
    control.advance_clock(start_us)
    request = features_pb.MaterializeRequest(until_us=start_us)
    written = sum(view.entities_written for view in control.features.Materialize(request).views)
    screen.done(f"{len(applied.changes)} feature definitions applied, {written:,} entities materialized")
