import * as z from "zod";
import { describe, expect, test, vi } from "vitest";
import { defineFunction, tool } from "../../../../functions/node/define.ts";
import type { UpstreamConfig } from "../../../../functions/node/platform.ts";
import fixture from "../../../conformance/fixture/index.ts";
import { ask } from "../ask.ts";
import { grant, type NetworkPlan, TestNetwork } from "../network.ts";

vi.spyOn(console, "log").mockImplementation(() => undefined);

const peersKey = "io.github.ai-federation/peers";
const origin = "https://tools.example.com";
const upstream: UpstreamConfig = {
  name: "tools",
  url: `${origin}/mcp`,
  prefix: "tools",
  era: "auto",
  auth: { type: "none" },
};

/** Requests that a server got, as far as tests look at them. */
interface Seen {
  readonly url: string;
  readonly headers: Headers;
  readonly body: any;
}

type Answer = (body: any, request: Request) => Response | Promise<Response>;

/** A third-party server that answers by method, and remembers what it was asked. */
function server(answers: Readonly<Record<string, Answer>>) {
  const seen: Seen[] = [];
  const serve = async (request: Request): Promise<Response> => {
    const text = await request.text();
    const body = text.startsWith("{") ? JSON.parse(text) : text;
    seen.push({ url: request.url, headers: request.headers, body });
    const answer = answers[body.method ?? new URL(request.url).pathname];
    return answer
      ? await answer(body, request)
      : Response.json(rpcError(body, -32601, "Method not found"), { status: 404 });
  };
  return { seen, serve };
}

const result = (body: any, value: object) => Response.json({ jsonrpc: "2.0", id: body.id, result: value });
const rpcError = (body: any, code: number, message: string) => ({
  jsonrpc: "2.0",
  id: body.id,
  error: { code, message },
});

const modern: Readonly<Record<string, Answer>> = {
  "server/discover": (body) =>
    result(body, {
      resultType: "complete",
      supportedVersions: ["2026-07-28"],
      capabilities: {},
      ttlMs: 0,
      cacheScope: "public",
    }),
  "tools/list": (body) =>
    result(body, {
      resultType: "complete",
      tools: [
        { name: "search", inputSchema: { type: "object" }, odd: { kept: true } },
        { name: "bad name", inputSchema: {} },
      ],
      ttlMs: 700,
      cacheScope: "public",
    }),
  "resources/list": (body) => result(body, { resultType: "complete", resources: [{ uri: "doc://1", name: "one" }] }),
  "tools/call": (body) =>
    result(body, {
      resultType: "complete",
      content: [{ type: "resource_link", uri: "doc://1", name: "one" }],
      _meta: { "io.modelcontextprotocol/serverInfo": { name: "x", version: "1" } },
    }),
  "resources/read": (body) => result(body, { resultType: "complete", contents: [{ uri: body.params.uri, text: "t" }] }),
};

/** A server of MCP 2025-11-25 with sessions, which forgets one when told to. */
function legacyServer() {
  let session = 0;
  const made = server({
    initialize: (body) =>
      new Response(
        `event: message\ndata: ${JSON.stringify({ jsonrpc: "2.0", id: body.id, result: { protocolVersion: "2025-06-18", capabilities: {}, serverInfo: {} } })}\n\n`,
        { headers: { "content-type": "text/event-stream", "mcp-session-id": `s${(session += 1)}` } },
      ),
    "notifications/initialized": () => new Response(null, { status: 202 }),
    "tools/list": (body, request) =>
      inSession(request, () => result(body, { tools: [{ name: "old", inputSchema: {} }] })),
    "tools/call": (body, request) =>
      inSession(request, () => {
        const note = {
          jsonrpc: "2.0",
          method: "notifications/progress",
          params: { progressToken: body.params._meta.progressToken, progress: 1 },
        };
        const answer = { jsonrpc: "2.0", id: body.id, result: { content: [{ type: "text", text: "from the past" }] } };
        return new Response([note, answer].map((message) => `data: ${JSON.stringify(message)}\n\n`).join(""), {
          headers: { "content-type": "text/event-stream" },
        });
      }),
    "resources/read": (body) => Response.json(rpcError(body, -32002, "Resource not found")),
  });
  const inSession = (request: Request, answer: () => Response) =>
    request.headers.get("mcp-session-id") === `s${session}` ? answer() : new Response("no session", { status: 404 });
  return { ...made, forget: () => (session += 1) };
}

