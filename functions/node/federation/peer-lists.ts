import { type ListMethodName, listMethods } from "../protocol/methods.ts";
import { type Fields, isFields } from "../protocol/rpc.ts";
import type { Principal } from "../security/principal.ts";
import { BoundedMap } from "../state/bounded-map.ts";
import { DeadlineExceeded, withDeadline } from "./deadline.ts";
import type { HeldManifest } from "./held-manifest.ts";
import type { NodeId } from "./manifest.ts";
import { prefixName, prefixUri } from "./names.ts";
import { type AskPeer, PeerFailure } from "./peer-client.ts";

/** What a list or a call says about each peer that was involved, in `_meta`. */
export interface PeerReport {
  readonly node: NodeId;
  /** `ok` just asked, `cached` asked a moment ago, `stale` an older list since the peer failed, `failed` nothing to show. */
  readonly status: "ok" | "cached" | "stale" | "failed";
  /** Age of a cached or stale list in milliseconds. */
  readonly ageMs?: number;
  readonly error?: string;
  /** Entries that cannot be named under the peer's prefix. */
  readonly withheld?: readonly Withheld[];
}

interface Withheld {
  readonly name: string;
  readonly reason: string;
}

/** A peer's part of a list, under its prefix. */
export interface PeerList {
  readonly entries: readonly Fields[];
  readonly report: PeerReport;
  /** How long the peer says the list may be kept, in milliseconds; absent when it does not say. */
  readonly ttlMs?: number | undefined;
}

interface Kept {
  readonly entries: readonly Fields[];
  readonly ttlMs?: number | undefined;
  readonly withheld: readonly Withheld[];
  readonly at: number;
  /** Characters of JSON that the peer sent. */
  readonly size: number;
}

/** Milliseconds. */
const freshFor = 5_000;
const badFor = 1_000;
/** A peer on probation is asked as long as any, but only the list that asks it waits, and not long: it was away, and may still be. */
const probationBudget = 300;
/** The pages of one list show one state of the peers: a slow one costs its budget once, not with every page. */
const pagesWithin = 60_000;
const staleFor = 600_000;
/** Bounds against a peer that answers without end. */
const maxPages = 50;
const maxEntries = 10_000;
/** Characters of JSON over all kept lists: some ten users of a network with two hundred peers. */
const maxKept = 16 * 1024 * 1024;
const maxFaults = 1_024;

/** A peer answered, but no list that can be shown. */
class BadList extends PeerFailure {}

export interface PeerListsOptions {
  readonly ask: AskPeer;
  /** Milliseconds that one source's list may take, with all its pages. */
  readonly budgetOf: (peer: NodeId) => number;
  /** Was the peer ejected, and this would be the request that probes it? */
  readonly onProbation?: (peer: NodeId) => boolean;
  /** What the peer's names carry here; default: what the manifest says. */
  readonly prefixOf?: (peer: NodeId, held: HeldManifest) => string;
  /** Keeps a request to a peer alive for the others that wait for it, when the one that started it is gone. */
  readonly waitUntil: (work: Promise<unknown>) => void;
  readonly now?: () => number;
}

/** Asks peers for their lists, each within its own budget, and remembers the last good answers. */
export class PeerLists {
  readonly #options: PeerListsOptions;
  readonly #now: () => number;
  readonly #kept = new BoundedMap<string, Kept>(maxKept, ({ size }) => size);
  readonly #flights = new Map<string, Promise<Kept>>();
  readonly #faults = new BoundedMap<string, { readonly cause: unknown; readonly at: number }>(maxFaults);

