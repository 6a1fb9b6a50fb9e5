import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { readRpc } from "./http-network.ts";

/** Milliseconds: the node's own bounds, short enough to wait for. */
export const listBudget = 1_000;
export const callDeadline = 2_500;

/** What the caller of a node sees of one kind of peer, and the peer itself. */
export interface Behaviour {
  readonly peer: string;
  /** The peer's report in `_meta` of `tools/list`, or `ok` with its tools. */
  readonly list: "ok" | { readonly failed: string };
  readonly call: "ok" | { readonly code: number; readonly message: string };
  /** Requests that one list and one call may send. */
  readonly tries: { readonly list: number; readonly call: number };
  /** Undefined = nobody listens. */
  readonly serve: RequestListener | undefined;
}

const listed = { resultType: "complete", tools: [tool("echo")] };
const said = { resultType: "complete", content: [{ type: "text", text: "hi" }] };
const once = { list: 1, call: 1 };

/** This table is the documentation: `docs/resilience.md` shows it, and a test holds the two together. */
export const behaviours: readonly Behaviour[] = [
  {
    peer: "healthy",
    list: "ok",
    call: "ok",
    tries: once,
    serve: mcp(async (rpc, outgoing) =>
      json(outgoing, 200, { jsonrpc: "2.0", id: rpc.id, result: resultOf(rpc.method) }),
    ),
  },
  {
    peer: "healthy, answers with an event stream",
    list: "ok",
    call: "ok",
    tries: once,
    serve: mcp(async (rpc, outgoing) => {
      events(outgoing).write(": hello\n\n");
      await pause(20);
      outgoing.end(`data: ${JSON.stringify({ jsonrpc: "2.0", id: rpc.id, result: resultOf(rpc.method) })}\n\n`);
    }),
  },
  {
    peer: "slower than the list budget, faster than the call deadline",
    list: { failed: "did not answer within 1 s" },
    call: "ok",
    tries: once,
    serve: mcp(async (rpc, outgoing) => {
      await pause(listBudget + 400);
      json(outgoing, 200, { jsonrpc: "2.0", id: rpc.id, result: resultOf(rpc.method) });
    }),
  },
  {
    peer: "silent",
    list: { failed: "did not answer within 1 s" },
    call: { code: 504, message: "did not answer within 2.5 s" },
    tries: once,
    serve: mcp(async () => undefined),
  },
  {
    peer: "dead: connection refused",
    list: { failed: "could not be reached" },
    call: { code: 502, message: "could not be reached" },
    tries: { list: 2, call: 1 },
    serve: undefined,
  },
  {
    peer: "HTTP 500",
    list: { failed: "answered HTTP 500 without an MCP message" },
    call: { code: 502, message: "answered HTTP 500 without an MCP message" },
    tries: once,
    serve: mcp(async (_, outgoing) => {
      outgoing
        .writeHead(500, { "content-type": "text/plain" })
        .end("Error: boom\n    at serve (/srv/10.0.0.7/app.js:1:1)");
    }),
  },
  {
    peer: "HTTP 500 with JSON that is no MCP message",
    list: { failed: "answered HTTP 500 without an MCP message" },
    call: { code: 502, message: "answered HTTP 500 without an MCP message" },
    tries: once,
    serve: mcp(async (_, outgoing) =>
      json(outgoing, 500, { error: "Error: boom\n    at serve (/srv/10.0.0.7/app.js:1:1)" }),
    ),
  },
  {
    peer: "HTTP 503 from a gateway",
    list: { failed: "answered HTTP 503 without an MCP message" },
    call: { code: 502, message: "answered HTTP 503 without an MCP message" },
    tries: { list: 2, call: 1 },
    serve: mcp(
      async (_, outgoing) => void outgoing.writeHead(503, { "content-type": "text/html" }).end("<h1>busy</h1>"),
    ),
  },
  {
    peer: "HTTP 429",
    list: { failed: "answered HTTP 429 without an MCP message" },
    call: { code: 502, message: "answered HTTP 429 without an MCP message" },
    tries: once,
    serve: mcp(async (_, outgoing) => void outgoing.writeHead(429, { "retry-after": "9" }).end()),
  },
  {
    peer: "redirects elsewhere",
    list: { failed: "answered HTTP 307 without an MCP message" },
    call: { code: 502, message: "answered HTTP 307 without an MCP message" },
    tries: once,
    serve: mcp(async (_, outgoing) => void outgoing.writeHead(307, { location: "http://127.0.0.1:9/" }).end()),
  },
  {
    peer: "refuses the token (HTTP 401)",
    list: { failed: "refused this node's token" },
    call: { code: 502, message: "refused this node's token" },
    tries: once,
    serve: mcp(async (_, outgoing) => json(outgoing, 401, { error: "invalid_token" })),
  },
  {
    peer: "wrong content type",
    list: { failed: "answered HTTP 200 without an MCP message" },
    call: { code: 502, message: "answered HTTP 200 without an MCP message" },
    tries: once,
    serve: mcp(
      async (_, outgoing) => void outgoing.writeHead(200, { "content-type": "text/html" }).end("<p>hello</p>"),
    ),
  },
  {
    peer: "malformed JSON",
    list: { failed: "answered text that is not JSON" },
    call: { code: 502, message: "answered text that is not JSON" },
    tries: once,
    serve: mcp(
      async (_, outgoing) => void outgoing.writeHead(200, { "content-type": "application/json" }).end('{"jsonrpc":'),
    ),
  },
  {
    peer: "JSON nested a thousand levels",
    list: { failed: "answered JSON nested over 256 levels" },
    call: { code: 502, message: "answered JSON nested over 256 levels" },
    tries: once,
    serve: mcp(async (_, outgoing) => {
      outgoing.writeHead(200, { "content-type": "application/json" }).end("[".repeat(1_000) + "]".repeat(1_000));
    }),
  },
  {
    peer: "JSON that is not JSON-RPC",
    list: { failed: "answered something that is not JSON-RPC" },
    call: { code: 502, message: "answered something that is not JSON-RPC" },
    tries: once,
    serve: mcp(async (_, outgoing) => json(outgoing, 200, [])),
  },
  {
    peer: "wrong id",
    list: { failed: "answered another request than the one it was asked" },
    call: { code: 502, message: "answered another request than the one it was asked" },
    tries: once,
    serve: mcp(async (rpc, outgoing) =>
      json(outgoing, 200, { jsonrpc: "2.0", id: `${rpc.id}0`, result: resultOf(rpc.method) }),
    ),
  },
  {
    peer: "oversized answer, length announced",
    list: { failed: "answered more than 8388608 bytes" },
    call: { code: 502, message: "answered more than 8388608 bytes" },
    tries: once,
    serve: mcp(async (_, outgoing) => {
      outgoing.writeHead(200, { "content-type": "application/json", "content-length": String(9 * 1024 * 1024) });
      outgoing.write(" ".repeat(1024));
    }),
  },
  {
    peer: "stream cut in the middle",
    list: { failed: "could not be reached" },
    call: { code: 502, message: "could not be reached" },
    tries: { list: 2, call: 1 },
    serve: mcp(async (_, outgoing) => {
      events(outgoing).write('data: {"jsonrpc":"2.0","id"');
      await pause(20);
      outgoing.destroy();
    }),
  },
  {
    peer: "stream ended before the answer",
    list: { failed: "ended its answer early" },
    call: { code: 502, message: "ended its answer early" },
    tries: once,
    serve: mcp(async (_, outgoing) => void events(outgoing).end(": bye\n\n")),
  },
  {
    peer: "endless stream",
    list: { failed: "did not answer within 1 s" },
    call: { code: 504, message: "did not answer within 2.5 s" },
    tries: once,
    serve: mcp(async (_, outgoing) => {
      events(outgoing);
      const timer = setInterval(
        () => outgoing.write('data: {"jsonrpc":"2.0","method":"notifications/message"}\n\n'),
        5,
      );
      outgoing.once("close", () => clearInterval(timer));
    }),
  },
  {
    peer: "answers with errors of an older MCP server",
    list: { failed: "refused the request: it does not speak MCP 2026-07-28 as a node does" },
    call: { code: 502, message: "refused the request: it does not speak MCP 2026-07-28 as a node does" },
    tries: once,
    serve: mcp(async (_, outgoing) =>
      json(outgoing, 400, {
        jsonrpc: "2.0",
        id: null,
        error: { code: -32000, message: "Bad Request: Server not initialized" },
      }),
    ),
  },
  {
    peer: "lists without a list",
    list: { failed: "answered tools/list without tools" },
    call: "ok",
    tries: once,
    serve: mcp(async (rpc, outgoing) =>
      json(outgoing, 200, { jsonrpc: "2.0", id: rpc.id, result: rpc.method === "tools/list" ? {} : said }),
    ),
  },
  {
    peer: "pages without end",
    list: { failed: "answered tools/list with more than 50 pages" },
    call: "ok",
    tries: { list: 50, call: 1 },
    serve: mcp(async (rpc, outgoing) =>
      json(outgoing, 200, {
        jsonrpc: "2.0",
        id: rpc.id,
        result: rpc.method === "tools/list" ? { tools: [], nextCursor: "more" } : said,
      }),
    ),
  },
];

