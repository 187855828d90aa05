"""Certificates of an authority of our own: a good one, an expired one, one for another host."""

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    folder: Path
    key: ec.EllipticCurvePrivateKey
    name: x509.Name


def authority(folder: Path) -> Authority:
    """The authority whose certificate is `authority.pem` in `folder`, made at the first call."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "home authority")])
    stored = folder / "authority.key"
    if stored.exists():
        key = serialization.load_pem_private_key(stored.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return Authority(folder, key, name)
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    own = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
           .serial_number(1).not_valid_before(now - 9 * DAY).not_valid_after(now + 9 * DAY)
           .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
           .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
           .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
           .sign(key, hashes.SHA256()))
    (folder / "authority.pem").write_bytes(own.public_bytes(serialization.Encoding.PEM))
    stored.write_bytes(_pem(key))
    return Authority(folder, key, name)


def context(signer: Authority, kind: str) -> ssl.SSLContext:
    """A server's TLS with a certificate for 127.0.0.1: "good", "expired", or "wrong host"."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    end = now - DAY if kind == "expired" else now + DAY
    host: x509.GeneralName = (x509.DNSName("elsewhere.example.org") if kind == "wrong host"
                              else x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    certificate = (x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(signer.name)
                   .public_key(key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(now - 5 * DAY).not_valid_after(end)
                   .add_extension(x509.SubjectAlternativeName([host]), critical=True)
                   .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()),
                                  critical=False)
                   .sign(signer.key, hashes.SHA256()))
    path = signer.folder / f"{kind.replace(' ', '-')}.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + _pem(key))
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(path)
    return made


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