  constructor(options: PeerListsOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => Date.now());
  }

  /** Never throws: a peer that does not answer is a report. `continued` = for a further page of a list that was begun before. */
  async list(
    peer: NodeId,
    method: ListMethodName,
    principal: Principal,
    held: HeldManifest,
    continued = false,
  ): Promise<PeerList> {
    const key = [peer, method, principal.subject, held.serial, held.digest].join(" ");
    const kept = this.#kept.get(key);
    const age = kept ? this.#now() - kept.at : Number.POSITIVE_INFINITY;
    if (kept && age < (continued ? pagesWithin : freshFor)) return part(peer, kept, { status: "cached", ageMs: age });
    try {
      const fault = this.#faults.get(key);
      // A peer that answers pages of nonsense is not asked for more of it at every request.
      const holds = continued ? pagesWithin : fault?.cause instanceof BadList ? badFor : 0;
      if (fault && this.#now() - fault.at < holds) throw fault.cause;
      const probation = this.#flights.has(key) ? 0 : probationBudget;
      const budget = this.#options.onProbation?.(peer) ? probation : this.#options.budgetOf(peer) + 100;
      return part(peer, await this.#fly(key, peer, method, principal, held, budget), { status: "ok" });
    } catch (cause) {
      const late = cause instanceof DeadlineExceeded;
      const error = late ? `${peer} is slow to answer` : cause instanceof Error ? cause.message : String(cause);
      if (kept && age < staleFor) return part(peer, kept, { status: "stale", ageMs: age, error });
      return { entries: [], report: { node: peer, status: "failed", error } };
    }
  }

  /** Forgets what a peer listed, since it said that it is another list now. */
  forget(peer: NodeId): void {
    for (const key of this.#kept.keys()) if (key.startsWith(`${peer} `)) this.#kept.delete(key);
  }

  async #fly(
    key: string,
    peer: NodeId,
    method: ListMethodName,
    principal: Principal,
    held: HeldManifest,
    budget: number,
  ): Promise<Kept> {
    let flight = this.#flights.get(key);
    if (!flight) {
      flight = this.#fetch(key, peer, method, principal, held);
      this.#flights.set(key, flight);
      this.#options.waitUntil(flight.catch(() => undefined));
    }
    const joined = flight;
    // A budget of its own: where an isolate ends the request that started the flight, the flight would never land.
    return await withDeadline(budget, undefined, async () => await joined);
  }

  async #fetch(
    key: string,
    peer: NodeId,
    method: ListMethodName,
    principal: Principal,
    held: HeldManifest,
  ): Promise<Kept> {
    try {
      const { items, ttlMs } = await this.#askPages(peer, method, principal, held);
      const prefix = this.#options.prefixOf?.(peer, held) ?? held.manifest.nodes[peer]?.prefix ?? "";
      const size = JSON.stringify(items).length;
      const kept = { ...prefixed(method, prefix, items), ttlMs, at: this.#now(), size };
      this.#kept.set(key, kept);
      return kept;
    } catch (cause) {
      this.#faults.set(key, { cause, at: this.#now() });
      throw cause;
    } finally {
      this.#flights.delete(key);
    }
  }

  async #askPages(
    peer: NodeId,
    method: ListMethodName,
    principal: Principal,
    held: HeldManifest,
  ): Promise<{ readonly items: readonly Fields[]; readonly ttlMs?: number | undefined }> {
    const until = this.#now() + this.#options.budgetOf(peer);
    const items: Fields[] = [];
    const callId = crypto.randomUUID();
    let cursor: string | undefined;
    let ttlMs: number | undefined;
    for (let page = 0; page < maxPages; page += 1) {
      const deadline = Math.max(1, until - this.#now());
      const params = cursor === undefined ? {} : { cursor };
      const result = await this.#options.ask({ peer, method, params, held, principal, callId, deadline });
      const entries = result[listMethods[method].items];
      if (!Array.isArray(entries)) throw new BadList(peer, `answered ${method} without ${listMethods[method].items}`);
      items.push(...entries.filter(isFields));
      if (items.length > maxEntries) throw new BadList(peer, `lists more than ${maxEntries} entries`);
      const ttl = result["ttlMs"];
      if (typeof ttl === "number" && ttl >= 0) ttlMs = Math.min(ttl, ttlMs ?? ttl);
      const next = result["nextCursor"];
      if (typeof next !== "string") return { items, ttlMs };
      cursor = next;
    }
    throw new BadList(peer, `answered ${method} with more than ${maxPages} pages`);
  }
}

function part(peer: NodeId, { entries, withheld, ttlMs }: Kept, report: Omit<PeerReport, "node">): PeerList {
  return { entries, ttlMs, report: { node: peer, ...report, ...(withheld.length > 0 && { withheld }) } };
}

function prefixed(
  method: ListMethodName,
  prefix: string,
  items: readonly Fields[],
): { entries: readonly Fields[]; withheld: readonly Withheld[] } {
  const { kind, items: field } = listMethods[method];
  const nameField = kind !== "resources" ? "name" : field === "resources" ? "uri" : "uriTemplate";
  const entries: Fields[] = [];
  const withheld: Withheld[] = [];
  for (const item of items) {
    const name = item[nameField];
    const given =
      typeof name !== "string"
        ? { withheld: `has no ${nameField}` }
        : nameField === "name"
          ? prefixName(prefix, name)
          : prefixUri(prefix, name);
    if ("name" in given) entries.push({ ...item, [nameField]: given.name });
    else withheld.push({ name: String(name).slice(0, 256), reason: given.withheld });
  }
  return { entries, withheld };
}
