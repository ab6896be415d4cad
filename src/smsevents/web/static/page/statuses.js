// The seven statuses in the order in which they are stacked: failures lie on top of deliveries, where they are seen.

export const STATUSES = ["DELIVERED", "ACCEPTED", "UNDELIVERABLE", "EXPIRED", "REJECTED", "DELETED", "SKIPPED"];

/** The member of the counts of messages that belongs to each status. */
export const STATE_OF = {
  DELIVERED: "delivered",
  ACCEPTED: "pending",
  UNDELIVERABLE: "undeliverable",
  EXPIRED: "expired",
  REJECTED: "rejected",
  DELETED: "deleted",
  SKIPPED: "skipped",
};

export const failedOf = (counts) => counts.expired + counts.undeliverable + counts.rejected + counts.deleted;

/** Returns delivered / attempted, or null if nothing was attempted. */
export const rateOf = (counts) => (counts.attempted ? counts.delivered / counts.attempted : null);
