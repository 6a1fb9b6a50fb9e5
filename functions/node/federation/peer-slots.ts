import { code, RpcError } from "../protocol/rpc.ts";
import { type Allowance, type Circuits, ejected } from "./circuit.ts";
import type { PeerLimits } from "./limits.ts";
import type { NodeId } from "./manifest.ts";

/** Permission for one request to a peer; given back with {@link PeerSlots.leave}. */
export interface Slot {
  readonly peer: NodeId;
  readonly epoch: number;
  /** Milliseconds since 1970 at which the request is over, however it went. */
  readonly until: number;
}

export interface SlotRequest {
  readonly peer: NodeId;
  /** Who asks: those who ask for one peer take turns. */
  readonly subject: string;
  /** Milliseconds that the asker has left. */
  readonly deadline: number;
  readonly signal?: AbortSignal | undefined;
}

interface Waiter {
  /** Milliseconds since 1970 at which its request is over. */
  readonly until: number;
  /** Milliseconds since 1970 at which it stops waiting. */
  readonly waitsUntil: number;
  readonly enter: (slot: Slot) => void;
  readonly refuse: (error: RpcError) => void;
}

/** What is under way to one peer, and what waits for it. */
interface Lane {
  epoch: number;
  /** Of this epoch. */
  underWay: number;
  /** By subject; the one whose turn it is comes first. */
  readonly queues: Map<string, Waiter[]>;
  waiting: number;
}

/** Milliseconds. */
const sweepEvery = 1_000;

/** Hands out the right to ask peers: so many at once for each and for all, a bounded queue with turns by subject, nothing for the ejected. */
export class PeerSlots {
  readonly #limits: PeerLimits;
  readonly #circuits: Circuits;
  readonly #now: () => number;
  readonly #lanes = new Map<NodeId, Lane>();
  readonly #held = new Set<Slot>();
  #waiting = 0;
  #sweptAt = 0;

  constructor(limits: PeerLimits, circuits: Circuits, now: () => number = () => Date.now()) {
    this.#limits = limits;
    this.#circuits = circuits;
    this.#now = now;
  }

