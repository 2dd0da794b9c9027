"""From where on a face is refused, or the report warns of it, and what each limit was measured on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from facewright.core.settings import Range

#: Where the limits are from: 494 photos of people (of 181 and some 150 persons, indoors and out, four of them
#: paintings or statues); 1,500 copies of 90 of those, darkened by 1 to 4 stops, brightened by 1 and 2,
#: flattened, tinted, blurred, noisy, compressed, cropped tightly; and 150 pictures that are no usable faces.
#: Each limit says how near they come; none of the photos is refused.
STUDIED: Final = "measured on 494 photos, 1,500 degraded ones and 150 that are no faces"


@dataclass(frozen=True)
class FaceLimits:
    """From when a face is refused, and from when the report warns. Brightness is in codes of 0-255."""

    #: Brightness (95th percentile) of the skin: photos 96 and more, four stops darker ones 28 and more.
    black: Annotated[float, "codes", STUDIED] = 24.0
    dark: Annotated[float, "codes", STUDIED] = 85.0
    #: Share of the skin whose least channel is from `white`: photos 0.25 at most, two stops brighter 0.5
    #: (median).
    white: Annotated[float, "codes", STUDIED] = 245.0
    blown_out: Annotated[float, "share", STUDIED] = 0.6
    bright: Annotated[float, "share", STUDIED] = 0.3
    #: Share of the skin with a clipped channel: photos 0.73 at most, one stop brighter 0.63 (median).
    clipped: Annotated[float, "share", STUDIED] = 0.8
    #: Share of the face that has one colour without any texture: photos 0.03 (98 %), 0.11 at most; with half
    #: of it painted over 0.24 to 0.55 where the landmarks keep their places, with a bar over the eyes 0.22 to
    #: 0.31.
    painted: Annotated[float, "share", "measured on 147 photos and 75 painted over"] = 0.14
    #: Range of brightness (2 to 98 %) in the face: photos 66 and more, with a quarter of their contrast 21.
    no_contrast: Annotated[float, "codes", STUDIED] = 20.0
    low_contrast: Annotated[float, "codes", STUDIED] = 50.0
    #: Median brightness of a colourless skin, above which it is paper: black-and-white copies 208 at most.
    paper: Annotated[float, "codes", STUDIED] = 241.0
    #: Steps between neighbours over steps across 8 pixels, where skin is smooth (a ramp: 0.125): photos 0.10
    #: and more; drawings 0.02 at most, mosaics of 12 to 25 cells over the face 0.02 to 0.06.
    patches: Annotated[float, "share", STUDIED] = 0.045
    pixelated: Annotated[float, "share", STUDIED] = 0.075
    #: The same between means of 5 x 5 pixels, which noise hardly changes: photos 0.096 and more, with doubled
    #: contrast 0.067; stencils with noise 0.055 at most, mosaics of 12 cells with noise 0.075 to 0.12.
    noisy_patches: Annotated[float, "share", STUDIED] = 0.06
    noisy_pixels: Annotated[float, "share", STUDIED] = 0.085
    #: Curvature of brightness over a tenth of the face, where skin is evenest, of the contrast: what shading
    #: leaves in every photo, 0.035 and more (once 0.015, in flat light); drawings 0, photos of drawings 0.003
    #: to 0.028, also in uneven light and with noise.
    relief: Annotated[float, "of the contrast", STUDIED] = 0.0135
    #: Relief, patches between means, and the network's certainty of a face (people 0.98 and more), where less
    #: than half of it is taken for a person: one of the photos is, and all mosaics of 12 to 16 cells.
    relief_of_things: Annotated[float, "of the contrast", STUDIED] = 0.03
    patches_of_things: Annotated[float, "share", STUDIED] = 0.1
    score_of_things: Annotated[float, "probability", STUDIED] = 0.98
    #: How many times more brightness differs between pixels 4 apart than between neighbours (a ramp: 4):
    #: photos 3.3 at most, two small ones 3.6; blurred over 1/75 of the face's height 3.4 and more.
    blurred: Annotated[float, "times", STUDIED] = 3.4
    #: The same along one direction: photos 3.52 at most; moved by 1/17 of the face's height 3.6 (median), by
    #: a tenth 3.7.
    moved: Annotated[float, "times", STUDIED] = 3.55
    #: Steepest brightness over 4 pixels: photos 0.087 and more; blurred over 1/35 of the face's side 0.084,
    #: 1/20 0.054 and more (95 %), 1/15 0.052 and 1/10 0.047 (medians).
    blurred_away: Annotated[float, "of the contrast per pixel", STUDIED] = 0.052
    #: Change of hue (ln R/G, ln B/G; across and down) between neighbouring thirtieths of the face, median:
    #: photos 0.64 at most and once 1.1 (in yellow light); thermal and other false colours 1.7 and more.
    false_colours: Annotated[float, "ln", STUDIED] = 1.35
    #: How much darker an eye and its lashes are than the skin below, the less dark one: photos -0.14 and more
    #: (sunglasses), negatives -0.27 at most.
    negative: Annotated[float, "of the contrast", STUDIED] = -0.22
    #: Median hue of the skin, ln(R/G) and ln(B/G) of linear light: all complexions under all ordinary lights;
    #: 2 % of photos, in warm light, are redder.
    red: Annotated[Range, "ln", STUDIED] = (0.03, 1.12)
    blue: Annotated[Range, "ln", STUDIED] = (-1.75, 0.2)
    #: Below this, hue and its changes are those of a black-and-white photo.
    colourless: Annotated[float, "ln", STUDIED] = 0.02
    #: Hues beside those that brightness explains: photos 0.10 and more, four of 293 0.07 and more; sepia,
    #: blue and brown toning, also with noise, 0.06 at most.
    toned: Annotated[float, "ln", STUDIED] = 0.066


LIMITS: Final = FaceLimits()
