import type { HeaderReader } from "../platform.ts";
import { type Fields, isFields, reservedMetaPrefix } from "./rpc.ts";

/** How the node names itself to MCP clients. */
export const serverInfo = { name: "ai-federation", version: "0.1.0" } as const;

/** A caller's `_meta` as it may go on to a peer: without what the specification reserves for one exchange. */
export function callMeta(meta: unknown): Fields {
  if (!isFields(meta)) return {};
  return Object.fromEntries(
    Object.entries(meta).filter(([key]) => key !== "progressToken" && !key.startsWith(reservedMetaPrefix)),
  );
}

/** The headers that mirror tool arguments; a node that does not know them must pass them on. */
export function paramHeaders(headers: HeaderReader): Readonly<Record<string, string>> {
  return Object.fromEntries([...headers].filter(([name]) => name.startsWith("mcp-param-")));
}
