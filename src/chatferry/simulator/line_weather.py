"""What goes wrong on LINE's side, as long as it goes wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec

from chatferry.simulator.weather import Weather


@dataclass
class LineWeather(Weather):
    """The weather of LINE."""

    redelivery: bool = False
    """Deliver again, with growing pauses, what got no 2xx in time."""
    late: Annotated[float, msgspec.Meta(ge=0, le=86400)] = 0.0
    """Every webhook comes so many seconds late, as one does that was delivered before and reached nobody."""
    expired: bool = False
    """Reply tokens are dead on arrival."""
