"""Trains ``face_shape`` on what the landmark network sees of synthetic people.

Identity is a linear regression in closed form: with Gaussian people and landmarks whose errors are Gaussian
it is the posterior's mean. The landmark network's errors on photos are larger than on renders and alike among
neighbours, so they are assumed and not measured (`ERROR`): without them the regression trusts tenths of a
millimetre that no photo has. Expressions that are hardly told from forms, a frown or lowered brows, are taken
to be more frequent than they were drawn (`UNTOLD_VARIANCE`), so that no person's form is read from what may
be one. Expressions take part in sparse groups and show non-linearly (a lid that is half
closed and one that is closed look alike to landmarks), so they get a small network with a loss in millimetres
of skin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from facewright.fit.camera import Camera
from facewright.fit.field_expressions import both_sides
from facewright.head.head_model import HeadModel
from facewright.pipelines.tensors import MESH_COUNT
from facewright_client.contract import EXPRESSION_SIZE
from facewright_export.face_shape.landmark_bias import landmark_bias, pose_terms
from facewright_export.face_shape.landmark_shapes import posed_shapes, reference_shape
from facewright_export.face_shape.weights import IDENTITY_REGRESSED, FaceShapeWeights

FloatArray = npt.NDArray[np.float64]

#: Root mean square distance of a head's landmarks from their middle, millimetres: sets the features' unit.
RADIUS: Final = 60.0
HELD_OUT: Final = 0.15
#: Scores count as this many millimetres each, and are taken to err by that much of themselves.
SCORE_WEIGHT: Final = 10.0
SCORE_SIGMA: Final = 0.05
SCORE_SPREAD: Final = 0.2
#: What the expressions' network begins with: leading axes of the landmarks' form, and the scores.
AXES: Final = 120
HIDDEN: Final = (256, 128)
STEPS: Final = 6000
BATCH: Final = 128
#: Shapes of which less is told than this (correlation with the truth) are left to the fit.
LEAST_CORRELATION: Final = 0.3
#: Most that an output is raised to undo what a regression draws to the mean.
LARGEST_GAIN: Final = 1.6
#: Share of people without an expression in whom it must not be found.
QUIET: Final = 0.98
#: Lids are open or closed: what half of those give who show at least so much of it counts as all of it.
ALL_OR_NOTHING: Final = "eyeBlink"
STRONGLY: Final = 0.8
#: Standard deviations of a median absolute error.
GAUSSIAN: Final = 1.4826
#: Variance of each of `CONFUSED`, both sides alike, that is expected beside what was drawn, where the
#: expressions' network tells nothing of it; less as it tells more. With none, .34 of a frown, .40 of a sneer,
#: .20 of lowered brows and .16 of a pucker were read as the person's form; with it .10, .17, .09 and .02. Of
#: all shapes it would cost more of the form: much of how lips roll and press is how thick they are.
UNTOLD_VARIANCE: Final = 1.0
CONFUSED: Final = (
    "browDown",
    "browInnerUp",
    "browOuterUp",
    "eyeBlink",
    "mouthFrown",
    "mouthPucker",
    "mouthSmile",
    "noseSneer",
)


@dataclass(frozen=True)
class LandmarkErrors:
    """1 sigma of a landmark's error on photos, millimetres: its own, and what it shares with neighbours."""

    own: float = 0.5
    shared: float = 1.0
    reach: float = 30.0  # millimetres over which neighbours share it

    def shared_covariance(self, reference: FloatArray) -> FloatArray:
        """[468, 468] of one coordinate."""
        squares = ((reference[:, None] - reference[None]) ** 2).sum(axis=2)
        covariance: FloatArray = self.shared**2 * np.exp(-0.5 * squares / self.reach**2)
        return covariance


ERROR: Final = LandmarkErrors()


