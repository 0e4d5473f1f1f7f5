/** How long to wait after the n-th `later` of a recipient: 1 s, doubling to 5 min, so that a node that is starting up soon is asked again. */
export function retryDelayMs(tries: number): number {
  return Math.min(300_000, 1000 * 2 ** Math.min(20, Math.max(0, tries - 1)));
}

/**
 * When a sender next asks the holders about a notification it has no receipt for, by how often it asked already. Receipts
 * normally come by themselves, so this only catches what was lost on the way: after 1 min, then 5, 25, then hourly.
 */
export function askDelayMs(asked: number): number {
  return Math.min(3_600_000, 60_000 * 5 ** Math.min(5, asked));
}
