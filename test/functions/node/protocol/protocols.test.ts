import { readFileSync } from "node:fs";
import { describe, expect, test, vi } from "vitest";
import * as z from "zod";
import { defineFunction, defineProtocol, tool } from "../../../../functions/node/define.ts";
import { createNode } from "../../../../functions/node/node.ts";
import { grant, TestNetwork, threeNodes } from "../network.ts";
import connect from "./connect.ts";

vi.spyOn(console, "log").mockImplementation(() => undefined);

const meta = {
  "io.modelcontextprotocol/protocolVersion": "2026-07-28",
  "io.modelcontextprotocol/clientCapabilities": {},
};
const plan = {
  ...threeNodes,
  nodes: { ...threeNodes.nodes, "acme/edge": [...threeNodes.nodes["acme/edge"]!, connect] },
  grants: [grant("globex", "acme", { tools: ["echo"], rate: 1 })],
};

interface Outcome {
  readonly text?: string;
  /** What the caller is told when the call is refused. */
  readonly refusal?: string;
}

/** Calls `echo` of a node by one protocol. */
type CallTool = (network: TestNetwork, name: string) => Promise<Outcome>;

const message = (name: string) => ({
  jsonrpc: "2.0",
  id: 1,
  method: "tools/call",
  params: { name, arguments: { text: "hi" }, _meta: meta },
});
const outcomeOf = ({ result, error }: any): Outcome =>
  error ? { refusal: error.message } : { text: result.content[0].text };

