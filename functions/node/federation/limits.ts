/** What a node allows its peers and its callers at most. The defaults are the product's; only tests and benchmarks pass others. */
export interface PeerLimits {
  /** Milliseconds that one peer's part of a list may take, with all its pages. */
  readonly listBudget: number;
  /** Milliseconds that a relayed call may take. */
  readonly callDeadline: number;
  /** Requests under way to one peer. */
  readonly perPeer: number;
  /** Requests that wait for one peer. */
  readonly queuePerPeer: number;
  /** Requests under way to all peers. */
  readonly total: number;
  /** Requests that wait for all peers. */
  readonly queueTotal: number;
  /** Milliseconds that a request waits for its turn, within its own deadline. */
  readonly wait: number;
}

export const defaultLimits: PeerLimits = {
  listBudget: 2_000,
  callDeadline: 30_000,
  perPeer: 64,
  queuePerPeer: 256,
  total: 1_024,
  queueTotal: 4_096,
  wait: 5_000,
};