@dataclass(frozen=True)
class ObservedPeople:
    """What is known of N people and what networks saw of them.

    Args:
        landmarks: float32 [N, 478, 3], the landmark network's.
        scores: float32 [N, 52], the blendshape network's of these.
        identity: float64 [N, 160].
        expression: float64 [N, 52].
        intrinsics, head_to_camera: float64 [N, 3, 3] and [N, 3, 4], of the landmark network's input.
    """

    landmarks: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    identity: FloatArray
    expression: FloatArray
    intrinsics: FloatArray
    head_to_camera: FloatArray

    def cameras(self) -> list[Camera]:
        """Of each."""
        return [
            Camera(pose[:, :3], pose[:, 3], float(lens[0, 0]), lens[:2, 2])
            for lens, pose in zip(self.intrinsics, self.head_to_camera, strict=True)
        ]


def train_face_shape(
    head: HeadModel, people: ObservedPeople, seed: int, say: Callable[[str], None]
) -> FaceShapeWeights:
    """Trains on all but the last `HELD_OUT` of the people, on whom the sigmas are measured."""
    count = len(people.landmarks)
    known = np.arange(count) < round(count * (1 - HELD_OUT))
    reference = _upright(head, reference_shape(people.landmarks[known], RADIUS))
    turned, rotation = posed_shapes(people.landmarks, reference)
    shapes = turned.reshape(count, -1)
    mean_shape = shapes[known].mean(axis=0)
    centred = shapes - mean_shape
    one_axis = ERROR.shared_covariance(reference) + ERROR.own**2 * np.eye(MESH_COUNT)
    noise = np.asarray(np.kron(one_axis, np.eye(3)), np.float64)
    covariance = centred[known].T @ centred[known] / known.sum() + noise

    features = np.concatenate([centred, people.scores], axis=1)
    axes, offset, layers = _expressions(head, people, centred, (covariance, noise), known, seed, say)
    output, shown = _run_layers(features[~known] @ axes + offset, layers), people.expression[~known]
    names = [str(name) for name in head.expression_names]
    told = _told(output, shown)
    gain, dead, sigma = _calibrated(output, shown, told, names)

    identity, bias = _identity(people, centred, noise, _untold(told, names), known)
    error = features[~known] @ identity + bias - people.identity[~known, :IDENTITY_REGRESSED]
    say(f"identity: {1 - (error**2).mean():.3f} of its variance explained on people not trained on")
    return FaceShapeWeights(
        reference=reference,
        mean_shape=mean_shape,
        landmark_bias=landmark_bias(
            head,
            people.landmarks,
            np.concatenate([people.identity, people.expression], axis=1),
            people.cameras(),
            pose_terms(rotation),
        ),
        identity_weights=identity,
        identity_bias=bias,
        identity_common=np.zeros(IDENTITY_REGRESSED),
        identity_sigma=np.sqrt((error**2).mean(axis=0)),
        distance_axes=_distance_axes(centred[known], covariance),
        expression_axes=axes,
        expression_offset=offset,
        expression_layers=layers,
        expression_gain=gain,
        expression_dead=dead,
        expression_sigma=sigma,
    )


def _upright(head: HeadModel, reference: FloatArray) -> FloatArray:
    """The reference turned as the mean head's own landmarks are."""
    own = head.landmarks(head.vertices_mean)[:MESH_COUNT].astype(np.float64)
    own = own - own.mean(axis=0)
    u, _, vt = np.linalg.svd(own.T @ reference)
    turned: FloatArray = reference @ (u @ vt).T
    return turned


def _told(output: FloatArray, truth: FloatArray) -> FloatArray:
    """Correlation [52] of what the expressions' network gives with the truth; 0 where nobody shows any."""
    apart, own = output - output.mean(axis=0), truth - truth.mean(axis=0)
    length = np.linalg.norm(apart, axis=0) * np.linalg.norm(own, axis=0)
    told: FloatArray = (apart * own).sum(axis=0) / np.where(length > 0, length, 1.0)
    return told


