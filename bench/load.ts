import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { loadCore } from "./process.ts";

/** One MCP request that a load repeats; more than one authorization are used in turn. */
export interface Shot {
  readonly url: string;
  readonly method: "tools/call" | "tools/list";
  /** Of the tool, for a call. */
  readonly name?: string;
  readonly authorizations: readonly string[];
}

export interface LoadResult {
  readonly requests: number;
  readonly requestsPerSecond: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  /** Answers that were not 2xx, broken connections and timeouts. */
  readonly errors: number;
}

/** The request as `fetch` takes it, in the modern wire form. */
export function request(shot: Shot, authorization = shot.authorizations[0] ?? ""): RequestInit {
  const meta = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": { name: "bench", version: "1.0.0" },
  };
  const params = shot.name === undefined ? {} : { name: shot.name, arguments: { text: "hello" } };
  return {
    method: "POST",
    headers: {
      authorization,
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": shot.method,
      ...(shot.name !== undefined && { "mcp-name": shot.name }),
    },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: shot.method, params: { ...params, _meta: meta } }),
  };
}

/** Sends the request over and over from `connections` connections, each waiting for its answer, with `wrk`. */
export async function load(shot: Shot, connections: number, seconds: number, folder: string): Promise<LoadResult> {
  const { headers, body } = request(shot);
  const script = join(folder, `${shot.method.replace("/", "-")}.lua`);
  const inTurn = shot.authorizations.length > 1;
  await writeFile(
    script,
    `wrk.method = "POST"
wrk.body = ${lua(body as string)}
${Object.entries(headers as Record<string, string>)
  .map(([name, value]) => `wrk.headers[${lua(name)}] = ${lua(value)}\n`)
  .join("")}
${
  inTurn
    ? `local tokens = {${shot.authorizations.map(lua).join(",")}}
local turn = 0
request = function()
  turn = turn % #tokens + 1
  wrk.headers["authorization"] = tokens[turn]
  return wrk.format()
end`
    : ""
}
done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format('\\nRESULT {"requests":%d,"microseconds":%d,"p50":%d,"p99":%d,"errors":%d}\\n', summary.requests,
    summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
`,
    { mode: 0o600 },
  );
  const { stdout } = await promisify(execFile)(
    "taskset",
    [
      "-c",
      String(loadCore),
      "wrk",
      "-t1",
      `-c${connections}`,
      `-d${seconds}s`,
      "--timeout",
      "5s",
      "-s",
      script,
      shot.url,
    ],
    { timeout: (seconds + 15) * 1000 },
  );
  const line = /^RESULT (.*)$/m.exec(stdout)?.[1];
  if (line === undefined) throw new Error(`wrk printed no result:\n${stdout}`);
  const { requests, microseconds, p50, p99, errors } = JSON.parse(line) as Record<string, number>;
  return {
    requests: requests ?? 0,
    requestsPerSecond: (requests ?? 0) / ((microseconds ?? 1) / 1e6),
    p50: (p50 ?? 0) / 1000,
    p99: (p99 ?? 0) / 1000,
    errors: errors ?? 0,
  };
}

/** A Lua string literal: JSON's, whose escapes of printable text are Lua's too. */
function lua(text: string): string {
  return JSON.stringify(text);
}
