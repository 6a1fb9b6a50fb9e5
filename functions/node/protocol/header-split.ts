import type { HeaderReader } from "../platform.ts";
import { decodeHeaderValue } from "./header-value.ts";
import { mirroredName } from "./methods.ts";
import { type Fields, isFields, metaKey } from "./rpc.ts";

/**
 * What a header says that the body does not; undefined where both agree. MCP 2026-07-28 has the rule for its own requests, and the SDK keeps it.
 * Older requests need no such headers, but something in front of the node may decide by them, so a wrong one is refused there too:
 * else naming an old version would switch the rule off.
 */
export function headerSplit(headers: HeaderReader, body: unknown): string | undefined {
  const method = headers.get("mcp-method");
  const name = headers.get("mcp-name");
  if (method === null && name === null) return undefined;
  if (!isFields(body)) return "Mcp-Method and Mcp-Name cannot speak for a batch";
  const params: Fields = isFields(body["params"]) ? body["params"] : {};
  // Left to the SDK, which answers these in the form that the specification asks for.
  if (isFields(params["_meta"]) && Object.hasOwn(params["_meta"], metaKey.protocolVersion)) return undefined;
  if (method !== null && method !== body["method"]) return "Mcp-Method does not say what the body says";
  if (name !== null && decodeHeaderValue(name) !== mirroredName(String(body["method"]), params))
    return "Mcp-Name does not say what the body says";
  return undefined;
}
