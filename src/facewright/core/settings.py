"""How the numbers of a stage are written down: frozen dataclasses whose fields say unit and source.

A setting is a field such as ``thickest: Annotated[float, "metres", BY_EYE] = 0.045``: its type, its unit and
where its value is from, with a comment that says what it means. What another value does to the likeness is
measured by ``python -m benchmarks.likeness FOLDER --ablate bake.hair.colour.pin=4``.
"""

from __future__ import annotations

from typing import Final

#: Two values of something: where a smooth step from 0 to 1 begins and ends, or the least and the most of it.
Range = tuple[float, float]
#: Linear RGB, or one number for each of three features.
Triple = tuple[float, float, float]

#: Where a value is from, if not from a paper or a measurement that the field names itself.
BY_EYE: Final = "set by eye on portraits, not measured"
#: Halved and doubled by the likeness benchmark on 20 photos (benchmarks/results/ablation.json): the judge can
#: tell.
MEASURED: Final = "measured: benchmarks.likeness --ablate"
#: The same, and it cannot: another value may look better or worse to people, but not to it.
INSENSITIVE: Final = "measured: benchmarks.likeness --ablate, insensitive"
#: On heads that are known, where likeness tells no difference.
BY_GEOMETRY: Final = "measured: benchmarks.geometry, on heads that nobody trained on"
#: A property of the method's arithmetic and not of what it shows.
NUMERICAL: Final = "numerical: fine enough, no likeness in it"
