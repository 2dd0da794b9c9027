"""Another model's head to the open head: the geometry of the stage ``to_open_head``.

Where the correspondence knows a vertex, it lies on the source's surface. The rest of the skin continues from
there what the open head, fitted to the known part, is off by; eyeballs, teeth and tongue follow. Pose and
expression are told apart together: ARKit's expressions are solved for without what a rigid motion explains.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular
from scipy.optimize import nnls

from facewright.core.errors import FacewrightError
from facewright.core.settings import NUMERICAL
from facewright.fit.camera import similarity
from facewright.fit.corrective_field import bilaplacian_energy, membrane, part_vertices, rigid_followers
from facewright.fit.field_fill import FieldFill
from facewright.head.correspondence import BUILD_COMMAND, SUFFIX, HeadCorrespondence
from facewright.head.head_model import HeadModel
from facewright.pipelines.section import Section
from facewright_client.contract import ErrorCode

Floats = NDArray[np.floating]
#: Where values are from.
ON_KNOWN_HEADS: Final = "set on remeshed open heads, whose form is known"


@dataclass(frozen=True)
class CarrySettings:
    """What a carried head is made with."""

    #: 1 sigma of a vertex beside the open head's linear forms, whose coefficients have 1 sigma of 1.
    identity_sigma: Annotated[float, "metres", ON_KNOWN_HEADS] = 0.002
    #: The same beside expressions; it keeps weights of shapes that cancel out from growing.
    expression_sigma: Annotated[float, "metres", ON_KNOWN_HEADS] = 0.0005
    #: Over what distance a difference fades where the source has no surface: on the outer skin, in linings.
    skin_length: Annotated[float, "metres", ON_KNOWN_HEADS] = 0.05
    lining_length: Annotated[float, "metres", ON_KNOWN_HEADS] = 0.02
    rounds: Annotated[int, "rounds", NUMERICAL] = 4
    #: A source that is farther than this from every head, root mean square, is none.
    farthest: Annotated[float, "metres", ON_KNOWN_HEADS] = 0.015


class CarriedReport(TypedDict):
    """What the stage says: whose head it was and of which files, how much of the skin it had, and how far it
    lies from the open head's linear forms, root mean square.
    """

    source: str
    source_files: list[str]
    known_share: float
    beside_linear_mm: float


@dataclass(frozen=True)
class CarriedHead:
    """What `HeadCarrier.carry` gives.

    Attributes:
        fitted_vertices: f32 [V, 3], head space, with expression.
        neutral_vertices: f32 [V, 3], head space.
        identity: f32 [160].
        expression: f32 [52], 0-1.
        head_to_camera: f32 [3, 4].
        section: for the report.
    """

    fitted_vertices: NDArray[np.float32]
    neutral_vertices: NDArray[np.float32]
    identity: NDArray[np.float32]
    expression: NDArray[np.float32]
    head_to_camera: NDArray[np.float32]
    section: Section


class HeadCarrier:
    """Carries heads of one source.

    Args:
        head: the open head.
        correspondence: of the source with it.
        settings: lengths and weights.
    """

    def __init__(
        self, head: HeadModel, correspondence: HeadCorrespondence, settings: CarrySettings | None = None
    ) -> None:
        self._head, self._correspondence = head, correspondence
        self._settings = settings or CarrySettings()
        self._known = np.flatnonzero(correspondence.confidence == 1)
        self._mean = head.vertices_mean[self._known].astype(np.float64)
        self._identity = _LinearForms(
            self._mean, head.identity_basis[:, self._known], self._settings.identity_sigma
        )
        self._expression = _LinearForms(
            self._mean, head.expression_basis[:, self._known], self._settings.expression_sigma
        )
        outer = np.unique(head.outer_triangles)
        self._known_share = float(np.mean(correspondence.confidence[outer] == 1))
        self._skin, self._linings = self._fills(outer)
        self._followers = rigid_followers(head)

    @property
    def source_count(self) -> int:
        """N, the number of the source's vertices."""
        return self._correspondence.source_count

    def carry(self, posed: Floats, neutral: Floats, source_to_camera: Floats) -> CarriedHead:
        """One head.

        Args:
            posed: [N, 3], the source's vertices as the photo shows them, its unit and frame; turned or not.
            neutral: [N, 3], the same person's at rest.
            source_to_camera: [3, 4], from ``posed`` to camera space, metres.

        Raises:
            FacewrightError: ENGINE_MISMATCH for another number of vertices; INTERNAL for numbers that are not
                finite, and for what is no head.
        """
        settings, head = self._settings, self._head
        seen, rest = (self._correspondence.carried(vertices) for vertices in (posed, neutral))
        if not np.isfinite(source_to_camera).all():
            raise _no_head("SOURCE_TO_CAMERA holds numbers that are not finite")
        identity = np.zeros(len(head.identity_basis))
        moved = self._mean
        for _ in range(settings.rounds):
            placed = _moved_onto(rest, self._known, moved)
            identity = self._identity.nearest(placed[self._known] - self._mean)
            moved = self._mean + self._identity.displacement(identity)
        placed = _moved_onto(rest, self._known, moved)
        away = self._require_near(placed, moved, "the vertices at rest", "any head")
        own_neutral = self._completed(head.neutral(identity), placed)

        expression = np.zeros(len(head.expression_basis))
        at_rest = own_neutral[self._known]
        moved = at_rest
        for _ in range(settings.rounds):
            placed = _moved_onto(seen, self._known, moved)
            expression = self._expression.nearest_positive(placed[self._known] - at_rest)
            moved = at_rest + self._expression.displacement(expression)
        placed = _moved_onto(seen, self._known, moved)
        self._require_near(placed, moved, "the posed vertices", "any face of those at rest")
        fitted = self._completed(own_neutral + np.tensordot(expression, head.expression_basis, 1), placed)
        to_source = np.linalg.inv(self._correspondence.source_to_head.astype(np.float64))
        to_camera = np.asarray(source_to_camera, np.float64)
        in_camera = seen[self._known] @ (to_camera[:, :3] @ to_source).T + to_camera[:, 3]
        _, rotation, shift = similarity(fitted[self._known], in_camera, scaled=False)
        return CarriedHead(
            fitted.astype(np.float32),
            own_neutral.astype(np.float32),
            identity.astype(np.float32),
            expression.astype(np.float32),
            np.concatenate([rotation, shift[:, None]], axis=1).astype(np.float32),
            self._section(away),
        )

    def _require_near(
        self, placed: NDArray[np.float64], places: NDArray[np.float64], what: str, of_what: str
    ) -> float:
        """How far the known vertices [V, 3] lie from ``places`` [K, 3], root mean square, metres."""
        away = float(np.sqrt(np.mean(np.sum((placed[self._known] - places) ** 2, axis=1))))
        if away > self._settings.farthest:
            raise _no_head(f"{what} of {self._correspondence.source} lie {away * 1e3:.0f} mm from {of_what}")
        return away

    def _section(self, away: float) -> Section:
        report: CarriedReport = {
            "source": self._correspondence.source,
            "source_files": list(self._correspondence.metadata.get("source_files", [])),
            "known_share": round(self._known_share, 3),
            "beside_linear_mm": round(1e3 * away, 3),
        }
        return Section({"carried": report})

    def _completed(self, base: Floats, placed: NDArray[np.float64]) -> NDArray[np.float64]:
        """``base`` [V, 3] with the source's vertices ``placed`` [V, 3] where they are known."""
        sure = self._correspondence.confidence[:, None] > 0
        field = self._linings(self._skin(np.where(sure, placed - base, 0.0)))
        for moved, anchors, weights in self._followers:
            field[moved] = weights @ field[anchors]
        return base + field

    def _fills(self, outer: NDArray[np.int32]) -> tuple[FieldFill, FieldFill]:
        """What continues a field on the outer skin, smoothly, and from there into the linings, within bounds:
        a smooth field would bulge there and come through the skin.
        """
        mean, settings = self._head.vertices_mean.astype(np.float64), self._settings
        confidence = self._correspondence.confidence.astype(np.float64)
        unsure = outer[confidence[outer] < 1]
        energy = bilaplacian_energy(mean, self._head.outer_triangles, settings.skin_length)
        # in proportion to what the surface around it weighs
        pull = confidence[unsure] / (1 - confidence[unsure]) * energy.diagonal()[unsure]
        skin = FieldFill(energy, outer[confidence[outer] == 1], unsure, pull)
        triangles = self._head.triangles[self._head.part_triangles("skin")]
        stiffness, area = membrane(mean, triangles)
        inner = np.setdiff1d(part_vertices(self._head, ["skin"]), outer)
        within = sparse.csr_array(stiffness + sparse.diags_array(area / settings.lining_length**2))
        return skin, FieldFill(within, outer, inner)


