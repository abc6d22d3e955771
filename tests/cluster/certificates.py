"""Certificates for tests, made by openssl."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path


def _openssl(folder: Path, *args: str) -> None:
    subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)


KEY_OPTIONS = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
"""An elliptic curve: an RSA key takes a hundred times as long to make."""


def create_authority(folder: Path, name: str = "ca") -> Path:
    """A root without key identifiers, as some clusters have; `name`.crt and `name`.key."""
    (folder / f"{name}.cnf").write_text(
        f"[req]\ndistinguished_name=dn\nprompt=no\n[dn]\nCN={name}\n"
        "[ext]\nbasicConstraints=critical,CA:true\nsubjectKeyIdentifier=none\n"
        "authorityKeyIdentifier=none\n"
    )
    _openssl(
        folder,
        *("req", "-x509", *KEY_OPTIONS),
        *f"-days 2 -config {name}.cnf -extensions ext".split(),
        *f"-keyout {name}.key -out {name}.crt".split(),
    )
    return folder / f"{name}.crt"


def issue_certificate(
    folder: Path, name: str, authority: str = "ca", alt_names: str = "IP:127.0.0.1"
) -> Path:
    """A certificate of that authority; `name`.crt and `name`.key."""
    _openssl(
        folder,
        *("req", *KEY_OPTIONS, "-subj", f"/CN={name}"),
        *f"-keyout {name}.key -out {name}.csr".split(),
    )
    (folder / f"{name}.ext").write_text(
        f"subjectAltName={alt_names}\nauthorityKeyIdentifier=none\n"
    )
    _openssl(
        folder,
        *f"x509 -req -days 2 -in {name}.csr -CA {authority}.crt -CAkey {authority}.key".split(),
        *f"-CAcreateserial -extfile {name}.ext -out {name}.crt".split(),
    )
    return folder / f"{name}.crt"


def make_server_context(
    folder: Path, name: str, client_authority: Path | None = None
) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    if client_authority is not None:
        context.load_verify_locations(client_authority)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context