  /** Requests under way and waiting, and peers that have any: for tests of the bounds. */
  get load(): { readonly underWay: number; readonly waiting: number; readonly lanes: number } {
    return { underWay: this.#held.size, waiting: this.#waiting, lanes: this.#lanes.size };
  }

  /** Waits for a slot. Throws `RpcError` (retryable, names the peer) when there is none to wait for or none in time. */
  async enter(request: SlotRequest): Promise<Slot> {
    const { peer, subject, deadline } = request;
    const now = this.#now();
    const allowance = this.#circuits.allowance(peer, now);
    let lane = this.#lane(peer, allowance);
    if (lane.waiting > 0 || !this.#free(lane, allowance)) {
      this.#sweep(now);
      lane = this.#lane(peer, allowance);
    }
    if (lane.waiting === 0 && this.#free(lane, allowance)) return this.#take(peer, lane, now + deadline);
    const refusal = this.#refusal(peer, subject, lane, allowance);
    if (!refusal) return await this.#wait(request, lane);
    this.#tidy(peer, lane);
    throw refusal;
  }

  /** Gives a slot back and lets others in. To be called once, after the outcome was observed. */
  leave(slot: Slot): void {
    if (!this.#held.delete(slot)) return;
    const { peer, epoch } = slot;
    const lane = this.#lanes.get(peer);
    if (lane?.epoch === epoch) lane.underWay -= 1;
    // Where the total was the limit, peers take turns too: a slow one must not keep for itself what it has.
    for (let more = this.#waiting > 0; more;)
      more = [...this.#lanes].filter(([id, waiting]) => this.#admit(id, waiting)).length > 0;
    if (lane) this.#tidy(peer, lane);
  }

  /**
   * Takes back what nobody will give back. Some runtimes end a request whose client left without running another line of it;
   * its slot would stay taken, and a lost probe would keep its peer ejected, for as long as the instance lives.
   */
  #sweep(now: number): void {
    if (now - this.#sweptAt < sweepEvery) return;
    this.#sweptAt = now;
    for (const [peer, lane] of this.#lanes) {
      for (const [subject, queue] of lane.queues)
        for (const waiter of queue.filter(({ waitsUntil }) => waitsUntil + sweepEvery < now))
          if (this.#remove(lane, subject, waiter)) waiter.refuse(this.#busy(peer, "no turn in time"));
      this.#tidy(peer, lane);
    }
    for (const slot of this.#held) if (slot.until + sweepEvery < now) this.leave(slot);
  }

  #refusal(peer: NodeId, subject: string, lane: Lane, allowance: Allowance): RpcError | undefined {
    if (this.#closed(lane, allowance)) return ejected(peer, allowance, this.#now());
    if (this.#waiting >= this.#limits.queueTotal) return this.#busy(peer, "too many requests to peers wait already");
    if (lane.waiting >= this.#limits.queuePerPeer && !this.#makeRoom(peer, lane, subject))
      return this.#busy(peer, `${lane.waiting} requests wait for it already`);
    return undefined;
  }

  async #wait({ peer, subject, deadline, signal }: SlotRequest, lane: Lane): Promise<Slot> {
    const ms = Math.min(this.#limits.wait, deadline);
    const asked = this.#now();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let cancelled = (): void => undefined;
    try {
      return await new Promise<Slot>((resolve, reject) => {
        const waiter: Waiter = { until: asked + deadline, waitsUntil: asked + ms, enter: resolve, refuse: reject };
        const drop = (error: RpcError) => {
          // It may have been let in a moment ago, and not have noticed.
          if (!this.#remove(lane, subject, waiter)) return;
          this.#tidy(peer, lane);
          reject(error);
        };
        cancelled = () => drop(new RpcError(code.peerFailed, "the caller cancelled the request"));
        timer = setTimeout(() => drop(this.#busy(peer, `no turn within ${ms / 1000} s`)), ms);
        const queue = lane.queues.get(subject);
        if (queue) queue.push(waiter);
        else lane.queues.set(subject, [waiter]);
        lane.waiting += 1;
        this.#waiting += 1;
        signal?.addEventListener("abort", cancelled, { once: true });
        if (signal?.aborted) cancelled();
      });
    } finally {
      // Here and not where the waiter is let in: on workerd that is another request, which may not touch this one's timer.
      clearTimeout(timer);
      signal?.removeEventListener("abort", cancelled);
    }
  }

  /** Lets one waiter in if there is room, subjects in turn; refuses it when the peer is ejected. True when one is gone from the queue. */
  #admit(peer: NodeId, lane: Lane): boolean {
    if (lane.waiting === 0) return false;
    const allowance = this.#circuits.allowance(peer, this.#now());
    this.#renew(lane, allowance);
    const closed = this.#closed(lane, allowance);
    if (!closed && !this.#free(lane, allowance)) return false;
    const [subject, queue] = lane.queues.entries().next().value as [string, Waiter[]];
    const waiter = queue[0] as Waiter;
    this.#remove(lane, subject, waiter);
    if (closed) {
      waiter.refuse(ejected(peer, allowance, this.#now()));
      this.#tidy(peer, lane);
      return true;
    }
    waiter.enter(this.#take(peer, lane, waiter.until));
    // Subject and peer go to the end of their turns.
    if (queue.length > 0) {
      lane.queues.delete(subject);
      lane.queues.set(subject, queue);
    }
    this.#lanes.delete(peer);
    this.#lanes.set(peer, lane);
    return true;
  }

  /** Ejected, or a probe is out: nobody waits for such a peer. */
  #closed(lane: Lane, { requests }: Allowance): boolean {
    return requests === 0 || (requests === 1 && lane.underWay > 0);
  }

  #free(lane: Lane, { requests }: Allowance): boolean {
    return lane.underWay < Math.min(requests, this.#limits.perPeer) && this.#held.size < this.#limits.total;
  }

  #take(peer: NodeId, lane: Lane, until: number): Slot {
    const slot = { peer, epoch: lane.epoch, until };
    lane.underWay += 1;
    this.#held.add(slot);
    return slot;
  }

  /** A full queue gives the newest place of the subject that holds most to one that holds fewer. */
  #makeRoom(peer: NodeId, lane: Lane, subject: string): boolean {
    const [greediest, queue] = [...lane.queues].reduce((most, next) => (next[1].length > most[1].length ? next : most));
    if ((lane.queues.get(subject)?.length ?? 0) + 1 >= queue.length) return false;
    const waiter = queue.at(-1) as Waiter;
    this.#remove(lane, greediest, waiter);
    waiter.refuse(this.#busy(peer, "others' requests go before"));
    return true;
  }

  /** False when the waiter is not in the queue any more. */
  #remove(lane: Lane, subject: string, waiter: Waiter): boolean {
    const queue = lane.queues.get(subject) ?? [];
    const at = queue.indexOf(waiter);
    if (at < 0) return false;
    queue.splice(at, 1);
    if (queue.length === 0) lane.queues.delete(subject);
    lane.waiting -= 1;
    this.#waiting -= 1;
    return true;
  }

  #lane(peer: NodeId, allowance: Allowance): Lane {
    let lane = this.#lanes.get(peer);
    if (!lane) this.#lanes.set(peer, (lane = { epoch: allowance.epoch, underWay: 0, queues: new Map(), waiting: 0 }));
    this.#renew(lane, allowance);
    return lane;
  }

  /** What is under way since before an ejection counts only towards the total: it must not keep the probe out. */
  #renew(lane: Lane, { epoch }: Allowance): void {
    if (lane.epoch !== epoch) Object.assign(lane, { epoch, underWay: 0 });
  }

  #tidy(peer: NodeId, lane: Lane): void {
    if (lane.underWay === 0 && lane.waiting === 0) this.#lanes.delete(peer);
  }

  #busy(peer: NodeId, why: string): RpcError {
    return new RpcError(code.unavailable, `${peer} is busy: ${why}`, { peer, retryable: true, retryAfterSeconds: 1 });
  }
}