function plan(
  serve: (request: Request) => Promise<Response>,
  change: Partial<UpstreamConfig> = {},
  rest: Partial<NetworkPlan> = {},
): NetworkPlan {
  return {
    nodes: { "acme/edge": [], "globex/gate": [fixture] },
    users: { acme: ["ada"], globex: ["grace"] },
    grants: [grant("globex", "acme", { tools: ["tools.*", "test_*"], resources: ["tools+*"] })],
    deployed: { "globex/gate": { upstreams: [{ ...upstream, ...change }], secrets: { tools: "s3cret" } } },
    servers: { [origin]: serve },
    ...rest,
  };
}

describe("an upstream's things", () => {
  test("are its node's own: under a prefix there, under two elsewhere, and grants match the first", async () => {
    const { serve, seen } = server(modern);
    const network = await TestNetwork.start(plan(serve));
    const names = async (node: string, user: string) =>
      ((await ask(network, node, user, "tools/list", {})).result["tools"] as { name: string }[])
        .map(({ name }) => name)
        .filter((name) => name.includes("search"));
    expect(await names("globex/gate", "grace@globex")).toEqual(["tools.search"]);
    expect(await names("acme/edge", "ada@acme")).toEqual(["globex-gate.tools.search"]);

    const called = await ask(network, "acme/edge", "ada@acme", "tools/call", {
      name: "globex-gate.tools.search",
      arguments: { q: 1 },
    });
    expect(called.result["content"]).toEqual([
      { type: "resource_link", uri: "globex-gate+tools+doc://1", name: "one" },
    ]);
    expect(seen.at(-1)?.body.params).toMatchObject({ name: "search", arguments: { q: 1 } });
    expect(seen.at(-1)?.headers.get("mcp-name")).toBe("search");
    const uri = "globex-gate+tools+doc://1";
    expect((await ask(network, "acme/edge", "ada@acme", "resources/read", { uri })).result["contents"]).toEqual([
      { uri, text: "t" },
    ]);

    await network.publish({ grants: [grant("globex", "acme", { tools: ["test_*"], resources: [] })] });
    expect(await names("acme/edge", "ada@acme")).toEqual([]);
    const before = seen.length;
    const refused = await ask(network, "acme/edge", "ada@acme", "tools/call", { name: "globex-gate.tools.search" });
    expect(refused.error).toMatchObject({ code: -32602, message: "Unknown tool: tools.search" });
    expect(seen.length).toBe(before);
  });

  test("keep unknown fields, tell what is withheld, and bring their shorter life", async () => {
    const { serve } = server(modern);
    const network = await TestNetwork.start(plan(serve));
    const { result } = await ask(network, "globex/gate", "grace@globex", "tools/list", {});
    expect(result["tools"]).toContainEqual({
      name: "tools.search",
      inputSchema: { type: "object" },
      odd: { kept: true },
    });
    expect(result["_meta"][peersKey]).toContainEqual({
      node: "upstream tools",
      status: "ok",
      withheld: [{ name: "bad name", reason: "holds characters other than A-Z a-z 0-9 _ . -" }],
    });
    expect(result).toMatchObject({ ttlMs: 700, cacheScope: "private" });
  });

  test("that do not come cost their node's peers nothing else", async () => {
    const network = await TestNetwork.start(plan(async () => await new Promise<Response>(() => undefined)));
    const { result } = await ask(network, "acme/edge", "ada@acme", "tools/list", {});
    const names = (result["tools"] as { name: string }[]).map(({ name }) => name);
    expect(names).toContain("globex-gate.test_simple_text");
    expect(result["_meta"][peersKey]).toEqual([{ node: "globex/gate", status: "ok" }]);
    const own = await ask(network, "globex/gate", "grace@globex", "tools/list", {});
    expect(own.result["_meta"][peersKey][0]).toMatchObject({ node: "upstream tools", status: "failed" });
  });

  test("never carry the caller's token, and carry the node's own secret", async () => {
    const { serve, seen } = server(modern);
    const network = await TestNetwork.start(plan(serve, { auth: { type: "bearer" } }));
    await ask(network, "globex/gate", "grace@globex", "tools/call", { name: "tools.search" });
    for (const { headers } of seen) expect(headers.get("authorization")).toBe("Bearer s3cret");
  });

  test("are asked with a token of their own, fetched once, where that is how they want it", async () => {
    const { serve, seen } = server({
      ...modern,
      "/token": () => Response.json({ access_token: "t1", token_type: "Bearer", expires_in: 600 }),
    });
    const auth = { type: "client-credentials", tokenUrl: `${origin}/token`, clientId: "me", scope: "read" } as const;
    const network = await TestNetwork.start(plan(serve, { auth }));
    for (let n = 0; n < 2; n += 1)
      await ask(network, "globex/gate", "grace@globex", "tools/call", { name: "tools.search" });
    const asked = seen.filter(({ url }) => url.endsWith("/token"));
    expect(asked.map(({ headers, body }) => [headers.get("authorization"), body])).toEqual([
      [`Basic ${btoa("me:s3cret")}`, "grant_type=client_credentials&scope=read"],
    ]);
    expect(seen.at(-1)?.headers.get("authorization")).toBe("Bearer t1");
  });

  test("without the secret that it needs, a node does not start", async () => {
    const bare = plan(server(modern).serve, { auth: { type: "bearer" } });
    const deployed = {
      "globex/gate": { upstreams: [{ ...upstream, auth: { type: "bearer" } as const }], secrets: {} },
    };
    await expect(TestNetwork.start({ ...bare, deployed })).rejects.toThrow("no secret for the upstream tools");
  });
});

