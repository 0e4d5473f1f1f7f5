/** What a node's store has, for Prometheus: the health page is the gateway's where one runs, else the node's. */
export const storeGauge = {
  name: 'epost_store',
  help: 'blocks, bytes, heads, entries, leases, orphans (blocks without a lease), trash, damaged (set aside), forks',
  label: 'what',
} as const;
