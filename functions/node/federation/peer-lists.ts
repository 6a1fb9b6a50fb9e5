import { type ListMethodName, listMethods } from "../protocol/methods.ts";
import { code, type Fields, isFields, RpcError } from "../protocol/rpc.ts";
import type { Principal } from "../security/principal.ts";
import { BoundedMap } from "../state/bounded-map.ts";
import { Circuits } from "./circuit.ts";
import { withDeadline } from "./deadline.ts";
import type { HeldManifest } from "./held-manifest.ts";
import type { NodeId } from "./manifest.ts";
import { prefixName, prefixUri } from "./names.ts";
import type { AskPeer } from "./peer-client.ts";

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
}

interface Kept {
  readonly entries: readonly Fields[];
  readonly withheld: readonly Withheld[];
  readonly at: number;
}

/** Milliseconds. */
const budget = 2_000;
const freshFor = 5_000;
const staleFor = 600_000;
/** Bounds against a peer that answers without end. */
const maxPages = 50;
const maxEntries = 10_000;
const maxKept = 512;

export interface PeerListsOptions {
  readonly ask: AskPeer;
  readonly circuits: Circuits;
  /** Keeps a request to a peer alive for the others that wait for it, when the one that started it is gone. */
  readonly waitUntil: (work: Promise<unknown>) => void;
  readonly now?: () => number;
}

/** Asks peers for their lists, each within its own budget, and remembers the last good answers. */
export class PeerLists {
  readonly #options: PeerListsOptions;
  readonly #now: () => number;
  readonly #kept = new BoundedMap<string, Kept>(maxKept);
  readonly #flights = new Map<string, Promise<Kept>>();

  constructor(options: PeerListsOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => Date.now());
  }

  /** Never throws: a peer that does not answer is a report. */
  async list(peer: NodeId, method: ListMethodName, principal: Principal, held: HeldManifest): Promise<PeerList> {
    const key = [peer, method, principal.subject, held.serial, held.digest].join(" ");
    const kept = this.#kept.get(key);
    const age = kept ? this.#now() - kept.at : Number.POSITIVE_INFINITY;
    if (kept && age < freshFor) return part(peer, kept, { status: "cached", ageMs: age });
    try {
      const pause = this.#options.circuits.pause(peer, this.#now());
      if (pause > 0)
        throw new RpcError(code.unavailable, `${peer} failed a moment ago and is not asked again for ${pause} ms`);
      return part(peer, await this.#fly(key, peer, method, principal, held), { status: "ok" });
    } catch (cause) {
      const error = cause instanceof Error ? cause.message : String(cause);
      if (kept && age < staleFor) return part(peer, kept, { status: "stale", ageMs: age, error });
      return { entries: [], report: { node: peer, status: "failed", error } };
    }
  }

  async #fly(
    key: string,
    peer: NodeId,
    method: ListMethodName,
    principal: Principal,
    held: HeldManifest,
  ): Promise<Kept> {
    let flight = this.#flights.get(key);
    if (!flight) {
      flight = this.#fetch(key, peer, method, principal, held);
      this.#flights.set(key, flight);
      this.#options.waitUntil(flight.catch(() => undefined));
    }
    const joined = flight;
    // A budget of its own: where an isolate ends the request that started the flight, the flight would never land.
    return await withDeadline(budget + 100, undefined, async () => await joined);
  }

  async #fetch(
    key: string,
    peer: NodeId,
    method: ListMethodName,
    principal: Principal,
    held: HeldManifest,
  ): Promise<Kept> {
    try {
      const items = await this.#askPages(peer, method, principal, held);
      const kept = { ...prefixed(method, held.manifest.nodes[peer]?.prefix ?? "", items), at: this.#now() };
      this.#kept.set(key, kept);
      this.#options.circuits.succeeded(peer);
      return kept;
    } catch (cause) {
      this.#options.circuits.failed(peer, this.#now());
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
  ): Promise<readonly Fields[]> {
    const until = this.#now() + budget;
    const items: Fields[] = [];
    const callId = crypto.randomUUID();
    let cursor: string | undefined;
    for (let page = 0; page < maxPages; page += 1) {
      const deadline = Math.max(1, until - this.#now());
      const params = cursor === undefined ? {} : { cursor };
      const result = await this.#options.ask({ peer, method, params, held, principal, callId, deadline });
      const entries = result[listMethods[method].items];
      if (!Array.isArray(entries)) throw new Error(`${peer} answered ${method} without ${listMethods[method].items}`);
      items.push(...entries.filter(isFields));
      if (items.length > maxEntries) throw new Error(`${peer} lists more than ${maxEntries} entries`);
      const next = result["nextCursor"];
      if (typeof next !== "string") return items;
      cursor = next;
    }
    throw new Error(`${peer} answered ${method} with more than ${maxPages} pages`);
  }
}

function part(peer: NodeId, { entries, withheld }: Kept, report: Omit<PeerReport, "node">): PeerList {
  return { entries, report: { node: peer, ...report, ...(withheld.length > 0 && { withheld }) } };
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
