import type { LogLevel } from "../define.ts";
import type { HeldManifest } from "../federation/held-manifest.ts";
import type { Principal } from "../security/principal.ts";
import type { LegacySession } from "./legacy-session.ts";
import type { CallMethodName, ListMethodName } from "./methods.ts";
import type { Fields } from "./rpc.ts";

/** One MCP request that was let in: what every part of the node needs to know to answer it. */
export interface Call<Method extends string = ListMethodName | CallMethodName> {
  readonly method: Method;
  /** Without `_meta`. */
  readonly params: Fields;
  /** The caller's `_meta` without the keys that the specification reserves and without the progress token. */
  readonly meta: Fields;
  readonly principal: Principal;
  /** The manifest that this request is decided by, from its first check to its last. */
  readonly held: HeldManifest;
  /** Id of the call in every audit: the first node makes it. */
  readonly callId: string;
  /** `Mcp-Param-*` headers, which go on to the peer as they came. */
  readonly headers: Readonly<Record<string, string>>;
  /** Aborted when the caller cancels or leaves. */
  readonly signal: AbortSignal;
  /** Set for a client of MCP 2025-11-25 and before that has one. */
  readonly session?: LegacySession | undefined;
  /** What the caller's client can do, as far as a node can bridge it. */
  readonly capabilities: Fields;
  /** Sends progress to the caller; absent when it did not ask. */
  readonly progress?: ((params: Fields) => Promise<void>) | undefined;
  /** Sends log messages to the caller; absent when it did not ask. */
  readonly log?: Logger | undefined;
}

/** The caller's ear for log messages. */
export interface Logger {
  /** The mildest level that the caller wants. */
  readonly level: LogLevel;
  send(params: Fields): Promise<void>;
}
