"""``POST /v1/refinements``: the body is a start as ``facewright refine`` takes it, an ``.npz``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, ClassVar, Final

import numpy as np
from google.protobuf.message import DecodeError
from starlette.responses import Response

from facewright.core.errors import FacewrightError
from facewright.core.options import Option
from facewright.gateway.rest.answers import PiecesResponse, no_answer, outputs_of, tensors_json
from facewright.gateway.rest.asked import PRIORITY, Asked, Input, chosen, timeout_s
from facewright.gateway.rest.errors import JSON, RequestError
from facewright.pipelines.stages import Pipeline
from facewright.refine.start_file import read_start
from facewright_client import contract

#: An ``.npz`` is one.
ZIP: Final = "application/zip"
#: Of an archive; each costs memory before anything of it is read, and a body has room for 700,000.
_MOST_ENTRIES: Final = 100
_ENTRY: Final = b"PK\x01\x02"  # begins each in the archive's directory (PKWARE's APPNOTE.TXT, 4.3.12)
#: Names in the file, as ``facewright refine`` writes them.
_ARRAYS: Final = {
    contract.REFINED_W_PLUS.name: "w_plus",
    contract.REFINED_HEAD_TO_CAMERA.name: "head_to_camera",
    contract.REFINED_SH_LIGHT.name: "sh_light",
    contract.REFINEMENT_LOSSES.name: "losses",
}
#: An option of pictures, which are for streams over gRPC.
_PICTURES: Final = "preview_every"


def refinement_pipelines(served: Mapping[str, Pipeline]) -> dict[str, Pipeline]:
    """Those that refine a start and nothing else; the first is the default."""
    return {
        name: row
        for name, row in served.items()
        if {tensor for tensor in row.takes if not tensor.optional} == set(contract.REFINEMENT_INPUTS)
        and set(contract.REFINEMENT_OUTPUTS) <= set(row.gives)
    }


def refinement_options(refinements: Mapping[str, Pipeline]) -> dict[str, Option]:
    """What every request may say beside its pipeline's options."""
    names = tuple(refinements)
    meaning = "what refines; one with progress tells of each iteration, and has the machine for itself"
    return {
        "pipeline": Option(str, next(iter(names), ""), choices=names, meaning=meaning),
        "priority": PRIORITY,
    }


def asked_refinement(
    parameters: Iterable[tuple[str, str]], headers: Mapping[str, str], refinements: Mapping[str, Pipeline]
) -> Asked:
    """What a request asks for; arguments and errors as of `asked`, without what is of avatars alone."""
    if not refinements:
        raise RequestError(404, "this server refines nothing", "GET /v1/pipelines lists what it does")
    pipeline, options, door = chosen(parameters, refinements, refinement_options(refinements))
    if _PICTURES in pipeline.options:
        options[_PICTURES] = 0
    wanted = tuple(tensor for tensor in pipeline.gives if tensor != contract.REFINEMENT_PREVIEW)
    return Asked(pipeline, options, wanted, int(door["priority"]), timeout_s(headers))


def start_inputs(pieces: Sequence[bytes]) -> list[Input]:
    """The tensors of a body. For a thread of its own: they are unpacked.

    Raises:
        RequestError: 422: it is no start.
    """
    body = b"".join(pieces)
    if body.count(_ENTRY) > _MOST_ENTRIES:
        raise RequestError(
            422, f"the body has more than {_MOST_ENTRIES} arrays", "send those of a start alone"
        )
    try:
        start = read_start(BytesIO(body), "the body")
    except FacewrightError as error:
        raise RequestError(422, error.message, error.hint) from None
    arrays = [(tensor, getattr(start, tensor.name.lower())) for tensor in contract.REFINEMENT_INPUTS]
    return [Input(tensor, array.shape, (array.tobytes(),)) for tensor, array in arrays]


def progress_of(serialised: bytes) -> Mapping[str, Any] | None:
    """What an answer of a stream says of how far it is; None: it is the last."""
    contents, _ = outputs_of(serialised)
    told = contents.get(contract.REFINEMENT_PROGRESS.name)
    return None if told is None or contract.REFINED_W_PLUS.name in contents else dict(json.loads(told))


@dataclass(frozen=True)
class Refined:
    """What a refinement gave.

    Attributes:
        contents: of each tensor its bytes, by name.
        shapes: of each, the batch dimension left out.
        info: how it ended.
    """

    contents: Mapping[str, bytes]
    shapes: Mapping[str, tuple[int, ...]]
    info: Mapping[str, Any]

    event: ClassVar[str] = "refinement"
    forms: ClassVar[tuple[str, ...]] = (ZIP, JSON)

    @classmethod
    def of(cls, serialised: bytes) -> Refined:
        """From a ``ModelInferResponse``.

        Raises:
            FacewrightError: INTERNAL: it is no refinement.
        """
        try:
            contents, shapes = outputs_of(serialised)
            info = dict(json.loads(contents[contract.REFINEMENT_INFO.name]))
            return cls({name: contents[name] for name in _ARRAYS}, shapes, info)
        except (DecodeError, ValueError, TypeError, LookupError) as error:
            raise no_answer("refinement") from error

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(map(len, self.contents.values()))

    def response(self, form: str) -> Response:
        """The ``.npz`` that ``facewright refine`` writes, or JSON."""
        if form == JSON:
            return PiecesResponse(self.json_line(), JSON)
        file = BytesIO()
        arrays = {
            name: np.frombuffer(self.contents[tensor], "<f4").reshape(self.shapes[tensor])
            for tensor, name in _ARRAYS.items()
        }
        np.savez(file, **arrays)  # type: ignore[arg-type]  # its only other keyword is a bool
        headers = {"Content-Disposition": 'inline; filename="refined.npz"'}
        return PiecesResponse((file.getvalue(),), ZIP, headers)

    def json_line(self) -> list[bytes]:
        """``{"info": …, "tensors": …}``."""
        return list(self._json_pieces())

    def _json_pieces(self) -> Iterator[bytes]:
        yield f'{{"info":{json.dumps(self.info)},"tensors":'.encode()
        yield from tensors_json(self.contents, self.shapes)
        yield b"}"