async function post(network: TestNetwork, path: string, body: object, headers: object = {}): Promise<Response> {
  const token = await network.userToken("ada@acme", "acme/edge");
  return await network.request("acme/edge", path, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
}

const protocols: Record<string, CallTool> = {
  MCP: async (network, name) => {
    const accept = "application/json, text/event-stream";
    const headers = { accept, "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": name };
    return outcomeOf(await (await post(network, "/mcp", message(name), headers)).json());
  },
  REST: async (network, name) => {
    const response = await post(network, `/api/tools/${name}`, { text: "hi" });
    const body = (await response.json()) as any;
    return response.ok ? { text: body.content[0].text } : { refusal: body.detail };
  },
  WebSocket: async (network, name) => {
    const authorization = `Bearer ${await network.userToken("ada@acme", "acme/edge")}`;
    const headers = { upgrade: "websocket", "sec-websocket-protocol": "mcp", authorization };
    await network.request("acme/edge", "/mcp", { headers });
    const socket = network.node("acme/edge").sockets.at(-1)!;
    socket.send(message(name));
    return outcomeOf(await socket.message(({ id }) => id === 1));
  },
  "Connect, added by a function": async (network, name) => {
    const body = { name, arguments: { text: "hi" } };
    const answer = (await (await post(network, "/federation.v1.Tools/Call", body)).json()) as any;
    return answer.code === undefined ? { text: answer.content[0].text } : { refusal: answer.message };
  },
};

describe.each(Object.entries(protocols))("by %s", (_, callTool) => {
  test("an own tool and a peer's answer, and both audits have one record of each call, as of any other", async () => {
    const network = await TestNetwork.start(plan);
    expect(await callTool(network, "echo")).toEqual({ text: "hi" });
    expect(await callTool(network, "globex-compute.echo")).toEqual({ text: "hi" });
    const [local, out] = await network.audit("acme/edge");
    const [incoming] = await network.audit("globex/compute");
    const common = { method: "tools/call", subject: "ada@acme", decision: "allow", outcome: "ok" };
    expect(local).toMatchObject({ ...common, direction: "local", name: "echo", via: [] });
    expect(out).toMatchObject({ ...common, direction: "out", name: "globex-compute.echo", peer: "globex/compute" });
    expect(incoming).toMatchObject({
      ...common,
      direction: "in",
      name: "echo",
      via: ["acme/edge"],
      grant: "globex-acme",
    });
    expect(incoming!["callId"]).toBe(out!["callId"]);
    expect(local!["callId"]).not.toBe(out!["callId"]);
  });

  test("a tool without a grant is refused as one that does not exist, and the refusal is on record", async () => {
    const network = await TestNetwork.start(plan);
    for (const name of ["whoami", "nothing"])
      expect(await callTool(network, `globex-compute.${name}`)).toEqual({ refusal: `Unknown tool: ${name}` });
    expect((await network.audit("globex/compute")).map(({ decision, outcome }) => [decision, outcome])).toEqual([
      ["deny", "denied"],
      ["deny", "denied"],
    ]);
  });

  test("a rate counts", async () => {
    const network = await TestNetwork.start(plan);
    expect(await callTool(network, "globex-compute.echo")).toEqual({ text: "hi" });
    expect((await callTool(network, "globex-compute.echo")).refusal).toContain("allows 1 calls a minute");
  });
});

describe("a protocol", () => {
  const paths: Record<string, RequestInit> = {
    "/api/tools": {},
    "/openapi.json": {},
    "/mcp": { headers: { upgrade: "websocket", "sec-websocket-protocol": "mcp" } },
    "/federation.v1.Tools/List": { method: "POST", body: "{}", headers: { "content-type": "application/json" } },
  };

  test.each(Object.entries(paths))("is for callers with a good token only: %s", async (path, init) => {
    const network = await TestNetwork.start(plan);
    const bearers = [undefined, "x", await network.userToken("ada@acme", "acme/data")];
    for (const bearer of bearers) {
      const headers = { ...init.headers, ...(bearer !== undefined && { authorization: `Bearer ${bearer}` }) };
      const response = await network.request("acme/edge", path, { ...init, headers });
      expect(response.status).toBe(401);
      expect(response.headers.get("www-authenticate")).toContain("/.well-known/oauth-protected-resource");
    }
  });

  test.each(Object.entries(paths))(
    "is not for peers, whose token allows one question at /mcp: %s",
    async (path, init) => {
      vi.spyOn(console, "error").mockImplementation(() => undefined);
      const network = await TestNetwork.start(plan);
      let token = "";
      network.node("globex/compute").trouble = async (request) => {
        token = request.headers.get("authorization")!;
        return new Response(null, { status: 500 });
      };
      await protocols["REST"]!(network, "globex-compute.echo");
      const headers = { ...init.headers, authorization: token };
      const response = await network.request("globex/compute", path, { ...init, headers });
      // The peer does not have the added protocol, and says no more than that.
      expect(response.status).toBe(path.includes("v1.Tools") ? 404 : 403);
    },
  );

  test("keeps to paths that the node does not use itself", async () => {
    const greedy = defineProtocol({ name: "greedy", match: () => true, serve: async () => new Response("mine") });
    const network = await TestNetwork.start({
      ...plan,
      nodes: { "acme/edge": [defineFunction({ name: "greedy", protocols: [greedy] })] },
      grants: [],
    });
    const authorization = `Bearer ${await network.userToken("ada@acme", "acme/edge")}`;
    const get = async (path: string) =>
      await (await network.request("acme/edge", path, { headers: { authorization } })).text();
    for (const path of ["/mcp", "/health", "/audit", "/api/tools", "/openapi.json", "/.well-known/federation"])
      expect(await get(path), path).not.toBe("mine");
    expect(await get("/anything")).toBe("mine");
  });

  test("may keep a socket, whose end is the end of what was asked on it", async () => {
    let started = false;
    let reason: unknown;
    const wait = tool({
      description: "Waits until it is cancelled.",
      input: z.object({}),
      async run(_, { signal }) {
        started = true;
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        reason = signal.reason;
        return "";
      },
    });
    const lines = defineProtocol({
      name: "lines",
      match: ({ url }) => new URL(url).pathname === "/lines",
      async serve(request, { upgrade, answer }) {
        const { response, socket } = upgrade!(request, "lines");
        socket.addEventListener("message", ({ data }) => void answer("tools/call", { name: String(data) }));
        return response;
      },
    });
    const functions = [defineFunction({ name: "lines", tools: { wait }, protocols: [lines] })];
    const network = await TestNetwork.start({ ...plan, nodes: { "acme/edge": functions }, grants: [] });
    const authorization = `Bearer ${await network.userToken("ada@acme", "acme/edge")}`;
    const sent = new AbortController();
    await network.request("acme/edge", "/lines", { headers: { authorization }, signal: sent.signal });
    // As Deno does once the response is sent.
    sent.abort();
    const socket = network.node("acme/edge").sockets.at(-1)!;
    socket.send("wait");
    await vi.waitFor(() => expect(started).toBe(true));
    expect(reason).toBeUndefined();
    socket.leave();
    await vi.waitFor(() => expect(String(reason)).toBe("Error: the socket was closed"));
  });

  test("has a name of its own", () => {
    const rest = defineProtocol({ name: "rest", match: () => false, serve: async () => new Response() });
    expect(() => createNode([defineFunction({ name: "one", protocols: [rest] })])).toThrow("the protocol rest twice");
    expect(() => createNode([connect, { ...connect, name: "two" }])).toThrow("the protocol connect twice");
  });
});

describe("the Connect example", () => {
  test("lists, says what is wrong with a request, and keeps to the caller's deadline", async () => {
    const network = await TestNetwork.start(plan);
    const ask = async (path: string, body: object, headers: object = {}) => {
      const response = await post(network, `/federation.v1.Tools/${path}`, body, headers);
      return [response.status, (await response.json()) as any];
    };
    const [, { tools }] = await ask("List", {});
    expect(tools.map(({ name }: any) => name)).toContain("globex-compute.echo");
    expect(await ask("Drop", {})).toMatchObject([501, { code: "unimplemented" }]);
    expect(await ask("Call", {})).toMatchObject([400, { code: "invalid_argument" }]);
    network.node("globex/compute").trouble = async () => await new Promise(() => undefined);
    const late = await ask("Call", { name: "globex-compute.echo" }, { "connect-timeout-ms": "50" });
    expect(late).toMatchObject([504, { code: "deadline_exceeded" }]);
  });

  test("is what the documentation shows", () => {
    const [code, docs] = ["./connect.ts", "../../../../docs/protocols.md"].map((path) =>
      readFileSync(new URL(path, import.meta.url), "utf8"),
    );
    expect(docs).toContain(code!.replace("../../../../functions/node/define.ts", "../node/define.ts"));
  });
});
