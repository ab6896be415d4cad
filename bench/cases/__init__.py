"""One file for each question that is measured."""

from bench.cases import disk, export, imports, latency, readers, scale, shops, soak

CASES = {
    "export": export.CASE,
    "import": imports.CASE,
    "latency": latency.CASE,
    "readers": readers.CASE,
    "scale": scale.CASE,
    "shops": shops.CASE,
    "disk": disk.CASE,
    "soak": soak.CASE,
}
