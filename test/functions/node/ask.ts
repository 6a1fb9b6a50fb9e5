import { type TestNetwork } from "./network.ts";

/** A JSON-RPC response with the notifications that came before it. */
export interface Answered {
  readonly status: number;
  readonly notifications: readonly { readonly method: string; readonly params: Record<string, unknown> }[];
  readonly result: Record<string, any>;
  readonly error: { readonly code: number; readonly message: string; readonly data?: any };
}

/** `_meta` of every request of MCP 2026-07-28. */
export function envelope(meta: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    ...meta,
  };
}

export const capabilities = (declared: Record<string, unknown>) => ({
  "io.modelcontextprotocol/clientCapabilities": declared,
});

/** Sends one request of MCP 2026-07-28, byte for byte as given, which no SDK would let through. */
export async function post(
  network: TestNetwork,
  node: string,
  user: string,
  method: string,
  params: Record<string, unknown>,
  {
    meta = {},
    headers = {},
    signal,
  }: { meta?: Record<string, unknown>; headers?: Record<string, string>; signal?: AbortSignal } = {},
): Promise<Response> {
  const name = params["name"] ?? params["uri"];
  return await network.request(node, "/mcp", {
    method: "POST",
    headers: {
      authorization: `Bearer ${await network.userToken(user, node)}`,
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": method,
      ...(typeof name === "string" && { "mcp-name": name }),
      ...headers,
    },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: { ...params, _meta: envelope(meta) } }),
    ...(signal && { signal }),
  });
}

/** The same, answered. */
export async function ask(...args: Parameters<typeof post>): Promise<Answered> {
  return await read(await post(...args));
}

export async function read(response: Response): Promise<Answered> {
  const text = await response.text();
  const messages = text.startsWith("{")
    ? [JSON.parse(text)]
    : [...text.matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data as string));
  const last = messages.at(-1);
  return { status: response.status, notifications: messages.slice(0, -1), result: last.result, error: last.error };
}
