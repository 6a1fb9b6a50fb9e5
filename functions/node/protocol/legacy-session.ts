import type { LogLevel } from "../define.ts";
import type { StateSeal } from "../security/sealed-state.ts";
import type { Principal } from "../security/principal.ts";
import type { Json, State } from "../state/state.ts";
import { bridgedCapabilities } from "./capabilities.ts";
import { isLogLevel } from "./log-level.ts";
import { code, type Fields, isFields, RpcError } from "./rpc.ts";

/** A client of MCP 2025-11-25 and before, between its handshake and its end. */
export interface LegacySession {
  /** Names its entries in the node's state. */
  readonly key: string;
  readonly capabilities: Fields;
}

/** Milliseconds. */
const lifetime = 24 * 3_600_000;
const answerWithin = 300_000;
const lookEvery = 150;
/** An id travels in a header with every request. */
const maxCapabilities = 1_000;
const maxUris = 256;
/** Characters, which in UTF-8 fit into one value of the state. */
const maxAnswer = 20_000;

/**
 * Sessions that no instance holds: the id is the session, sealed for its user, and what the client tells later goes through the node's state.
 * So any isolate may serve any request of it, and an answer to a question may come to another isolate than the one that asked.
 */
export class LegacySessions {
  readonly #seal: StateSeal;
  readonly #state: State;
  readonly #node: string;
  /** Calls of sessions that this isolate answers now, by session and request. */
  readonly #running = new Map<string, AbortController>();

  constructor(seal: StateSeal, state: State, node: string) {
    this.#seal = seal;
    this.#state = state;
    this.#node = node;
  }

  /** The id of a new session for a client with these capabilities. */
  async begin(principal: Principal, declared: unknown): Promise<string> {
    const bridged = bridgedCapabilities(declared);
    const short = JSON.stringify(bridged).length <= maxCapabilities;
    const capabilities = short ? bridged : Object.fromEntries(Object.keys(bridged).map((name) => [name, {}]));
    const session: LegacySession = { key: crypto.randomUUID(), capabilities };
    return await this.#seal.seal(JSON.stringify(session), this.#bound(principal), lifetime);
  }

  /** The session of an id; undefined where it is nobody's, another user's or too old. */
  async find(principal: Principal, id: string): Promise<LegacySession | undefined> {
    try {
      return JSON.parse(await this.#seal.open(id, this.#bound(principal))) as LegacySession;
    } catch (cause) {
      if (cause instanceof RpcError) return undefined;
      throw cause;
    }
  }

  /** Runs a call so that {@link cancel} can end it. */
  async cancellable<T>(
    { key }: LegacySession,
    id: unknown,
    outer: AbortSignal,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const controller = new AbortController();
    const leave = () => controller.abort(outer.reason);
    if (outer.aborted) leave();
    outer.addEventListener("abort", leave, { once: true });
    const name = `${key} ${JSON.stringify(id)}`;
    this.#running.set(name, controller);
    try {
      return await work(controller.signal);
    } finally {
      this.#running.delete(name);
      outer.removeEventListener("abort", leave);
    }
  }

  /** Ends a call that the client no longer wants. One that another isolate answers goes on until the client drops its stream. */
  cancel({ key }: LegacySession, id: unknown): void {
    this.#running.get(`${key} ${JSON.stringify(id)}`)?.abort(new Error("the client cancelled the request"));
  }

  /** Takes a client's answer to a question of this node. */
  async take({ key }: LegacySession, { id, result, error }: Fields): Promise<void> {
    if (typeof id !== "string" || !/^[A-Za-z0-9-]{1,64}$/.test(id)) return;
    let answer = (isFields(result) ? { result } : { error: error ?? null }) as Json;
    const { length } = JSON.stringify(answer);
    if (length > maxAnswer)
      answer = {
        error: { message: `its answer has ${length} characters, and ${maxAnswer} are the most that a node takes` },
      };
    await this.#state.put(`legacy/${key}/answer/${id}`, answer, { ttlSeconds: answerWithin / 1000 });
  }

  /** Asks the client, over the stream of the call that needs it, and waits for all answers. Throws `RpcError` for a refusal. */
  async ask(
    { key }: LegacySession,
    requests: Fields,
    send: (message: Fields) => void,
    signal: AbortSignal,
  ): Promise<Fields> {
    const open = new Map(Object.entries(requests).map(([name, request]) => [crypto.randomUUID(), { name, request }]));
    for (const [id, { request }] of open) send({ jsonrpc: "2.0", id, ...(request as Fields) });
    const answers: Record<string, unknown> = {};
    const until = Date.now() + answerWithin;
    while (open.size > 0) {
      if (signal.aborted) throw new RpcError(code.peerFailed, "the caller cancelled the request");
      if (Date.now() > until)
        throw new RpcError(code.peerTimeout, `The client did not answer within ${answerWithin / 60_000} minutes`);
      await new Promise((resolve) => setTimeout(resolve, lookEvery));
      for (const [id, { name }] of open) {
        const value = (await this.#state.get(`legacy/${key}/answer/${id}`))?.value;
        if (value === undefined) continue;
        answers[name] = answerIn(value);
        open.delete(id);
      }
    }
    return answers;
  }

  async setLevel({ key }: LegacySession, level: unknown): Promise<void> {
    if (!isLogLevel(level)) throw new RpcError(code.invalidParams, "logging/setLevel: params.level is no level");
    await this.#state.put(`legacy/${key}/level`, level, { ttlSeconds: lifetime / 1000 });
  }

  /** The mildest messages that the client wants; `info` until it says. */
  async level({ key }: LegacySession): Promise<LogLevel> {
    const level = (await this.#state.get(`legacy/${key}/level`))?.value;
    return isLogLevel(level) ? level : "info";
  }

  /** URIs of resources that the client wants to hear of. */
  async uris({ key }: LegacySession): Promise<readonly string[]> {
    const value = (await this.#state.get(`legacy/${key}/uris`))?.value;
    return Array.isArray(value) ? (value as string[]) : [];
  }

  async subscribe(session: LegacySession, uri: unknown, wanted: boolean): Promise<void> {
    if (typeof uri !== "string") throw new RpcError(code.invalidParams, "params.uri must be a string");
    const others = (await this.uris(session)).filter((other) => other !== uri);
    if (wanted && others.length >= maxUris)
      throw new RpcError(code.invalidParams, `A session may subscribe to at most ${maxUris} resources`);
    const uris = wanted ? [...others, uri] : others;
    await this.#state.put(`legacy/${session.key}/uris`, uris, { ttlSeconds: lifetime / 1000 });
  }

  #bound({ subject }: Principal) {
    return { subject, maker: this.#node, method: "initialize", params: {} };
  }
}

function answerIn(value: Json): unknown {
  const { result, error } = value as Fields;
  if (isFields(result)) return result;
  const { code: errorCode, message } = isFields(error) ? error : {};
  throw new RpcError(
    typeof errorCode === "number" ? errorCode : code.internal,
    `The client refused a question of the call: ${String(message ?? "no reason given").slice(0, 500)}`,
  );
}