/** The behaviours as the table of `docs/resilience.md`. */
export function table(): string {
  const rows = behaviours.map(({ peer, list, call }) => {
    const listCell = list === "ok" ? "`ok`, its tools" : `\`failed\`: ${list.failed}`;
    return `| ${peer} | ${listCell} | ${call === "ok" ? "its result" : `error ${call.code}: ${call.message}`} |`;
  });
  return ["| the peer | its report in `tools/list` | `tools/call` |", "| --- | --- | --- |", ...rows].join("\n");
}

export function tool(name: string) {
  return { name, description: "", inputSchema: { type: "object" } };
}

interface Rpc {
  readonly id: string;
  readonly method: string;
}

function mcp(answer: (rpc: Rpc, outgoing: ServerResponse) => Promise<void>): RequestListener {
  return (incoming: IncomingMessage, outgoing: ServerResponse) => {
    if (incoming.url !== "/mcp") return void outgoing.writeHead(404).end();
    readRpc(incoming)
      .then(async (rpc) => await answer(rpc, outgoing))
      .catch((cause: unknown) => outgoing.destroy(cause as Error));
  };
}

function resultOf(method: string): unknown {
  return method === "tools/list" ? listed : said;
}

function json(outgoing: ServerResponse, status: number, body: unknown): void {
  outgoing.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

function events(outgoing: ServerResponse): ServerResponse {
  return outgoing.writeHead(200, { "content-type": "text/event-stream" });
}

async function pause(ms: number): Promise<void> {
  await new Promise((done) => setTimeout(done, ms));
}
