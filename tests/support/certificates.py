"""Certificates of a moment, made with openssl."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc

_EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Certificate:
    """PEM files of a certificate that vouches for itself, and of its key."""

    certificate: Path
    key: Path

    def credentials(self) -> grpc.ServerCredentials:
        """For a server that shows it."""
        return grpc.ssl_server_credentials([(self.key.read_bytes(), self.certificate.read_bytes())])


def make_certificate(
    folder: Path, name: str, expired: bool = False, extensions: Sequence[str] = ()
) -> Certificate:
    """One that was issued for ``name`` (an IP address or a host), now or years ago.

    Args:
        extensions: of X.509, as openssl writes them: ``extendedKeyUsage=clientAuth``.
    """
    made = Certificate(folder / f"{name}{expired}.pem", folder / f"{name}{expired}.key")
    kind = "IP" if name[0].isdigit() else "DNS"
    names = ("-subj", f"/CN={name}", "-addext", f"subjectAltName={kind}:{name}")
    names += tuple(word for extension in extensions for word in ("-addext", extension))
    if not expired:
        _openssl("req", "-x509", *_EC, "-days", "2", *names, "-keyout", made.key, "-out", made.certificate)
        return made
    request, database = folder / "request.pem", folder / "index.txt"
    _openssl("req", *_EC, *names, "-keyout", made.key, "-out", request)
    database.write_text("")
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=own\n[own]\ndatabase={database}\nnew_certs_dir={folder}\nrand_serial=yes\n"
        "default_md=sha256\npolicy=any\ncopy_extensions=copy\n[any]\ncommonName=supplied\n"
    )
    dates = ("-startdate", "20200101000000Z", "-enddate", "20200201000000Z")
    signing = ("-selfsign", "-keyfile", made.key, "-in", request, "-out", made.certificate, "-notext")
    _openssl("ca", "-batch", "-config", folder / "ca.cnf", *dates, *signing)
    return made


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