describe("the empty prefix", () => {
  test("leaves names as they are, through a node that is transparent too; own names win and are reported", async () => {
    const own = defineFunction({
      name: "own",
      tools: { search: tool({ description: "", input: z.object({}), run: () => "mine" }) },
    });
    const { serve } = server({
      ...modern,
      "tools/list": (body) =>
        result(body, {
          resultType: "complete",
          tools: ["search", "find", "globex-gate.x"].map((name) => ({ name, inputSchema: {} })),
        }),
    });
    const network = await TestNetwork.start({
      ...plan(serve),
      nodes: { "acme/edge": [], "acme/other": [own], "globex/gate": [own] },
      deployed: {
        "globex/gate": { prefix: "", upstreams: [{ ...upstream, prefix: "" }] },
      },
      grants: [grant("globex", "acme")],
    });
    const { result: gate } = await ask(network, "globex/gate", "grace@globex", "tools/list", {});
    expect(gate["tools"].map(({ name }: { name: string }) => name)).toEqual(["search", "find", "globex-gate.x"]);
    expect(gate["_meta"][peersKey][0].withheld).toEqual([
      { name: "search", reason: "is the name of something else on this node" },
    ]);

    const { result: edge } = await ask(network, "acme/edge", "ada@acme", "tools/list", {});
    expect(edge["tools"].map(({ name }: { name: string }) => name)).toEqual([
      "search",
      "find",
      "globex-gate.x",
      "acme-other.search",
    ]);
    const mine = await ask(network, "acme/edge", "ada@acme", "tools/call", { name: "search" });
    expect(mine.result["content"]).toEqual([{ type: "text", text: "mine" }]);
    const theirs = await ask(network, "acme/edge", "ada@acme", "tools/call", { name: "find" });
    expect(theirs.result["content"][0]).toMatchObject({ uri: "doc://1" });
    expect(
      (await ask(network, "acme/edge", "ada@acme", "resources/read", { uri: "doc://1" })).result["contents"][0].uri,
    ).toBe("doc://1");
    // On the transparent node itself an unknown name leads nowhere else.
    expect((await ask(network, "globex/gate", "grace@globex", "prompts/get", { name: "nothing" })).error.code).toBe(
      -32601,
    );
  });
});