class HeadCarriers:
    """A `HeadCarrier` for every source whose correspondence there is, and for the open head itself.

    Args:
        head_file: the open head's.
        repository: where ``<model>_to_open.npz`` lie; None: nowhere.

    Raises:
        FacewrightError: ENGINE_MISMATCH when a correspondence is for another open head, or two are of heads
            with as many vertices; INTERNAL when one cannot be read.
    """

    def __init__(self, head_file: Path, repository: Path | None) -> None:
        head = HeadModel.load(head_file)
        found = {head.vertex_count: HeadCorrespondence.identity(head)}
        for path in sorted(repository.glob(f"*{SUFFIX}")) if repository is not None else ():
            correspondence = HeadCorrespondence.load(path, head_file)
            other = found.setdefault(correspondence.source_count, correspondence)
            if other is not correspondence:
                raise FacewrightError(
                    ErrorCode.ENGINE_MISMATCH,
                    f"the heads of {other.source} and {correspondence.source} both have "
                    f"{other.source_count} vertices",
                    f"move {path} away, or the other",
                )
        self._repository = repository
        self._carriers = {count: HeadCarrier(head, one) for count, one in found.items()}

    def of(self, count: int) -> HeadCarrier:
        """That of the source with ``count`` vertices.

        Raises:
            FacewrightError: ENGINE_MISMATCH when there is none.
        """
        if count not in self._carriers:
            raise FacewrightError(
                ErrorCode.ENGINE_MISMATCH,
                f"the network gives a head of {count} vertices, and no correspondence in "
                f"{self._repository or 'a repository'} is of such a one",
                f"write it into the repository of the networks: {BUILD_COMMAND} --output REPOSITORY",
            )
        return self._carriers[count]


