import { encodeHeaderValue } from "../header-value.ts";
import { mirroredName } from "../methods.ts";
import { type Fields, isFields, metaKey, modernVersion } from "../rpc.ts";

/** Id of a JSON-RPC request. */
export type RequestId = string | number;

export function isRequestId(id: unknown): id is RequestId {
  return typeof id === "string" || Number.isSafeInteger(id);
}

/** Printable ASCII: what a header carries as it is. */
const plain = /^[\x21-\x7e]+$/;

/**
 * The request of Streamable HTTP that says the same as a message, with the headers that MCP 2026-07-28 repeats its fields in.
 * Undefined for a method that no header can name, and so none is called.
 */
export function toHttp(
  url: string,
  method: string,
  text: string,
  { params }: Fields,
  signal: AbortSignal,
): Request | undefined {
  if (!plain.test(method)) return undefined;
  const fields = isFields(params) ? params : {};
  const meta = isFields(fields["_meta"]) ? fields["_meta"] : {};
  const version = String(meta[metaKey.protocolVersion] ?? modernVersion);
  const name = mirroredName(method, fields);
  return new Request(url, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": plain.test(version) ? version : modernVersion,
      "mcp-method": method,
      ...(typeof name === "string" && { "mcp-name": encodeHeaderValue(name) }),
    },
    body: text,
    signal,
  });
}
