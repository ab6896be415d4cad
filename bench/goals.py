"""What the project promises to be measured by, and whether it was reached."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.results import Row

TIMES_CLICKHOUSE = {"gzip": 100.0, "plain": 4.0}
SHARES_OF_NGINX = {("packs", "gzip"): 1.0, ("packs", "plain"): 0.8, ("database", "gzip"): 0.5}
OVERLAPPING_MAX, LATE_TIMES_MAX = 0.05, {"gzip": 5.0, "plain": 1.5}
FILTERED_TIMES_MAX = {"campaign of a flow": 2.5, "one-off campaign in few segments": 0.1}
OVERVIEW_TIMES_DUCKDB, OVERVIEW_MIN_EVENTS = 20.0, 10_000_000  # smaller shops are measured, but not judged
FUNNEL_EVENTS, FUNNEL_CPU_MAX_MS = 26_000, 150.0
FUNNEL_EVENTS_TOLERANCE = 0.1  # a campaign that has many more or fewer events is measured, but not judged
FIRST_BYTE_P50_MS, FIRST_BYTE_P99_MS = 5.0, 25.0
IMPORT_EVENTS_PER_SECOND = 300_000
REQUESTS_BY_BARE_RATIO, RECEIPT_P99_MAX_MS = 0.3, 100.0
REGISTERED_PER_SECOND = {1_000_000: 10_000, 10_000_000: 5_000}  # by how many there are already
IMPORT_BESIDE_P99_MAX_MS = 500.0
S3_TIMES_GET_MAX = {2_000_000: 3.0, 20_000_000: 2.0}  # by how many events there are
POSTGRES_IMPORT_BY_SQLITE_RATIO = 0.6
# Parquet beside curl and DuckDB into Parquet; texts beside the same into the same format
PULL_TIMES_DUCKDB_MAX = {"Parquet, zstd": 1.5, "JSON lines, gzip": 1.0, "CSV, gzip": 1.0}
PULL_PEAK_MAX_MIB = 400
SOAK_GROWTH_MAX, SOAK_DRIFT_MAX = 1.1, 1.25  # a shared machine drifts by itself

SYNC_TIMES_MAX = (
    ("DuckDB", "seconds", ("curl, DuckDB", ""), 10.0),
    ("PostgreSQL", "seconds", ("PostgreSQL", "COPY of the synced rows"), 3.0),
    ("DuckDB", "stored_bytes", ("DuckDB", "copy of the synced columns"), 1.3),
)
NEXT_SYNC_MORE_MAX_SECONDS = 3.0


@dataclass(frozen=True)
class Goal:
    """A promise and what was measured."""

    promise: str
    measured: str
    met: bool


def judge(case: str, rows: Sequence[Row]) -> list[Goal]:
    """Hold the rows of a case to its goals; most cases have none."""
    judges = {
        "export": _export,
        "filtered": _filtered,
        "stats": _stats,
        "latency": _latency,
        "requests": _requests,
        "register": _register,
        "cluster": _cluster,
        "import": _import,
        "soak": _soak,
        "late": _late,
        "pull": _pull,
        "sync": _sync,
    }
    return judges[case](rows) if case in judges else []


def _best_seconds(rows: Sequence[Row], system: str, encoding: str, variant: str | None = None) -> float:
    """Return the median of a variant of a system, the fastest by default, or 0 if it was not measured."""
    wanted = {"system": system, "encoding": encoding} | ({} if variant is None else {"variant": variant})
    return min((row.median("seconds") for row in rows if wanted.items() <= row.labels.items()), default=0.0)


def _export(rows: Sequence[Row]) -> list[Goal]:
    found: list[Goal] = []
    for encoding, factor in TIMES_CLICKHOUSE.items():
        ours, clickhouse, nginx = (_best_seconds(rows, one, encoding) for one in ("smsevents", "ClickHouse", "nginx"))
        if clickhouse:
            promise = f"export, {encoding}: {factor:.0f} times as fast as ClickHouse"
            found.append(Goal(promise, f"{clickhouse / ours:.1f} times", clickhouse / ours >= factor))
        for variant in ("packs", "database"):
            share = SHARES_OF_NGINX.get((variant, encoding))
            if nginx and share and (own := _best_seconds(rows, "smsevents", encoding, variant)):
                promise = f"export from {variant}, {encoding}: at least {share:.0%} of the speed of nginx"
                found.append(Goal(promise, f"{nginx / own:.0%}", nginx / own >= share))
    return found


def _filtered(rows: Sequence[Row]) -> list[Goal]:
    found: list[Goal] = []
    for row in rows:
        if row.labels["encoding"] == "plain" and (most := FILTERED_TIMES_MAX.get(str(row.labels["what"]))):
            times = row.median("time_by_full_plain_ratio")
            promise = f"filtered export, {row.labels['what']}: at most {most:g} times as long as the full plain export"
            found.append(Goal(promise, f"{times:.2f} times", times <= most))
    return found


def _stats(rows: Sequence[Row]) -> list[Goal]:
    """Hold each shop to the goals by itself, beside the fastest variant of DuckDB."""
    found: list[Goal] = []
    for events in dict.fromkeys(int(row.labels["shop_events"]) for row in rows):
        of_shop = [row for row in rows if row.labels["shop_events"] == events]
        ours = {str(row.labels["what"]): row for row in of_shop if row.labels["system"] == "smsevents"}
        overview, funnel = ours["overview"], ours["funnel"]
        duckdb = min(
            (row.median("seconds") for row in of_shop if row.labels["what"] == "overview" and row is not overview),
            default=0.0,
        )
        if duckdb and events >= OVERVIEW_MIN_EVENTS:
            times = duckdb / overview.median("seconds")
            promise = f"overview of {events:,} events of 90 days: {OVERVIEW_TIMES_DUCKDB:.0f} times as fast as DuckDB"
            found.append(Goal(promise, f"{times:.2f} times", times >= OVERVIEW_TIMES_DUCKDB))
        matching = int(funnel.labels["matching"])
        if abs(matching - FUNNEL_EVENTS) <= FUNNEL_EVENTS * FUNNEL_EVENTS_TOLERANCE:
            used = funnel.median("cpu_seconds") * 1000
            promise = (
                f"funnel of a campaign of {matching:,} events in a shop of {events:,}: under {FUNNEL_CPU_MAX_MS:.0f} ms"
                " of processor time"
            )
            found.append(Goal(promise, f"{used:.0f} ms", used < FUNNEL_CPU_MAX_MS))
    return found


def _latency(rows: Sequence[Row]) -> list[Goal]:
    found: list[Goal] = []
    limits = f"p50 under {FIRST_BYTE_P50_MS:.0f} ms, p99 under {FIRST_BYTE_P99_MS:.0f} ms"
    for row in rows:
        if row.labels["clients"] != 1 and row.labels["encoding"] == "gzip" and row.labels["processes"] == 1:
            p50, p99 = row.median("first_byte_p50_ms"), row.median("first_byte_p99_ms")
            promise = f"first byte of a small export, {row.labels['clients']} clients, {row.labels['pace']}: {limits}"
            met = p50 < FIRST_BYTE_P50_MS and p99 < FIRST_BYTE_P99_MS
            found.append(Goal(promise, f"p50 {p50:.1f} ms, p99 {p99:.1f} ms", met))
    return found


def _requests(rows: Sequence[Row]) -> list[Goal]:
    found: list[Goal] = []
    for row in rows[1:]:  # the first is the bare route
        ratio, p99 = row.median("rate_by_bare_ratio"), row.median("response_p99_ms")
        words = (row.labels["what"], row.labels["encoding"], row.labels.get("database"))
        what = f"{', '.join(str(one) for one in words if one)}, {row.labels['clients']} clients"
        promise = f"{what}: at least {REQUESTS_BY_BARE_RATIO} times the rate of a bare route"
        found.append(Goal(promise, f"{ratio:.2f} times", ratio >= REQUESTS_BY_BARE_RATIO))
        if row.labels["what"] == "delivery receipt":
            promise = f"{what}: p99 under {RECEIPT_P99_MAX_MS:.0f} ms"
            found.append(Goal(promise, f"{p99:.1f} ms", p99 < RECEIPT_P99_MAX_MS))
    return found


def _register(rows: Sequence[Row]) -> list[Goal]:
    found: list[Goal] = []
    for row in rows:
        registered = int(row.labels["registered"])
        where = f"a register of {registered:,} messages, {row.labels['database']}"
        if row.labels["what"] == "messages" and (least := REGISTERED_PER_SECOND.get(registered)):
            rate = row.median("messages_per_second")
            found.append(Goal(f"{where}: {least:,} messages a second", f"{rate:,.0f} a second", rate >= least))
        if "import_p99_ms" in row.figures:
            p99 = row.median("import_p99_ms")
            promise = f"{where}: imports beside it under {IMPORT_BESIDE_P99_MAX_MS:.0f} ms at p99"
            found.append(Goal(promise, f"{p99:.0f} ms", p99 < IMPORT_BESIDE_P99_MAX_MS))
    return found


def _cluster(rows: Sequence[Row]) -> list[Goal]:
    found: list[Goal] = []
    for row in rows:
        events = int(row.labels["shop_events"])
        if row.labels["what"] == "export" and (most := S3_TIMES_GET_MAX.get(events)):
            times = row.median("time_by_get_ratio")
            promise = f"export of {events:,} events from S3, gzip: at most {most:g} times as long as one GET"
            found.append(Goal(promise, f"{times:.2f} times", times <= most))
        if row.labels["what"] == "import" and "rate_by_sqlite_ratio" in row.figures:
            if row.labels["processes"] == 1:
                ratio = row.median("rate_by_sqlite_ratio")
                promise = f"import on PostgreSQL: at least {POSTGRES_IMPORT_BY_SQLITE_RATIO} times as fast as on SQLite"
                found.append(Goal(promise, f"{ratio:.2f} times", ratio >= POSTGRES_IMPORT_BY_SQLITE_RATIO))
            else:
                ratio = row.median("rate_by_one_ratio")
                promise = f"import on PostgreSQL with {row.labels['processes']} processes: faster than with one"
                found.append(Goal(promise, f"{ratio:.2f} times", ratio > 1))
    return found


def _import(rows: Sequence[Row]) -> list[Goal]:
    """By the clock, and for each second of processor time, that is, on one core."""

    def of(system: str, variant: str) -> Row | None:
        wanted = {"system": system, "variant": variant, "encoding": "plain"}.items()
        return next((row for row in rows if wanted <= row.labels.items()), None)

    found: list[Goal] = []
    if ours := of("smsevents", "HTTP"):
        rate, of_core = (int(ours.labels["events"]) / ours.median(of) for of in ("seconds", "cpu_seconds"))
        promise = f"durable import over HTTP: {IMPORT_EVENTS_PER_SECOND:,} events a second on one core"
        measured = f"{rate:,.0f} a second by one client, {of_core:,.0f} for each second of processor time"
        found.append(Goal(promise, measured, min(rate, of_core) >= IMPORT_EVENTS_PER_SECOND))
        if clickhouse := of("ClickHouse", "insert of JSON lines"):
            its = int(clickhouse.labels["events"]) / clickhouse.median("cpu_seconds")
            promise = "import, plain: at least the events of ClickHouse for each second of processor time"
            found.append(Goal(promise, f"{of_core:,.0f} by {its:,.0f}, {of_core / its:.2f} times", of_core >= its))
    return found


def _late(rows: Sequence[Row]) -> list[Goal]:
    found: list[Goal] = []
    for row in (row for row in rows if row.labels["order"] == "arrival"):
        limit = LATE_TIMES_MAX[str(row.labels["encoding"])]
        times, share = row.median("time_by_none_late_ratio"), row.median("overlapping_ratio")
        promise = (
            f"export with 3 % late events, {row.labels['encoding']}: at most {limit} times as long as without, and"
            f" {OVERLAPPING_MAX:.0%} of the lines are merged"
        )
        found.append(Goal(promise, f"{times:.2f} times, {share:.1%}", times <= limit and share <= OVERLAPPING_MAX))
    return found


def _pull(rows: Sequence[Row]) -> list[Goal]:
    found: list[Goal] = []
    for one in (one for one in rows if one.labels["system"] == "smsevents"):
        what, peak = f"pull, {one.labels['format']}", one.median("peak_bytes") / 1024 / 1024
        most = PULL_TIMES_DUCKDB_MAX[str(one.labels["format"])]
        if times := one.figures.get("time_by_duckdb_ratio"):
            promise = f"{what}: at most {most} times as long as curl and DuckDB"
            found.append(Goal(promise, f"{times[0]:.2f} times", times[0] <= most))
        promise = f"{what}: at most {PULL_PEAK_MAX_MIB} MiB of memory"
        found.append(Goal(promise, f"{peak:.0f} MiB", peak <= PULL_PEAK_MAX_MIB))
    return found


def _sync(rows: Sequence[Row]) -> list[Goal]:
    found: list[Goal] = []
    measured = {(str(row.labels["system"]), str(row.labels["variant"])): row for row in rows}
    for warehouse, figure, peer, most in SYNC_TIMES_MAX:
        first = measured.get(("smsevents", f"first sync into {warehouse}"))
        if first and peer in measured:
            what = "time" if figure == "seconds" else "size"
            times = first.median(figure) / measured[peer].median(figure)
            promise = (
                f"first sync into {warehouse}: at most {most:g} times the {what} of {' '.join(filter(None, peer))}"
            )
            found.append(Goal(promise, f"{times:.2f} times", times <= most))
    for warehouse in ("DuckDB", "PostgreSQL"):
        following = measured.get(("smsevents", f"next sync into {warehouse}, few new events"))
        if following:
            more = following.median("seconds") - measured["dlt", f"empty run into {warehouse}"].median("seconds")
            promise = (
                f"next sync into {warehouse}, few new events: at most {NEXT_SYNC_MORE_MAX_SECONDS:.0f} s above an empty"
                " run of dlt"
            )
            found.append(Goal(promise, f"{more:.1f} s above", more <= NEXT_SYNC_MORE_MAX_SECONDS))
    return found


def _soak(rows: Sequence[Row]) -> list[Goal]:
    """Memory against the second third, as it rises at the start; latency against the first."""
    first, second, last = rows
    growth = last.median("memory_bytes") / second.median("memory_bytes")
    drift = last.median("first_byte_p50_ms") / first.median("first_byte_p50_ms")
    promise = f"import and export side by side for {last.labels['seconds']} s: no growth in memory, no drift in latency"
    measured = f"memory {growth:.2f} times that of the second third, first byte p50 {drift:.2f} times that of the first"
    return [Goal(promise, measured, growth <= SOAK_GROWTH_MAX and drift <= SOAK_DRIFT_MAX)]
