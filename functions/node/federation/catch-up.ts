import type { NodeConfig } from "../platform.ts";
import { type MintHop, nodePrincipal } from "../security/hop-token.ts";
import { readText } from "./body.ts";
import { withDeadline } from "./deadline.ts";
import type { HeldManifest } from "./held-manifest.ts";
import { ManifestRefused } from "./held-manifest.ts";
import type { FederationStatus, NodeId } from "./manifest.ts";
import type { ManifestStore } from "./manifest-store.ts";

/** Milliseconds. */
const budget = 2_000;
/** A peer that is known to be ahead is asked at most this often. */
const pullEvery = 1_000;
/** An unknown token may make the node look around at most this often, whoever sent it. */
const lookEvery = 5_000;
/** While there is traffic the node compares serials this often: the net for a `PUT` and a hint that were both missed. */
const checkEvery = 60_000;
const peersPerCheck = 2;
export const maxManifestBytes = 4 * 1024 * 1024;

export interface CatchUpOptions {
  readonly config: NodeConfig;
  readonly manifests: ManifestStore;
  readonly mint: MintHop;
  readonly fetch: (request: Request) => Promise<Response>;
  readonly waitUntil: (work: Promise<unknown>) => void;
  readonly now?: () => number;
}

/** Fetches newer manifests from peers: for a node that was down, or missed a `PUT`. */
export class CatchUp {
  readonly #options: CatchUpOptions;
  readonly #now: () => number;
  readonly #pulls = new Map<NodeId, { readonly at: number; readonly done: Promise<void> }>();
  #lookedAt = Number.NEGATIVE_INFINITY;
  #checkedAt = Number.NEGATIVE_INFINITY;
  #turn = 0;

  constructor(options: CatchUpOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => Date.now());
  }

  /** A peer's answer named a serial: if it is ahead, its manifest is fetched after the response. */
  heard(peer: NodeId, serial: number, held: HeldManifest): void {
    if (serial > held.serial) this.#options.waitUntil(this.pull(peer, held));
  }

  /**
   * Fetches and takes the manifest of one peer. Answers what is held afterwards; a failure is logged, not thrown.
   * Within a second of the last time it waits for that one instead.
   */
  async pull(peer: NodeId, held: HeldManifest): Promise<HeldManifest> {
    const now = this.#now();
    let last = this.#pulls.get(peer);
    if (!last || now - last.at >= pullEvery) {
      if (this.#pulls.size > 1_000) this.#pulls.clear();
      last = { at: now, done: this.#take(peer, held) };
      this.#pulls.set(peer, last);
      // Others may wait for it when the request that started it is gone.
      this.#options.waitUntil(last.done);
    }
    const { done } = last;
    await withDeadline(budget + 100, undefined, async () => await done).catch((cause: unknown) =>
      this.#report(peer, cause),
    );
    return (await this.#options.manifests.held()) ?? held;
  }

  async #take(peer: NodeId, held: HeldManifest): Promise<void> {
    try {
      await this.#options.manifests.accept(await this.#fetchManifest(peer, held));
    } catch (cause) {
      // Refused with 409 = a newer one came in between, which is as good.
      if (!(cause instanceof ManifestRefused && cause.status === 409)) this.#report(peer, cause);
    }
  }

  /** For a token that this node's manifest does not explain: looks whether a peer knows more. Answers what is held afterwards. */
  async look(held: HeldManifest): Promise<HeldManifest> {
    const now = this.#now();
    if (now - this.#lookedAt < lookEvery) return held;
    this.#lookedAt = now;
    return await this.#compare(held);
  }

  /** Called with each request: compares serials with a few peers now and then, after the response. */
  tick(held: HeldManifest): void {
    const now = this.#now();
    if (now - this.#checkedAt < checkEvery) return;
    this.#checkedAt = now;
    this.#options.waitUntil(this.#compare(held));
  }

  async #compare(held: HeldManifest): Promise<HeldManifest> {
    const peers = [...held.peers.values()].toSorted();
    const asked = Array.from(
      { length: Math.min(peersPerCheck, peers.length) },
      (_, n) => peers[(this.#turn + n) % peers.length] as NodeId,
    );
    this.#turn += asked.length;
    const serials = await Promise.all(asked.map(async (peer) => ({ peer, serial: await this.#serialOf(peer, held) })));
    const best = serials.toSorted((a, b) => b.serial - a.serial)[0];
    return best && best.serial > held.serial ? await this.pull(best.peer, held) : held;
  }

  /** What the peer says it holds; 0 when it does not say. Unsigned, so good for nothing but deciding whether to fetch. */
  async #serialOf(peer: NodeId, held: HeldManifest): Promise<number> {
    try {
      return await withDeadline(budget, undefined, async (signal) => {
        const url = `${held.manifest.nodes[peer]?.url}/.well-known/federation`;
        const response = await this.#options.fetch(new Request(url, { redirect: "manual", signal }));
        const text = await readText(response, 64 * 1024);
        if (!response.ok) throw new Error(`HTTP ${response.status}`);
        return Number((JSON.parse(text) as FederationStatus).serial) || 0;
      });
    } catch (cause) {
      this.#report(peer, cause);
      return 0;
    }
  }

  async #fetchManifest(peer: NodeId, held: HeldManifest): Promise<string> {
    const { config, mint, fetch } = this.#options;
    const base = held.manifest.nodes[peer]?.url;
    const principal = nodePrincipal(config);
    const token = await mint({
      audience: `${base}/mcp`,
      principal,
      callId: crypto.randomUUID(),
      scope: "manifest",
      serial: held.serial,
    });
    return await withDeadline(budget, undefined, async (signal) => {
      const headers = { authorization: `Bearer ${token}` };
      const response = await fetch(
        new Request(`${base}/.well-known/federation/manifest`, { headers, redirect: "manual", signal }),
      );
      const text = await readText(response, maxManifestBytes);
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      return text;
    });
  }

  #report(peer: NodeId, cause: unknown): void {
    console.error(JSON.stringify({ error: "a peer's manifest could not be fetched", peer, cause: String(cause) }));
  }
}
