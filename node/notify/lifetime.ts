const day = 86_400_000;

/** How long a notification waits for its recipient (DESIGN §8.5): two weeks of holidays, then the sender is told. */
export const lifetimeMs = 14 * day;

/** Clocks of desktops differ: this much before or after is still "within the window". */
export const clockSkewMs = 60 * 60_000;

/**
 * How long a handled id and a receipt are remembered. Longer than lifetime and skew together, so that whoever replays a
 * notification meets either the memory of it or the end of its window, never the gap between.
 */
export const memoryMs = 15 * day;

/** How old the sending may be that a proof is about: each who carries a message on has it waiting for two weeks at most. */
export const maxProofAgeMs = 60 * day;

// A notification carries keys and an envelope, never content (DESIGN §8).
export const maxBodyBytes = 4096;

/** Body, two signatures' worth of binding, the sender's certificate and the seal's own overhead. */
export const maxSealedBytes = 6144;

/** A signed receipt: id, verdict, a rule's name, times, address, signature. */
export const maxReceiptBytes = 1024;

export const maxRuleLength = 128;