def _untold(told: FloatArray, names: Sequence[str]) -> FloatArray:
    """Expressions [A, 52] of which each is shown with a variance of 1 beside those that were drawn."""
    sides = np.stack([both_sides(names)[name] for name in CONFUSED])
    of_both = sides @ told / sides.sum(axis=1)
    untold: FloatArray = np.sqrt(UNTOLD_VARIANCE * (1 - of_both**2))[:, None] * sides
    return untold


def _identity(
    people: ObservedPeople,
    centred: FloatArray,
    noise: FloatArray,
    untold: FloatArray,
    known: npt.NDArray[np.bool_],
) -> tuple[FloatArray, FloatArray]:
    """Ridge regression with the landmarks' assumed errors ``noise`` [1404, 1404] and more of the expressions
    ``untold`` [A, 52]: weights [F, 100] and bias [100]."""
    scores = people.scores.astype(np.float64)
    mean_scores = scores[known].mean(axis=0)
    features = np.concatenate([centred, SCORE_WEIGHT * (scores - mean_scores)], axis=1)[known]
    size, landmarks = features.shape[1], centred.shape[1]
    gram = features.T @ features / len(features)
    gram[:landmarks, :landmarks] += noise
    gram[range(landmarks, size), range(landmarks, size)] += (SCORE_WEIGHT * SCORE_SIGMA) ** 2
    truth = people.identity[known, :IDENTITY_REGRESSED]
    # what an expression does to the features, whosever they are
    shown = np.concatenate([people.expression[known], truth, np.ones((len(truth), 1))], axis=1)
    moved = untold @ np.linalg.lstsq(shown, features)[0][:EXPRESSION_SIZE]
    gram += moved.T @ moved
    weights = np.linalg.solve(gram, features.T @ truth / len(features))
    weights[landmarks:] *= SCORE_WEIGHT
    return weights, -mean_scores @ weights[landmarks:]


def _expressions(
    head: HeadModel,
    people: ObservedPeople,
    centred: FloatArray,
    covariances: tuple[FloatArray, FloatArray],
    known: npt.NDArray[np.bool_],
    seed: int,
    say: Callable[[str], None],
) -> tuple[FloatArray, FloatArray, list[tuple[FloatArray, FloatArray]]]:
    """What the expressions' network begins with, [F, K] and [K], and its layers.

    ``covariances`` [1404, 1404]: of the landmarks' forms, and of their errors alone.
    """
    covariance, noise = covariances
    values, vectors = np.linalg.eigh(covariance)
    leading = vectors[:, ::-1][:, :AXES] / np.sqrt(values[::-1][:AXES])
    mean_scores = people.scores[known].mean(axis=0).astype(np.float64)
    axes = np.zeros((centred.shape[1] + EXPRESSION_SIZE, AXES + EXPRESSION_SIZE))
    axes[: centred.shape[1], :AXES] = leading
    axes[centred.shape[1] :, AXES:] = np.eye(EXPRESSION_SIZE) / SCORE_SPREAD
    offset = np.concatenate([np.zeros(AXES), -mean_scores / SCORE_SPREAD])

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    sizes = (axes.shape[1], *HIDDEN, EXPRESSION_SIZE)
    layers: list[torch.nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [torch.nn.Linear(before, after), torch.nn.ReLU(), torch.nn.Dropout(0.1)]
    network = torch.nn.Sequential(*layers[:-2])
    # errors of landmarks as the axes see them: a batch's own are drawn anew each time
    root = torch.tensor(np.linalg.cholesky(leading.T @ noise @ leading)).float()
    inputs = torch.tensor(np.concatenate([centred, people.scores], axis=1)[known] @ axes + offset).float()
    truth = torch.tensor(people.expression[known]).float()
    weight = torch.tensor(_skin_moved(head)).float()
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.03)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, STEPS)
    draw = torch.Generator().manual_seed(seed)
    scale = torch.cat([torch.ones(AXES), torch.full((EXPRESSION_SIZE,), SCORE_SIGMA / SCORE_SPREAD)])
    for step in range(STEPS):
        rows = torch.randint(len(inputs), (BATCH,), generator=draw)
        errors = torch.randn(BATCH, axes.shape[1], generator=draw)
        errors[:, :AXES] = errors[:, :AXES] @ root.T
        wrong = network(inputs[rows] + errors * scale) - truth[rows]
        loss = torch.einsum("ni,ij,nj->n", wrong, weight, wrong).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if step % 1000 == 999:
            say(f"expressions: step {step + 1} of {STEPS}, loss {loss.item():.3f} mm²")
    linear = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    return axes, offset, [_numbers(layer) for layer in linear]


