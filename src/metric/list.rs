//! The list. What is said of a metric here is what an exporter says of it, and what
//! `docs/metrics.md` says.

use super::{
    Counter, Gauge, Histogram, Kind, Label, Metric,
    Origin::{Library, Worker},
    Unit::{Count, Seconds},
    Values,
};

macro_rules! list {
    ($($(#[doc = $text:literal])+ $id:ident: $kind:ident = $name:literal $unit:ident $from:ident
        [$($label:expr),*] $({$($bucket:literal)+})?;)+) => {
        $(
            #[doc = concat!("`", $name, "`:")]
            $(#[doc = $text])+
            pub static $id: $kind = $kind(Metric::new(
                $name, (Kind::$kind, $unit, $from), concat!($($text),+), &[$($label),*],
                &[$($($bucket),+)?],
            ));
        )+

        /// All metrics, those of the library first.
        pub static ALL: &[&Metric] = &[$(&$id.0),+];
    };
}

/// The classes of a store's errors.
const CLASSES: &[&str] =
    &["not_executed", "resource", "operator", "ambiguous", "unconfirmed", "corrupt"];

const CONNECTOR: Label = Label { name: "connector", values: Values::Connectors };
const KEY: Label = Label { name: "key", values: Values::Keys };
const NOTIFIER: Label = Label { name: "notifier", values: Values::Notifiers };
const SWEEP: Label = Label::words(
    "sweep",
    &[&["refresh_due", "orphans", "expired", "reseal", "events", "history", "journal"]],
);
const EVENTS: &[&str] = &[
    "connect_started",
    "connect_completed",
    "refresh_succeeded",
    "refresh_failed_transient",
    "refresh_failed_revoked",
    "refresh_skipped_no_token",
    "refresh_skipped_expired",
    "refresh_rotation_persistence_failed",
    "token_deleted_revoked",
    "token_deleted_admin",
    "needs_reauth",
    "recovered",
    "connector_paused",
    "connector_resumed",
    "replay_refused",
    "orphaned",
    "reactivated",
    "reaped",
];

list! {
    /// Access tokens and keys that callers asked for, by the path that they came on: `cached`, `warm`,
    /// `stale_served`, `refreshed`, `waited` or `key`; `refused` where only the owner or an operator can
    /// help, `failed` where later may be better.
    VENDS: Counter = "vestibule_vends_total" Count Library [Label::words("path", &[&[
        "cached", "warm", "stale_served", "refreshed", "waited", "key", "refused", "failed",
    ]])];

    /// Header credentials that callers asked for: `cached` or `read`, `not_found` also where access is
    /// withdrawn, or `failed`.
    HEADERS_READ: Counter = "vestibule_headers_read_total" Count Library [Label::words("path", &[&[
        "cached", "read", "not_found", "failed",
    ]])];

    /// Refreshes that began, by what came of them: `fresh`; the class of a failed exchange (`rejected`,
    /// `client`, `config`, `transient`, `undecided`); or an answer that was not needed any more
    /// (`switched`, `not_due`, `not`).
    REFRESHES: Counter = "vestibule_refresh_total" Count Library [CONNECTOR, Label::words("outcome", &[&[
        "fresh", "rejected", "client", "config", "transient", "undecided", "switched", "not_due", "not",
    ]])];

    /// How long providers took to answer a refresh, in seconds.
    EXCHANGE_SECONDS: Histogram = "vestibule_exchange_seconds" Seconds Library [CONNECTOR]
        {0.025 0.05 0.1 0.25 0.5 1.0 2.5 5.0 10.0 20.0 30.0};

    /// Connections that need their owner after a refresh: the refresh token was `rejected`, or its
    /// successor was lost with a crash (`rotation_lost`).
    NEEDS_REAUTH: Counter = "vestibule_needs_reauth_total" Count Library
        [CONNECTOR, Label::words("reason", &[&["rejected", "rotation_lost"]])];

    /// Connections that were given up after failing for the whole horizon.
    EXHAUSTED: Counter = "vestibule_exhausted_total" Count Library [CONNECTOR];

    /// Refresh tokens that were refused while a sibling was kept, which took their place.
    SWITCHED: Counter = "vestibule_switched_total" Count Library [CONNECTOR];

    /// Exchanges that somebody else was cut off in, and that were begun again with the same refresh
    /// token.
    TAKEOVERS: Counter = "vestibule_takeovers_total" Count Library [CONNECTOR];

    /// Leases that were lost while their exchange was running: it took longer than anybody may, or this
    /// process stood still.
    LEASES_LOST: Counter = "vestibule_leases_lost_total" Count Library [];

    /// Provider's answers that Redis did not take: what was rotated is in the journal, or lost.
    UNPERSISTED: Counter = "vestibule_refresh_unpersisted_total" Count Library [CONNECTOR];

    /// Provider's answers that could not be written to the journal before they were committed.
    UNJOURNALED: Counter = "vestibule_unjournaled_total" Count Library [];

    /// Journaled answers that were replayed, by what Redis made of them; `damaged` were put aside, and
    /// `error` is a journal that could not be read.
    JOURNAL_REPLAYED: Counter = "vestibule_journal_replayed_total" Count Library
        [Label::words("outcome", &[&[
            "committed", "withdrawn", "already_committed", "alt", "superseded", "refused", "gone",
            "damaged", "error",
        ]])];

    /// Answers that the last replay left in the journal of this process: Redis or their key is away.
    JOURNAL_UNDECIDED: Gauge = "vestibule_journal_undecided" Count Library [];

    /// Due connections that this process cannot refresh, and left for others: their connector is not
    /// configured here, they do not open, or their record is damaged.
    LEFT: Counter = "vestibule_left_total" Count Library
        [Label::words("why", &[&["damaged", "unknown_connector", "does_not_open"]])];

    /// Pauses of a connector that began: its provider refuses the host itself.
    PAUSED: Counter = "vestibule_connector_paused_total" Count Library [CONNECTOR];

    /// Pauses of a connector that ended.
    RESUMED: Counter = "vestibule_connector_resumed_total" Count Library [CONNECTOR];

    /// Sign-ins by device code that ended here, by how.
    DEVICE_SIGN_INS: Counter = "vestibule_device_total" Count Library
        [Label::words("outcome", &[&["granted", "denied", "expired", "lost", "refused"]])];

    /// Records that were put: PKCE states, pendings, temp tokens and header credentials; by outcome, or
    /// by the class of the store's error.
    PUTS: Counter = "vestibule_put_total" Count Library [
        Label::words("kind", &[&["pkce", "pending", "token", "headers"]]),
        Label::words("outcome", &[
            &["stored", "joined", "retried", "collision", "not_claimed", "ended", "gone"], CLASSES,
        ])
    ];

    /// Records that were asked for once: PKCE states taken, pendings ended, temp tokens validated; by
    /// outcome, or by the class of the store's error.
    TAKES: Counter = "vestibule_take_total" Count Library [
        Label::words("kind", &[&["pkce", "pending", "token"]]),
        Label::words("outcome", &[
            &[
                "taken", "already_taken", "finished", "already", "valid", "expired", "absent",
                "other_subject", "malformed", "revoked", "dropped", "used_up", "scope_unknown",
                "route_not_allowed", "ttl_exceeds_max", "invalid", "collision", "seal",
            ],
            CLASSES,
        ])
    ];

    /// Requests at the HTTP edge, by what its layers made of them.
    HTTP: Counter = "vestibule_http_total" Count Library [
        Label::words("edge", &[&["pending", "temp_token"]]),
        Label::words("outcome", &[&[
            "loaded", "invalid_id", "not_found", "not_loaded", "unreadable", "valid", "yielded",
            "passed_on", "refused", "missing", "failed",
        ]])
    ];

    /// Callers in this process who wait now: for a pending to end, or for a refresh to bring a token.
    WAITERS: Gauge = "vestibule_waiters" Count Library
        [Label::words("what", &[&["pending", "refresh"]])];

    /// How many seconds after a pending ended its waiters here knew, by how they learnt of it: `told`
    /// by a notification, or `looked` because none came.
    WAKEUP_SECONDS: Histogram = "vestibule_wakeup_seconds" Seconds Library
        [Label::words("how", &[&["told", "looked"]])]
        {0.001 0.0025 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1.0 2.5 5.0 10.0};

    /// How many seconds one verb took on Redis, with all its retries.
    REDIS_SECONDS: Histogram = "vestibule_redis_seconds" Seconds Library []
        {0.00025 0.0005 0.001 0.0025 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1.0 2.5 5.0};

    /// Verbs that failed on Redis after all retries, by class.
    REDIS_ERRORS: Counter = "vestibule_redis_errors_total" Count Library
        [Label::words("class", &[CLASSES])];

    /// Connections to Redis that are open: the `shared` one that verbs use, the `subscription` for
    /// notifications, and those that wait for replicas (`confirming`).
    REDIS_CONNECTIONS: Gauge = "vestibule_redis_connections" Count Library
        [Label::words("kind", &[&["shared", "subscription", "confirming"]])];

    /// Attempts to open the shared connection to Redis.
    REDIS_CONNECTS: Counter = "vestibule_redis_connects_total" Count Library
        [Label::words("outcome", &[&["opened", "failed"]])];

    /// 1 while Redis may evict live records: its `maxmemory-policy` is not `noeviction`.
    REDIS_EVICTS: Gauge = "vestibule_redis_evicts" Count Library [];

    /// Keys that Redis has evicted since this process first looked: live records are lost.
    REDIS_EVICTED_KEYS: Counter = "vestibule_redis_evicted_keys_total" Count Library [];

    /// Events that were not written to the history, because Redis failed.
    UNTOLD: Counter = "vestibule_untold_total" Count Library [Label::words("event", &[EVENTS])];

    /// Events by what became of telling a receiver: `delivered`, `refused` (or what the receiver falls
    /// over while it takes others; tried again), `given_up`, `damaged`; and `away`, passes that found the receiver away.
    NOTIFIED: Counter = "vestibule_notified_total" Count Library [NOTIFIER, Label::words("outcome", &[&[
        "delivered", "refused", "given_up", "damaged", "away",
    ]])];

    /// Events that a receiver was not told, because the outbox was full.
    OUTBOX_LOST: Counter = "vestibule_outbox_lost_total" Count Library [NOTIFIER];

    /// Whether the worker does its duty: 1 while Redis answers and it is not stopping.
    WORKER_READY: Gauge = "vestibule_worker_ready" Count Worker [];

    /// Credentials that are due and not claimed by anybody. All workers say the same: take the maximum.
    DUE_BACKLOG: Gauge = "vestibule_due_backlog" Count Worker [];

    /// For how many seconds the oldest of the due backlog has been due; 0 without a backlog. All workers
    /// say the same: take the maximum.
    OLDEST_OVERDUE: Gauge = "vestibule_oldest_overdue_seconds" Seconds Worker [];

    /// How many seconds a pass of a sweep took.
    SWEEP_SECONDS: Histogram = "vestibule_sweep_seconds" Seconds Worker [SWEEP]
        {0.01 0.025 0.05 0.1 0.25 0.5 1.0 2.5 5.0 10.0 30.0 60.0 300.0};

    /// What sweeps did to what they found, by sweep and outcome.
    SWEPT: Counter = "vestibule_swept_total" Count Worker [SWEEP, Label::words("outcome", &[&[
        "refreshed", "failed", "skipped", "put_off", "running", "given_back", "found", "done", "changed",
        "left", "recovered", "settled", "damaged", "error",
    ]])];

    /// When a sweep last ended without an error, in seconds since 1970.
    SWEEP_LAST_SUCCESS: Gauge = "vestibule_sweep_last_success_timestamp_seconds" Seconds Worker [SWEEP];

    /// How many seconds are between two passes of a sweep that is switched on.
    SWEEP_INTERVAL: Gauge = "vestibule_sweep_interval_seconds" Seconds Worker [SWEEP];

    /// Events that a receiver has yet to be told. All workers say the same: take the maximum.
    OUTBOX_LAG: Gauge = "vestibule_outbox_lag" Count Worker [NOTIFIER];

    /// Secrets by the key that has sealed them: an old key's is 0 before it is retired, and `unknown` is
    /// what does not open here. All workers say the same: take the maximum.
    SEALED_RECORDS: Gauge = "vestibule_sealed_records" Count Worker [KEY];

    /// How often the key ring and the connectors were read again: `reloaded`, or `failed` and left as
    /// they were.
    RELOADS: Counter = "vestibule_reloads_total" Count Worker
        [Label::words("outcome", &[&["reloaded", "failed"]])];
}
