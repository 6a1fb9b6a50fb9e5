import type { NodeId } from "../federation/manifest.ts";
import type { Json, State, StatePage } from "../state/state.ts";

/** One call as one node saw it. Holds no arguments, no results and no tokens. */
export interface AuditRecord {
  /** RFC 3339. */
  readonly time: string;
  /** The same on every node that the call touched. */
  readonly callId: string;
  readonly node: NodeId;
  /** `local` a user called this node's own part, `in` a peer did, `out` this node asked a peer. */
  readonly direction: "local" | "in" | "out";
  readonly method: string;
  /** As this node's caller gave it. */
  readonly name: string;
  readonly subject: string;
  readonly via: readonly NodeId[];
  /** The node on the other side, for `in` and `out`. */
  readonly peer?: NodeId;
  readonly decision: "allow" | "deny";
  readonly reason?: string;
  /** Ids of the grants that the permission rests on, comma-separated. */
  readonly grant?: string;
  /** `ok`, `tool_error` (the tool says so), `input_required` (it asks back), `denied`, or `error <JSON-RPC code>`. */
  readonly outcome: string;
  /** Duration in milliseconds. */
  readonly ms: number;
}

/** What the audit says of a call that had a result. */
export function outcomeOf(result: Readonly<Record<string, unknown>>): string {
  if (result["resultType"] === "input_required") return "input_required";
  return result["isError"] === true ? "tool_error" : "ok";
}

const log = "audit";
const ttlSeconds = 30 * 24 * 3600;

/** Records that nobody waits for are stored together, at most this many milliseconds after the first and this many at a time. */
const gatherFor = 20;
const maxBatch = 128;

/** Records on their way to the state, and what they have in common: when that is done. */
interface Batch {
  readonly records: AuditRecord[];
  readonly stored: Promise<void>;
  readonly settle: (stored: Promise<void>) => void;
  timer: ReturnType<typeof setTimeout> | undefined;
}

export interface AuditOptions {
  readonly state: State;
  readonly waitUntil: (work: Promise<unknown>) => void;
  /** Prints lines for whoever collects those. */
  readonly print?: ((lines: readonly string[]) => void) | undefined;
}

/**
 * The audit of one node: a log in its state, and a line on its console. Records that come while others are being stored are stored
 * together, in the order in which they came.
 */
export class Audit {
  readonly #state: State;
  readonly #waitUntil: AuditOptions["waitUntil"];
  readonly #print: (lines: readonly string[]) => void;
  #gathering: Batch | undefined;
  #storing = false;

  constructor({ state, waitUntil, print }: AuditOptions) {
    this.#state = state;
    this.#waitUntil = waitUntil;
    this.#print = print ?? ((lines) => lines.forEach((line) => console.log(line)));
  }

  /** Throws when the record could not be stored; the caller decides whether the call may stand. */
  async write(record: AuditRecord): Promise<void> {
    const batch = this.#add(record);
    if (!this.#storing) this.#store(batch);
    await batch.stored;
  }

  /** For records that the response does not wait for. A loss is an error in the log, with the record itself in a line before. */
  async writeLater(record: AuditRecord): Promise<void> {
    const batch = this.#add(record);
    if (!this.#storing && batch.records.length >= maxBatch) this.#store(batch);
    batch.timer ??= setTimeout(() => {
      if (this.#gathering === batch && !this.#storing) this.#store(batch);
    }, gatherFor);
    try {
      await batch.stored;
    } catch (cause) {
      const { callId } = record;
      console.error(JSON.stringify({ error: "an audit record could not be stored", callId, cause: String(cause) }));
    }
  }

  #add(record: AuditRecord): Batch {
    this.#gathering ??= newBatch();
    this.#gathering.records.push(record);
    return this.#gathering;
  }

  #store(batch: Batch): void {
    clearTimeout(batch.timer);
    this.#gathering = undefined;
    this.#storing = true;
    this.#print(batch.records.map((record) => JSON.stringify({ audit: record })));
    const work = this.#append(batch.records).finally(() => {
      this.#storing = false;
      // Whoever came meanwhile has waited long enough.
      if (this.#gathering) this.#store(this.#gathering);
    });
    batch.settle(work);
    // Others wait for it too when the request that started it is gone.
    this.#waitUntil(work.catch(() => undefined));
  }

  async #append(records: readonly AuditRecord[]): Promise<void> {
    const values = records as unknown as readonly Json[];
    if (values.length === 1) await this.#state.append(log, values[0] as Json, { ttlSeconds });
    else await this.#state.appendAll(log, values, { ttlSeconds });
  }

  /** A page of records, oldest first. `after` is the `next` of the page before. */
  async page(
    after: string | undefined,
    limit: number,
  ): Promise<{ readonly records: readonly unknown[]; readonly next?: string }> {
    const page: StatePage = await this.#state.list(`${log}/`, {
      limit,
      ...(after !== undefined && { after: `${log}/${after}` }),
    });
    const records = page.entries.map((entry) => entry.value);
    return page.next === undefined ? { records } : { records, next: page.next.slice(log.length + 1) };
  }
}

function newBatch(): Batch {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { records: [], stored: promise, settle: resolve, timer: undefined };
}
