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
  /** `ok`, `tool_error` (the tool says so), `denied`, or `error <JSON-RPC code>`. */
  readonly outcome: string;
  /** Duration in milliseconds. */
  readonly ms: number;
}

const log = "audit";
const ttlSeconds = 30 * 24 * 3600;

/** The audit of one node: a log in its state, and a line on its console for whoever collects those. */
export class Audit {
  readonly #state: State;

  constructor(state: State) {
    this.#state = state;
  }

  /** Throws when the record could not be stored; the caller decides whether the call may stand. */
  async write(record: AuditRecord): Promise<void> {
    console.log(JSON.stringify({ audit: record }));
    await this.#state.append(log, record as unknown as Json, { ttlSeconds });
  }

  /** For records that the response does not wait for. A loss is an error in the log, with the record itself in the line before. */
  async writeLater(record: AuditRecord): Promise<void> {
    try {
      await this.write(record);
    } catch (cause) {
      console.error(
        JSON.stringify({ error: "an audit record could not be stored", callId: record.callId, cause: String(cause) }),
      );
    }
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
