import { CliError } from "./errors.ts";
import { readEvents } from "./event-stream.ts";

const protocolVersion = "2026-07-28";
const metaPrefix = "io.modelcontextprotocol/";
const peersKey = "io.github.ai-federation/peers";

export interface Tool {
  readonly name: string;
  readonly title?: string;
  readonly description?: string;
}

export interface ToolResult {
  readonly content: readonly ({ readonly type: string } & Readonly<Record<string, unknown>>)[];
  readonly isError?: boolean;
  readonly structuredContent?: unknown;
  readonly _meta?: Readonly<Record<string, unknown>>;
}

export interface ToolList {
  readonly tools: readonly Tool[];
  readonly _meta?: Readonly<Record<string, unknown>>;
}

interface Reply {
  readonly id?: unknown;
  readonly result?: { readonly resultType?: string; readonly nextCursor?: string } & Record<string, any>;
  readonly error?: { readonly code: number; readonly message: string };
}

/** A node's MCP endpoint, spoken to in the 2026-07-28 revision: each request stands for itself, there is no handshake. */
export interface Mcp {
  listTools(): Promise<ToolList>;
  callTool(name: string, args: object): Promise<ToolResult>;
}

/** `url` is the endpoint, `token` the user's. Errors never hold the token. */
export function connectMcp(url: string, token: string): Mcp {
  let lastId = 0;
  return {
    async listTools() {
      const tools: Tool[] = [];
      for (let cursor: string | undefined; ;) {
        const page = await ask("tools/list", cursor === undefined ? {} : { cursor });
        tools.push(...page["tools"]);
        cursor = page.nextCursor;
        if (cursor === undefined) return { tools, ...(page["_meta"] && { _meta: page["_meta"] }) };
      }
    },
    callTool: async (name, args) => (await ask("tools/call", { name, arguments: args }, name)) as unknown as ToolResult,
  };

  async function ask(method: string, params: object, name?: string): Promise<NonNullable<Reply["result"]>> {
    const id = ++lastId;
    const meta = {
      [`${metaPrefix}protocolVersion`]: protocolVersion,
      [`${metaPrefix}clientCapabilities`]: {},
      [`${metaPrefix}clientInfo`]: { name: "federation", version: "0.1.0" },
    };
    const response = await post(url, {
      headers: {
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        "mcp-protocol-version": protocolVersion,
        "mcp-method": method,
        ...(name !== undefined && { "mcp-name": headerValue(name) }),
      },
      body: JSON.stringify({ jsonrpc: "2.0", id, method, params: { ...params, _meta: meta } }),
    });
    const reply = await replyOf(url, response, id);
    if (reply.error) throw new CliError(`${method} failed: ${reply.error.message} (${reply.error.code})`);
    if (!reply.result) throw new CliError(`${url} answered ${method} with neither a result nor an error`);
    const { resultType } = reply.result;
    if (resultType !== undefined && resultType !== "complete") {
      throw new CliError(`${method} asks for more (${resultType}), which this command cannot give: use an MCP client`);
    }
    return reply.result;
  }
}

/** What a result says about peers that did not do their part, a line each. */
export function peerWarnings({ _meta: meta }: Pick<ToolResult, "_meta">): string[] {
  const reports = meta?.[peersKey];
  if (!Array.isArray(reports)) return [];
  return reports.flatMap(({ node, status, ageMs, error, withheld }: Record<string, any>) => {
    const lines: string[] = [];
    const reason = error ? `: ${error}` : "";
    if (status === "stale")
      lines.push(`${node} did not answer${reason}; its part is ${Math.round(ageMs / 1000)} s old`);
    else if (status !== "ok" && status !== "cached") lines.push(`${node} did not answer (${status})${reason}`);
    for (const { name, reason } of withheld ?? []) lines.push(`${node}: ${name} is not offered: ${reason}`);
    return lines;
  });
}

async function post(url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, { ...init, method: "POST", redirect: "error" });
  } catch (error) {
    throw unreachable(url, error);
  }
}

/** The error for an endpoint that cannot be reached: says which and why. */
export function unreachable(url: string, error: unknown): CliError {
  const cause = (error as Error).cause as NodeJS.ErrnoException | undefined;
  return new CliError(
    `${url} cannot be reached (${cause?.code ?? cause?.message ?? (error as Error).message}): is it up? \`npx federation status\``,
  );
}

async function replyOf(url: string, response: Response, id: number): Promise<Reply> {
  if (response.headers.get("content-type")?.startsWith("text/event-stream") && response.body) {
    for await (const data of readEvents(response.body)) {
      const message = JSON.parse(data) as Reply;
      if (message.id === id) return message;
    }
    throw new CliError(`${url} ended its answer before the result came`);
  }
  const text = await response.text();
  let reply: (Reply & { error_description?: string }) | undefined;
  try {
    reply = JSON.parse(text) as Reply;
  } catch {
    // Not MCP: the status says more than a page of HTML would.
    throw new CliError(`${url} answered HTTP ${response.status} and no JSON`);
  }
  if (reply.result || typeof reply.error === "object") return reply;
  const reason = reply.error_description ?? reply.error;
  throw new CliError(`${url} answered HTTP ${response.status}${reason ? `: ${String(reason)}` : ""}`);
}

/** A header can carry visible ASCII; anything else goes in base64 (MCP 2026-07-28, transports). */
function headerValue(text: string): string {
  const plain = /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(text) && !/^=\?base64\?.*\?=$/.test(text);
  return plain ? text : `=?base64?${Buffer.from(text).toString("base64")}?=`;
}
