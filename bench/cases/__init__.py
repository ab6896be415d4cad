"""One file for each question that is measured."""

from bench.cases import disk, export, imports, late, latency, pull, readers, scale, shops, soak, sync

CASES = {
    "export": export.CASE,
    "import": imports.CASE,
    "late": late.CASE,
    "latency": latency.CASE,
    "readers": readers.CASE,
    "scale": scale.CASE,
    "shops": shops.CASE,
    "disk": disk.CASE,
    "pull": pull.CASE,
    "sync": sync.CASE,
    "soak": soak.CASE,
}