def _numbers(layer: torch.nn.Linear) -> tuple[FloatArray, FloatArray]:
    return layer.weight.detach().double().numpy().T, layer.bias.detach().double().numpy()


def _skin_moved(head: HeadModel) -> FloatArray:
    """Gram matrix [52, 52] of the expressions' displacements of the face, mm² of a vertex, and a little of
    the weights themselves."""
    face = head.region("face") > 0.5
    moved = head.expression_basis[:, face].reshape(EXPRESSION_SIZE, -1).astype(np.float64) * 1e3
    gram: FloatArray = moved @ moved.T / face.sum() + 2.0 * np.eye(EXPRESSION_SIZE)
    return gram


def _run_layers(value: FloatArray, layers: list[tuple[FloatArray, FloatArray]]) -> FloatArray:
    for weight, bias in layers[:-1]:
        value = np.maximum(value @ weight + bias, 0.0)
    weight, bias = layers[-1]
    return value @ weight + bias


def _calibrated(
    output: FloatArray, truth: FloatArray, told: FloatArray, names: Sequence[str]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Gain, dead zone and sigma [52] of each shape; a gain of 0 where too little is told of it."""
    gain, dead, sigma = np.zeros(EXPRESSION_SIZE), np.zeros(EXPRESSION_SIZE), np.ones(EXPRESSION_SIZE)
    for index in range(EXPRESSION_SIZE):
        shown, given = truth[:, index] > 0, truth[:, index]
        if shown.sum() < 20 or told[index] < LEAST_CORRELATION:
            continue
        quiet = max(float(np.quantile(output[~shown, index], QUIET)), 0.0)
        slope = float((output[shown, index] @ given[shown]) / (given[shown] @ given[shown]))
        gain[index] = min(1.0 / slope, LARGEST_GAIN)
        # what a full expression gives stays 1: the dead zone takes from the foot
        gain[index] /= max(1.0 - gain[index] * quiet, 0.5)
        decided = names[index].startswith(ALL_OR_NOTHING)
        if decided:
            full = float(np.median(output[given > STRONGLY, index]))
            gain[index] = max(1.0 / max(full - quiet, quiet), gain[index])
        dead[index] = gain[index] * quiet
        found = np.clip(gain[index] * output[:, index] - dead[index], 0.0, 1.0)
        wrong = np.abs(found - given)[found > 0]
        # where it is decided, few are all wrong and say nothing of the others
        deviation = GAUSSIAN * np.median(wrong) if decided else np.sqrt((wrong**2).mean())
        sigma[index] = max(float(deviation), 0.05)
    return gain, dead, sigma


def _distance_axes(centred: FloatArray, covariance: FloatArray) -> FloatArray:
    """Axes [1404, D] whose root mean square of outputs is 1 where one in a thousand people is."""
    values, vectors = np.linalg.eigh(covariance)
    axes = vectors[:, ::-1][:, :AXES] / np.sqrt(values[::-1][:AXES])
    far = np.quantile(np.sqrt(((centred @ axes) ** 2).mean(axis=1)), 0.999)
    scaled: FloatArray = axes / far
    return scaled
