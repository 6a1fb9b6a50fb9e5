import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";
import { manifestMediaType, type FederationStatus } from "../../functions/node/federation/manifest.ts";

/** A node to talk to. */
export interface Target {
  readonly network: string;
  /** `organization/node`. */
  readonly id: string;
  /** Base URL without a trailing slash. */
  readonly url: string;
}

export interface Answer {
  /** What the node says of itself; absent when there is no answer to use. */
  readonly status?: NodeStatus;
  readonly fault?: Fault;
}

export interface Fault {
  readonly reason: string;
  /** True where asking again does not help. */
  readonly final: boolean;
}

/** Runs a task as soon as there is room for it. */
export type Limit = <T>(task: () => Promise<T>) => Promise<T>;

export type NodeStatus = Pick<FederationStatus, "network" | "node" | "serial" | "digest">;

const answerSeconds = 5;
const statusSchema: z.ZodType<NodeStatus> = z.object({
  network: z.string(),
  node: z.string(),
  serial: z.int().min(0),
  digest: z.exactOptional(z.string()),
});
/** What a platform answers while a fresh deployment or its host name is not there yet, and what passes by itself. */
const passing: ReadonlySet<number> = new Set([404, 408, 425, 429]);

/** Lets at most `width` tasks run at a time. */
export function limitTo(width: number): Limit {
  let free = width;
  const waiting: (() => void)[] = [];
  return async (task) => {
    if (free > 0) free--;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await task();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else free++;
    }
  };
}

/** One request to a node's federation endpoint. With a manifest (a JWS) it is delivered; without, the node only says what it holds. */
export async function ask(target: Target, signal: AbortSignal, manifest?: string): Promise<Answer> {
  let response: Response;
  let text: string;
  try {
    response = await fetch(`${target.url}/.well-known/federation`, {
      ...(manifest !== undefined && { method: "PUT", body: manifest, headers: { "content-type": manifestMediaType } }),
      redirect: "manual",
      signal: AbortSignal.any([signal, AbortSignal.timeout(answerSeconds * 1000)]),
    });
    text = await response.text();
  } catch (error) {
    return signal.aborted ? fault("was cancelled", true) : fault(networkFault(error), false);
  }
  if (!response.ok) {
    const final = response.status < 500 && !passing.has(response.status);
    return fault(`answered ${response.status} ${excerpt(text)}`.trimEnd(), final);
  }
  const status = parseStatus(text);
  if (!status) return fault(`answered what no node says: ${excerpt(text)}`, false);
  if (status.network !== target.network || status.node !== target.id) {
    return fault(`says it is ${status.node} of the network ${status.network}: do two nodes share this URL?`, false);
  }
  return { status };
}

/**
 * Delivers a manifest, again and again until the node says what it holds or refuses for good. Gives up at the deadline,
 * after one attempt at least. A refusal comes with the node's status, where it tells one.
 * @param deadline in the time of `performance.now()`
 */
export async function deliver(
  target: Target,
  manifest: string,
  deadline: number,
  limit: Limit,
  signal: AbortSignal,
): Promise<Answer> {
  for (let pause = 100; ; pause = Math.min(pause * 2, 2000)) {
    const answer = await limit(() => ask(target, signal, manifest));
    // A node refuses a manifest that is not newer than its own; its status then says what it takes.
    if (answer.fault?.final && !signal.aborted)
      return { ...(await limit(() => ask(target, signal))), fault: answer.fault };
    if (!answer.fault || answer.fault.final || performance.now() + pause >= deadline) return answer;
    // Cancelled while it waits: the next `ask` says so.
    await sleep(pause, undefined, { signal }).catch(() => undefined);
  }
}

function fault(reason: string, final: boolean): Answer {
  return { fault: { reason, final } };
}

function networkFault(error: unknown): string {
  if (error instanceof Error && error.name === "TimeoutError") return `gave no answer within ${answerSeconds} seconds`;
  const cause = error instanceof Error ? error.cause : undefined;
  const code = typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : undefined;
  return `cannot be reached: ${code ?? (cause instanceof Error ? cause.message : String(error))}`;
}

/** The start of an answer on one line, for an error message. */
function excerpt(text: string): string {
  const line = text.replaceAll(/\s+/g, " ").trim();
  return line.length > 200 ? `${line.slice(0, 200)}...` : line;
}

function parseStatus(text: string): NodeStatus | undefined {
  return statusSchema.safeParse(parseJson(text)).data;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
