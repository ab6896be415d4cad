"""One file for each question that is measured."""

from bench.cases import disk, export, imports, late, latency, readers, requests, scale, shops, soak

CASES = {
    "export": export.CASE,
    "import": imports.CASE,
    "late": late.CASE,
    "latency": latency.CASE,
    "requests": requests.CASE,
    "readers": readers.CASE,
    "scale": scale.CASE,
    "shops": shops.CASE,
    "disk": disk.CASE,
    "soak": soak.CASE,
}
