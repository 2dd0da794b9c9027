"""Is what the landmark network takes for a face a usable photo of one? Told from the face's own pixels.

The networks also find faces in drawings, in negatives and in frames that are all but black, and are as sure
of them as of portraits.
"""

from __future__ import annotations

from facewright.core.arrays import Floats
from facewright.core.errors import FacewrightError
from facewright.photo.face_cover import check_cover
from facewright.photo.face_limits import LIMITS
from facewright.photo.face_measures import F64, Mask, MeasuredFace
from facewright.photo.face_overlay import overlaid
from facewright.photo.person_mask import LEAST_AGREEMENT, FoundPerson
from facewright_client.contract import ErrorCode


def check_face(
    view: Floats, landmarks: F64, score: float, person: FoundPerson, seen: Mask, covers: bool = True
) -> list[str]:
    """Refuse what is no usable face.

    Args:
        view: LANDMARK_INPUT, ``[3, 192, 192]`` RGB 0-1.
        landmarks: ``[478, 2]``, pixels of the view.
        score: the landmark network's probability of a face.
        person: who was found there.
        seen: ``[192, 192]``, where the view shows something of the photo; the rest is not measured.
        covers: whether to ask what covers eyes, nose and mouth.

    Returns:
        Sentences for the report on exposure, contrast, sharpness and colour, and on what is covered.

    Raises:
        FacewrightError: NO_FACE for a drawing, a mosaic or a thing; BAD_PHOTO where a face is too dark,
            blown out, blurred, without contrast, a negative or in false colours, or where eyes and mouth are
            covered.
    """
    face = MeasuredFace(view, landmarks, seen)
    if not face.measurable:
        return []
    _refuse_light(face)
    covered = []
    if covers and not (
        face.dark or face.over_exposed or face.contrast < LIMITS.low_contrast or face.from_aside
    ):
        covered = check_cover(view, landmarks, face.contrast, face.change_of_hue_above)
    _refuse_pictures(face)
    if not covered and not face.over_exposed:
        _refuse_even_skin(face)
    if person.agreement < LEAST_AGREEMENT:
        _refuse_things(face, score)
    painted = _painted(face)
    if covered:  # what covers a face may be even, have any colour, and be brighter than skin
        pixelated = face.smoothness < LIMITS.pixelated and not painted
        return [*painted, *_faults_of_light(face, pixelated), *covered]
    if not (face.from_aside or painted):
        _refuse_negative(face)
    pixelated = face.smoothness < LIMITS.pixelated or face.smoothness_of_means < LIMITS.noisy_pixels
    laid_over = [] if painted or not covers else _overlaid(face)
    return [*painted, *laid_over, *_faults_of_light(face, pixelated), *_faults_of_colour(face)]


def _refuse_light(face: MeasuredFace) -> None:
    if face.brightest < LIMITS.black:
        raise _bad_photo(
            f"the face is too dark: its brightest skin has code {face.brightest:.0f} of 255",
            "take the photo in more light, or brighten it",
        )
    if face.white > LIMITS.blown_out or (face.colourless and face.colour.min() > LIMITS.paper):
        raise _bad_photo(
            f"the face is blown out, or drawn on white ground: {100 * face.white:.0f} % of it is white",
            "send a photo of a person with less light on the face, or a shorter exposure",
        )
    if face.contrast < LIMITS.no_contrast:
        raise _bad_photo(
            f"the face has no contrast: its brightness spans {face.contrast:.0f} of 255 codes",
            "send a photo in which the face is seen clearly, without haze, glass or fading",
        )


def _painted(face: MeasuredFace) -> list[str]:
    share, colour = face.one_colour
    if share < LIMITS.painted or face.over_exposed:
        return []
    what = "{:.0f} % of the face is one flat colour, rgb({:.0f}, {:.0f}, {:.0f})".format(100 * share, *colour)
    return [f"{what}, as of a bar or a mask painted over it: it is painted on the avatar."]


def _overlaid(face: MeasuredFace) -> list[str]:
    clear = face.contrast >= LIMITS.low_contrast and not (face.dark or face.over_exposed or face.from_aside)
    if not (clear and overlaid(face)):
        return []
    return [
        "Something seems to be laid over the face (a watermark, text, a pattern, a sticker?): it is painted "
        "on the avatar."
    ]