describe("the era of an upstream", () => {
  test("is modern where server/discover says so, and asked once", async () => {
    const { serve, seen } = server(modern);
    const network = await TestNetwork.start(plan(serve));
    for (let n = 0; n < 3; n += 1)
      await ask(network, "globex/gate", "grace@globex", "tools/call", { name: "tools.search" });
    expect(seen.filter(({ body }) => body.method === "server/discover").length).toBe(1);
  });

  test("is legacy where the probe is not understood: one handshake, one session, progress, and a new session when it is lost", async () => {
    const { serve, seen, forget } = legacyServer();
    const network = await TestNetwork.start(plan(serve));
    const call = async () =>
      await ask(
        network,
        "acme/edge",
        "ada@acme",
        "tools/call",
        { name: "globex-gate.tools.old" },
        { meta: { progressToken: "p" } },
      );
    const first = await call();
    expect(first.result["content"]).toEqual([{ type: "text", text: "from the past" }]);
    expect(first.notifications).toEqual([
      { jsonrpc: "2.0", method: "notifications/progress", params: { progressToken: "p", progress: 1 } },
    ]);
    await call();
    expect(seen.filter(({ body }) => body.method === "initialize").length).toBe(1);
    expect(seen.at(-1)?.headers.get("mcp-protocol-version")).toBe("2025-06-18");
    forget();
    expect((await call()).result["content"]).toEqual([{ type: "text", text: "from the past" }]);
    expect(seen.filter(({ body }) => body.method === "initialize").length).toBe(2);
    const missing = await ask(network, "globex/gate", "grace@globex", "resources/read", { uri: "tools+doc://9" });
    expect(missing.error.code).toBe(-32602);
  });

  test("legacy: a caller that leaves is a cancellation that the server is told of", async () => {
    let asked: (() => void) | undefined;
    const reached = new Promise<void>((resolve) => (asked = resolve));
    const { serve, seen } = server({
      initialize: (body) => result(body, { protocolVersion: "2025-11-25", capabilities: {}, serverInfo: {} }),
      "notifications/initialized": () => new Response(null, { status: 202 }),
      "notifications/cancelled": () => new Response(null, { status: 202 }),
      "tools/call": async () => {
        asked?.();
        return await new Promise<Response>(() => undefined);
      },
    });
    const network = await TestNetwork.start(plan(serve, { era: "legacy" }));
    const leave = new AbortController();
    const call = ask(
      network,
      "globex/gate",
      "grace@globex",
      "tools/call",
      { name: "tools.slow" },
      { signal: leave.signal },
    );
    await reached;
    leave.abort();
    expect((await call).error.code).toBe(502);
    const { id } = seen.find(({ body }) => body.method === "tools/call")!.body;
    await vi.waitFor(() =>
      expect(seen.at(-1)?.body).toMatchObject({ method: "notifications/cancelled", params: { requestId: id } }),
    );
  });

  test.each([401, 403, 500, 503])("is not decided by HTTP %d", async (status) => {
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    let refusing = true;
    const { serve, seen } = server(modern);
    const network = await TestNetwork.start(
      plan(async (request) => (refusing ? new Response("{}", { status }) : await serve(request))),
    );
    const call = async () => await ask(network, "globex/gate", "grace@globex", "tools/call", { name: "tools.search" });
    expect((await call()).error.code).toBe(502);
    refusing = false;
    expect((await call()).result["content"]).toHaveLength(1);
    expect(seen.map(({ body }) => body.method)).not.toContain("initialize");
  });

  test("that nobody here speaks is an error that says so", async () => {
    const { serve, seen } = server({
      "server/discover": (body) =>
        Response.json(
          { jsonrpc: "2.0", id: body.id, error: { code: -32022, message: "no", data: { supported: ["2027-01-01"] } } },
          { status: 400 },
        ),
    });
    const network = await TestNetwork.start(plan(serve));
    const { error } = await ask(network, "globex/gate", "grace@globex", "tools/call", { name: "tools.search" });
    expect(error.message).toBe("upstream tools speaks MCP 2027-01-01, this node 2026-07-28 and older");
    expect(seen.length).toBe(1);
  });
});