class _LinearForms:
    """Coefficients of displacements of known vertices, apart from what a rigid motion of them explains.

    Args:
        mean: float64 [K, 3], where they rest.
        basis: [C, K, 3].
        sigma: of a vertex beside the basis, metres.
    """

    def __init__(self, mean: NDArray[np.float64], basis: Floats, sigma: float) -> None:
        self._basis = basis.reshape(len(basis), -1).astype(np.float64)
        centred = mean - mean.mean(axis=0)
        motions = [np.broadcast_to(axis, mean.shape) for axis in np.eye(3)]
        motions += [np.cross(axis, centred) for axis in np.eye(3)]
        rigid = np.linalg.qr(np.stack(motions).reshape(6, -1).T)[0]
        self._apart = self._basis - (self._basis @ rigid) @ rigid.T
        gram = self._apart @ self._apart.T + sigma**2 * np.eye(len(basis))
        self._factor = cho_factor(gram)
        self._root = cholesky(gram)  # upper

    def nearest(self, field: NDArray[np.float64]) -> NDArray[np.float64]:
        """The coefficients [C] of a field [K, 3]."""
        coefficients: NDArray[np.float64] = cho_solve(self._factor, self._apart @ field.ravel())
        return coefficients

    def nearest_positive(self, field: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same within 0 and 1."""
        wanted = solve_triangular(self._root, self._apart @ field.ravel(), trans="T")
        weights: NDArray[np.float64] = np.clip(nnls(self._root, wanted)[0], 0.0, 1.0)
        return weights

    def displacement(self, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        """The field [K, 3]."""
        return (coefficients @ self._basis).reshape(-1, 3)


def _moved_onto(
    vertices: Floats, known: NDArray[np.int64], places: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``vertices`` [V, 3] moved rigidly so that those ``known`` come nearest to ``places`` [K, 3]."""
    _, rotation, shift = similarity(vertices[known].astype(np.float64), places, scaled=False)
    return vertices @ rotation.T + shift


def _no_head(what: str) -> FacewrightError:
    return FacewrightError(
        ErrorCode.INTERNAL, what, "the step before has a defect, or its network's weights are damaged"
    )
