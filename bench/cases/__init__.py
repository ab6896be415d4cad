"""One file for each question that is measured."""

from bench.cases import (
    disk,
    export,
    filtered,
    imports,
    late,
    latency,
    move,
    pull,
    readers,
    requests,
    scale,
    shops,
    soak,
    stats,
    sync,
    workers,
)

CASES = {
    "export": export.CASE,
    "filtered": filtered.CASE,
    "stats": stats.CASE,
    "import": imports.CASE,
    "late": late.CASE,
    "latency": latency.CASE,
    "requests": requests.CASE,
    "readers": readers.CASE,
    "workers": workers.CASE,
    "scale": scale.CASE,
    "shops": shops.CASE,
    "disk": disk.CASE,
    "pull": pull.CASE,
    "sync": sync.CASE,
    "move": move.CASE,
    "soak": soak.CASE,
}
