import type { ListMethodName, CallMethodName } from "./methods.ts";
import { isListMethod } from "./methods.ts";
import { code, type Fields, RpcError } from "./rpc.ts";

/** Legacy = MCP up to 2025-11-25, modern = from 2026-07-28. */
export type Era = "legacy" | "modern";

/** How long a caller may keep a list, in milliseconds. */
const ttlMs = 5_000;

/** A result in the form that the era asks for. Lists and resources depend on who asks, so their cache is private. */
export function inEra(era: Era, method: ListMethodName | CallMethodName, result: Fields): Fields {
  const { resultType = "complete", ttlMs: peerTtl, cacheScope: _, ...rest } = result;
  if (era === "legacy") {
    if (resultType !== "complete")
      throw new RpcError(
        code.internal,
        `${method}: this result (${String(resultType)}) needs a client of MCP 2026-07-28 or later`,
      );
    return rest;
  }
  const cacheable = resultType === "complete" && (isListMethod(method) || method === "resources/read");
  const ttl = typeof peerTtl === "number" && peerTtl >= 0 ? Math.min(ttlMs, Math.floor(peerTtl)) : ttlMs;
  return { resultType, ...rest, ...(cacheable && { ttlMs: ttl, cacheScope: "private" }) };
}
