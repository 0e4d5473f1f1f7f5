/** What one pass over the pending items did. */
export interface PendingRepair {
  readonly compared: number;
  readonly pushed: number;
  readonly answered: number;
  /** Given up here, because all proper holders have them and this node is none. */
  readonly handedOver: number;
}