def _refuse_pictures(face: MeasuredFace) -> None:
    if face.smoothness < LIMITS.patches:
        raise _no_person("it consists of even patches, as drawings, toys and pixelated pictures do")
    if face.steepness < LIMITS.blurred_away:
        raise _bad_photo("the face is blurred beyond recognition", "send a sharp photo of the face")
    if face.change_of_hue > LIMITS.false_colours:
        raise _bad_photo(
            "the face is in false colours: hues change all over it "
            f"(by {face.change_of_hue:.1f} from cell to cell, in photos by 0.6 at most)",
            "send a photo in natural colours, no thermal or posterised picture",
        )


def _refuse_even_skin(face: MeasuredFace) -> None:
    if face.smoothness_of_means < LIMITS.noisy_patches:
        raise _no_person("it consists of even patches, with noise, as printed drawings do")
    if face.relief < LIMITS.relief:
        raise _no_person("its skin is as even as a drawing's")


def _refuse_things(face: MeasuredFace, score: float) -> None:
    """Where the other network sees nobody."""
    if face.relief < LIMITS.relief_of_things:
        raise _no_person("its skin is as even as a drawing's, and nobody is there")
    if face.smoothness_of_means < LIMITS.patches_of_things:
        raise _no_person("it consists of even patches, as pixelated pictures do, and nobody is there")
    if score < LIMITS.score_of_things:
        raise _no_person(f"nobody is there, and the landmarks are unsure (score {score:.2f})")


def _refuse_negative(face: MeasuredFace) -> None:
    if (darker := face.darker_eye()) < LIMITS.negative:
        raise _bad_photo(
            "the photo seems to be a negative, or something bright is before the eyes: they outshine "
            f"the skin by {-100 * darker:.0f} % of the face's contrast",
            "send a photo in natural colours, with nothing before the face",
        )


def _no_person(why: str) -> FacewrightError:
    return FacewrightError(
        ErrorCode.NO_FACE,
        f"what resembles a face is no photo of one: {why}",
        "send a photo of a person, no animal, drawing, toy or pixelated face",
    )


def _bad_photo(message: str, hint: str) -> FacewrightError:
    return FacewrightError(ErrorCode.BAD_PHOTO, message, hint)


def _faults_of_light(face: MeasuredFace, pixelated: bool) -> list[str]:
    faults = []
    if face.dark:
        faults.append(
            f"The face is under-exposed, its brightest skin has code {face.brightest:.0f} of 255: "
            "dark, noisy texture."
        )
    if face.over_exposed:
        faults.append(
            f"The face is over-exposed, {100 * max(face.white, face.clipped):.0f} % of it is clipped: "
            "pale texture."
        )
    if face.contrast < LIMITS.low_contrast and not face.dark:
        faults.append(f"The face has little contrast, {face.contrast:.0f} of 255 codes: flat texture.")
    if pixelated:
        faults.append("The face is pixelated, or strongly compressed: its texture shows the cells.")
    if face.growth > LIMITS.blurred:
        faults.append("The face is blurred: soft texture.")
    elif face.growth_along > LIMITS.moved:
        faults.append("The face is blurred in one direction, as if it or the camera moved: smeared texture.")
    return faults


def _faults_of_colour(face: MeasuredFace) -> list[str]:
    if face.colourless:
        return ["The photo has no colours: skin, hair and eyes of the avatar are grey."]
    if face.own_colours < LIMITS.toned and face.contrast >= LIMITS.low_contrast:
        return [
            "The photo is toned or faded, as sepia and old prints are: skin, lips, hair and eyes of the "
            "avatar have its one tone."
        ]
    in_range = [
        low < hue < high for hue, (low, high) in zip(face.hue, (LIMITS.red, LIMITS.blue), strict=True)
    ]
    if all(in_range) or face.white > LIMITS.bright:
        return []
    red, green, blue = face.colour
    return [
        f"Coloured light, or a colour cast: skin seems to be rgb({red:.0f}, {green:.0f}, {blue:.0f}), "
        "and so is the avatar's. Mend the white balance, or how it was saved (channels swapped, not sRGB)."
    ]
