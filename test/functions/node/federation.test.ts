import { describe, expect, test, vi } from "vitest";
import type { VersionNegotiationMode } from "@modelcontextprotocol/client";
import { grant, networkName, TestNetwork, threeNodes } from "./network.ts";

vi.spyOn(console, "log").mockImplementation(() => undefined);

const peersKey = "io.github.ai-federation/peers";
const callIdKey = "io.github.ai-federation/callId";
const meeting = { title: "Plan", start: "2027-03-01T09:30:00+01:00", durationMinutes: 30 };

describe.each<VersionNegotiationMode>(["legacy", "auto", { pin: "2026-07-28" }])(
  "the official client, negotiation %o",
  (mode) => {
    test("sees one network: its node's own parts and those of its peers", async () => {
      const network = await TestNetwork.start();
      const client = await network.connect("acme/edge", "ada@acme", mode);

      const { tools, _meta } = await client.listTools();
      expect(tools.map(({ name }) => name)).toEqual([
        "echo",
        "whoami",
        ...["create_meeting", "list_meetings", "get_meeting"].map((name) => `acme-data.${name}`),
        ...["echo", "whoami", "create_meeting", "list_meetings", "get_meeting"].map((name) => `globex-compute.${name}`),
      ]);
      expect(_meta?.[peersKey]).toEqual([
        { node: "acme/data", status: "ok" },
        { node: "globex/compute", status: "ok" },
      ]);
      expect((await client.listResources()).resources.map(({ uri }) => uri)).toEqual([
        "echo://about",
        "globex-compute+echo://about",
      ]);
      expect((await client.listResourceTemplates()).resourceTemplates.map(({ uriTemplate }) => uriTemplate)).toEqual([
        "acme-data+meeting://{id}",
        "globex-compute+meeting://{id}",
      ]);
      expect((await client.listPrompts()).prompts.map(({ name }) => name)).toEqual([
        "greeting",
        "acme-data.meeting_summary",
        "globex-compute.greeting",
        "globex-compute.meeting_summary",
      ]);
    });

    test("uses tools, resources and prompts of a peer as if they were here", async () => {
      const network = await TestNetwork.start();
      const client = await network.connect("acme/edge", "ada@acme", mode);

      const own = await client.callTool({ name: "echo", arguments: { text: "hi" } });
      expect(own.content).toEqual([{ type: "text", text: "hi" }]);
      const who = await client.callTool({ name: "globex-compute.whoami", arguments: {} });
      expect(who.structuredContent).toMatchObject({
        caller: { subject: "ada@acme", organization: "acme" },
        node: "globex/compute",
        via: ["acme/edge"],
      });
      expect(who._meta?.[callIdKey]).toBe((who.structuredContent as { callId: string }).callId);
      expect(who._meta?.[peersKey]).toEqual([{ node: "globex/compute", status: "ok" }]);

      const created = (await client.callTool({ name: "globex-compute.create_meeting", arguments: meeting }))
        .structuredContent as { id: string };
      const uri = `globex-compute+meeting://${created.id}`;
      const { contents } = await client.readResource({ uri });
      expect(contents[0]?.uri).toBe(uri);
      expect(JSON.parse((contents[0] as { text: string }).text)).toMatchObject({
        id: created.id,
        title: "Plan",
        organizer: "ada@acme",
      });
      const prompt = await client.getPrompt({ name: "globex-compute.meeting_summary", arguments: { id: created.id } });
      expect(prompt.messages[0]?.content).toEqual({ type: "text", text: expect.stringContaining('"title": "Plan"') });
      expect((await client.readResource({ uri: "echo://about" })).contents).toEqual([
        { uri: "echo://about", mimeType: "text/plain", text: "This is the echo function of acme/edge." },
      ]);
      expect(client.getServerVersion()?.name).toBe("ai-federation");
    });

    test("both nodes record one call under one id, and no token or argument", async () => {
      const network = await TestNetwork.start();
      const client = await network.connect("acme/edge", "ada@acme", mode);
      const result = await client.callTool({ name: "globex-compute.echo", arguments: { text: "secret text" } });
      const callId = result._meta?.[callIdKey];

      const common = {
        time: expect.any(String),
        ms: expect.any(Number),
        callId,
        method: "tools/call",
        subject: "ada@acme",
        decision: "allow",
        outcome: "ok",
      };
      expect(await network.audit("acme/edge")).toEqual([
        {
          ...common,
          node: "acme/edge",
          direction: "out",
          name: "globex-compute.echo",
          via: [],
          peer: "globex/compute",
        },
      ]);
      expect(await network.audit("globex/compute")).toEqual([
        {
          ...common,
          node: "globex/compute",
          direction: "in",
          name: "echo",
          via: ["acme/edge"],
          peer: "acme/edge",
          grant: "globex-acme",
        },
      ]);
      expect(JSON.stringify(await network.audit("globex/compute"))).not.toContain("secret");
    });

    test("what no grant covers is absent from lists and refused by name, as if it did not exist", async () => {
      const network = await TestNetwork.start();
      const client = await network.connect("globex/compute", "grace@globex", mode);
      const { tools } = await client.listTools();
      expect(tools.map(({ name }) => name).filter((name) => name.includes("."))).toEqual(["acme-data.list_meetings"]);

      const denied = client.callTool({ name: "acme-data.create_meeting", arguments: meeting });
      await expect(denied).rejects.toMatchObject({
        code: -32602,
        message: expect.stringContaining("Unknown tool: create_meeting"),
      });
      const unknown = client.callTool({ name: "acme-data.no_such_tool", arguments: {} });
      await expect(unknown).rejects.toMatchObject({
        code: -32602,
        message: expect.stringContaining("Unknown tool: no_such_tool"),
      });
      await expect(client.callTool({ name: "acme-edge.echo", arguments: { text: "x" } })).rejects.toMatchObject({
        code: -32602,
      });
      await expect(client.readResource({ uri: "acme-data+meeting://x" })).rejects.toMatchObject({ code: -32602 });
      expect((await client.callTool({ name: "acme-data.list_meetings", arguments: {} })).structuredContent).toEqual({
        meetings: [],
      });

      expect(
        (await network.audit("acme/data")).map(({ name, decision, reason }) => ({ name, decision, reason })),
      ).toEqual([
        { name: "create_meeting", decision: "deny", reason: "no grant to globex" },
        { name: "no_such_tool", decision: "deny", reason: "no grant to globex" },
        { name: "list_meetings", decision: "allow", reason: undefined },
      ]);
      expect(
        (await network.audit("globex/compute")).map(({ name, decision, peer }) => ({ name, decision, peer })),
      ).toEqual([
        { name: "acme-data.create_meeting", decision: "allow", peer: "acme/data" },
        { name: "acme-data.no_such_tool", decision: "allow", peer: "acme/data" },
        { name: "acme-edge.echo", decision: "deny", peer: "acme/edge" },
        { name: "acme-data+meeting://x", decision: "deny", peer: "acme/data" },
        { name: "acme-data.list_meetings", decision: "allow", peer: "acme/data" },
      ]);
    });
  },
);

test("a caller's token never reaches a peer", async () => {
  const network = await TestNetwork.start();
  const client = await network.connect("acme/edge", "ada@acme");
  await client.listTools();
  await client.callTool({ name: "globex-compute.echo", arguments: { text: "x" } });
  const inbound = network.node("acme/edge").requests.map(({ headers }) => headers.get("authorization"));
  const outbound = mcpRequests(network, "globex/compute").map(({ headers }) => headers.get("authorization"));
  expect(outbound.length).toBe(2);
  expect(new Set(outbound).size).toBe(2);
  for (const token of outbound) expect(inbound).not.toContain(token);
});

test("a dead peer costs nothing but its own part; its last good list is shown as stale", async () => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  const network = await TestNetwork.start();
  const client = await network.connect("acme/edge", "ada@acme");
  const healthy = (await client.listTools()).tools.length;
  network.node("globex/compute").trouble = async () => {
    throw new TypeError("connection refused");
  };
  vi.useFakeTimers({ now: Date.now() + 6_000, toFake: ["Date"] });
  try {
    const later = await network.connect("acme/edge", "ada@acme");
    const stale = await later.listTools();
    expect(stale.tools.length).toBe(healthy);
    expect(stale._meta?.[peersKey]).toEqual([
      { node: "acme/data", status: "ok" },
      {
        node: "globex/compute",
        status: "stale",
        ageMs: expect.any(Number),
        error: "globex/compute could not be reached",
      },
    ]);
    await expect(later.callTool({ name: "globex-compute.echo", arguments: { text: "x" } })).rejects.toMatchObject({
      code: 502,
      message: expect.stringContaining("globex/compute could not be reached"),
    });
    const before = mcpRequests(network, "globex/compute").length;
    const again = await (await network.connect("acme/edge", "ada@acme")).listTools();
    expect(again.tools.length).toBe(healthy);
    expect(again._meta?.[peersKey]).toContainEqual(
      expect.objectContaining({
        node: "globex/compute",
        status: "stale",
        error: expect.stringContaining("not asked again"),
      }),
    );
    expect(mcpRequests(network, "globex/compute").length, "the circuit is open").toBe(before);
  } finally {
    vi.useRealTimers();
  }
});

test("a silent peer delays a list by no more than its budget", async () => {
  const network = await TestNetwork.start();
  network.node("globex/compute").trouble = async () => await new Promise<Response>(() => undefined);
  const client = await network.connect("acme/edge", "ada@acme");
  const started = Date.now();
  const { tools, _meta } = await client.listTools();
  expect(Date.now() - started).toBeLessThan(3_000);
  expect(tools.map(({ name }) => name)).toContain("acme-data.list_meetings");
  expect(_meta?.[peersKey]).toContainEqual({
    node: "globex/compute",
    status: "failed",
    error: "globex/compute did not answer within 2 s",
  });
});

test("concurrent lists ask a peer once", async () => {
  const network = await TestNetwork.start();
  const clients = await Promise.all(
    Array.from({ length: 5 }, async () => await network.connect("acme/edge", "ada@acme")),
  );
  await Promise.all(clients.map(async (client) => await client.listTools()));
  expect(mcpRequests(network, "globex/compute").length).toBe(1);
});

test("progress of a peer's tool reaches the caller", async () => {
  const { defineFunction, tool } = await import("../../../functions/node/define.ts");
  const { object } = await import("zod");
  const slow = defineFunction({
    name: "slow",
    tools: {
      work: tool({
        description: "Works in two steps.",
        input: object({}),
        async run(_, context) {
          await context.progress(1, 2, "half");
          await context.progress(2, 2);
          return "done";
        },
      }),
    },
  });
  const network = await TestNetwork.start({ ...threeNodes, nodes: { "acme/edge": [], "globex/compute": [slow] } });
  for (const mode of ["legacy", { pin: "2026-07-28" }] as const) {
    const client = await network.connect("acme/edge", "ada@acme", mode);
    const seen: unknown[] = [];
    const result = await client.callTool(
      { name: "globex-compute.work", arguments: {} },
      { onprogress: (progress) => void seen.push(progress) },
    );
    expect(result.content).toEqual([{ type: "text", text: "done" }]);
    expect(seen).toEqual([
      { progress: 1, total: 2, message: "half" },
      { progress: 2, total: 2 },
    ]);
  }
});

test("a result is relayed with what this node does not know, an error with its code and data", async () => {
  const network = await TestNetwork.start();
  const answers = [
    {
      result: {
        resultType: "complete",
        content: [
          { type: "hologram", depth: 3 },
          { type: "resource_link", uri: "meeting://1", name: "m" },
        ],
        novel: true,
        _meta: { "com.example/x": 1, "io.modelcontextprotocol/serverInfo": { name: "peer", version: "9" } },
      },
    },
    { error: { code: 4711, message: "odd", data: { a: 1 } } },
  ];
  network.node("globex/compute").trouble = async (request) => {
    const { id } = (await request.json()) as { id: string };
    return Response.json({ jsonrpc: "2.0", id, ...answers.shift() });
  };
  const token = await network.userToken("ada@acme", "acme/edge");
  const call = async () => await network.request("acme/edge", "/mcp", modernCall(token, "globex-compute.echo"));
  const first = (await (await call()).json()) as { result: Record<string, unknown> };
  expect(first.result).toEqual({
    resultType: "complete",
    content: [
      { type: "hologram", depth: 3 },
      { type: "resource_link", uri: "globex-compute+meeting://1", name: "m" },
    ],
    novel: true,
    _meta: {
      "com.example/x": 1,
      [callIdKey]: expect.any(String),
      [peersKey]: [{ node: "globex/compute", status: "ok" }],
      "io.modelcontextprotocol/serverInfo": { name: "ai-federation", version: "0.1.0" },
    },
  });
  expect(await (await call()).json()).toEqual({
    jsonrpc: "2.0",
    id: 1,
    error: { code: 4711, message: "odd", data: { a: 1 } },
  });
});

test("an answer is the same to those who ask for progress", async () => {
  const network = await TestNetwork.start();
  const token = await network.userToken("ada@acme", "acme/edge");
  const questions: [string, Record<string, unknown>][] = [
    ["tools/list", {}],
    ["resources/list", {}],
    ["resources/templates/list", {}],
    ["prompts/list", {}],
    ["tools/call", { name: "echo", arguments: { text: "x" } }],
    ["tools/call", { name: "echo", arguments: { text: 1 } }],
    ["tools/call", { name: "globex-compute.echo", arguments: { text: "x" } }],
    ["tools/call", { name: "nope" }],
    ["tools/call", {}],
    ["tools/list", { cursor: "x" }],
    ["resources/read", { uri: "echo://about" }],
    ["resources/read", { uri: "globex-compute+echo://about" }],
    ["prompts/get", { name: "greeting", arguments: { name: "Ada" } }],
    ["prompts/get", { name: "greeting" }],
  ];
  for (const era of ["modern", "legacy"] as const) {
    for (const [method, params] of questions) {
      const fast = await ask(era, method, params, {});
      const slow = await ask(era, method, params, { progressToken: 7 });
      expect(slow, `${era} ${method} ${JSON.stringify(params)}`).toEqual(fast);
    }
  }

  async function ask(
    era: "modern" | "legacy",
    method: string,
    params: Record<string, unknown>,
    meta: Record<string, unknown>,
  ) {
    const response = await network.request(
      "acme/edge",
      "/mcp",
      era === "modern" ? modernRequest(token, method, params, meta) : legacyRequest(token, method, params, meta),
    );
    const text = await response.text();
    const message = JSON.parse(text.startsWith("{") ? text : (/^data: (.*)$/m.exec(text)?.[1] as string)) as {
      result?: { _meta?: Record<string, unknown> };
    };
    const volatile = message.result?._meta;
    if (volatile?.[callIdKey] !== undefined) volatile[callIdKey] = "id";
    if (Array.isArray(volatile?.[peersKey]))
      volatile[peersKey] = volatile[peersKey].map(({ node }: { node: string }) => node);
    return { status: response.status, message };
  }
});

test("lists carry cache hints that never let one user see another's", async () => {
  const network = await TestNetwork.start();
  const token = await network.userToken("ada@acme", "acme/edge");
  const response = await network.request("acme/edge", "/mcp", modernRequest(token, "tools/list", {}, {}));
  expect(((await response.json()) as { result: object }).result).toMatchObject({
    resultType: "complete",
    ttlMs: 5_000,
    cacheScope: "private",
  });
  expect(response.headers.get("federation-serial")).toBe("1");
});

test("a node that was down catches up from a peer, and a revocation holds at once where it is known", async () => {
  const network = await TestNetwork.start();
  const ada = await network.connect("acme/edge", "ada@acme");
  await ada.callTool({ name: "globex-compute.echo", arguments: { text: "x" } });

  // Globex revokes, and only its own node hears of it.
  await network.publish({ grants: [] }, ["globex/compute"]);
  await expect(ada.callTool({ name: "globex-compute.echo", arguments: { text: "x" } })).rejects.toMatchObject({
    code: -32602,
  });
  await network.settled();
  expect(await status("acme/edge"), "learned from the peer's answer").toMatchObject({ serial: 2 });

  // The other way: the caller is ahead, and the callee pulls before it decides.
  await network.publish({ grants: threeNodes.grants }, ["acme/edge"]);
  expect((await ada.callTool({ name: "globex-compute.echo", arguments: { text: "back" } })).content).toEqual([
    { type: "text", text: "back" },
  ]);
  expect(await status("globex/compute")).toMatchObject({ serial: 3, network: networkName });

  async function status(id: string): Promise<unknown> {
    return await (await network.request(id, "/.well-known/federation")).json();
  }
});

test("a restarted node holds its manifest, and compares serials on its first request", async () => {
  const network = await TestNetwork.start();
  await network.publish({}, ["acme/data", "globex/compute"]);
  network.restart("acme/edge", threeNodes.nodes["acme/edge"] ?? []);
  expect(await (await network.request("acme/edge", "/health")).json()).toEqual({
    status: "ok",
    node: "acme/edge",
    network: networkName,
    serial: 1,
    functions: ["echo"],
  });
  const token = await network.userToken("ada@acme", "acme/edge");
  await network.request("acme/edge", "/mcp", modernCall(token, "echo"));
  await network.settled();
  expect(await (await network.request("acme/edge", "/health")).json()).toMatchObject({ serial: 2 });
});

test("a key that a node does not know yet makes it look for a newer manifest", async () => {
  const network = await TestNetwork.start();
  await network.publish(
    {
      organizations: {
        ...network.manifest.organizations,
        acme: { ...network.manifest.organizations["acme"]!, issuers: [] },
      },
    },
    ["acme/edge"],
  );
  const token = await network.userToken("ada@acme", "acme/edge");
  expect((await network.request("acme/edge", "/mcp", modernCall(token, "echo"))).status).toBe(401);
  const restored = {
    organizations: {
      ...network.manifest.organizations,
      acme: {
        ...network.manifest.organizations["acme"]!,
        issuers: [{ issuer: "https://login.acme.test", keys: [publicKey(network, "acme")] }],
      },
    },
  };
  await network.publish(restored, ["acme/data", "globex/compute"]);
  network.restart("acme/edge", threeNodes.nodes["acme/edge"] ?? []);
  expect((await network.request("acme/edge", "/mcp", modernCall(token, "echo"))).status).toBe(200);
});

test("a rate is counted by the granting node and refused with the time to wait", async () => {
  const network = await TestNetwork.start({ ...threeNodes, grants: [grant("globex", "acme", { rate: 2 })] });
  const client = await network.connect("acme/edge", "ada@acme");
  const call = async () => await client.callTool({ name: "globex-compute.echo", arguments: { text: "x" } });
  await call();
  await call();
  await expect(call()).rejects.toMatchObject({
    code: 429,
    data: { retryable: true, retryAfterSeconds: expect.any(Number) },
  });
  expect((await network.audit("globex/compute")).at(-1)).toMatchObject({
    decision: "deny",
    grant: "globex-acme",
    reason: "rate of 2 a minute used up",
  });
});

test("an audit that cannot be stored withholds the result", async () => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  const network = await TestNetwork.start();
  const client = await network.connect("acme/edge", "ada@acme");
  vi.spyOn(network.node("globex/compute").state, "append").mockRejectedValue(new Error("disk full"));
  await expect(client.callTool({ name: "globex-compute.echo", arguments: { text: "x" } })).rejects.toMatchObject({
    code: 503,
  });
});

test("meetings outlive a restart", async () => {
  const network = await TestNetwork.start();
  const client = await network.connect("acme/data", "ada@acme");
  await client.callTool({ name: "create_meeting", arguments: meeting });
  network.restart("acme/data", threeNodes.nodes["acme/data"] ?? []);
  const { structuredContent } = await client.callTool({ name: "list_meetings", arguments: {} });
  expect(structuredContent).toMatchObject({ meetings: [{ title: "Plan", durationMinutes: 30, attendees: [] }] });
});

test("the audit is for users of the node's own organization", async () => {
  const network = await TestNetwork.start();
  const ada = await network.connect("acme/data", "ada@acme");
  for (let n = 0; n < 3; n += 1) await ada.callTool({ name: "list_meetings", arguments: {} });
  const read = async (user: string, query: string) =>
    await network.request("acme/data", `/audit${query}`, {
      headers: { authorization: `Bearer ${await network.userToken(user, "acme/data")}` },
    });
  const page = (await (await read("ada@acme", "?limit=2")).json()) as { records: unknown[]; next: string };
  expect(page.records.length).toBe(2);
  const rest = (await (await read("ada@acme", `?limit=2&after=${page.next}`)).json()) as { records: unknown[] };
  expect(rest).toEqual({ records: [expect.objectContaining({ name: "list_meetings", direction: "local" })] });
  expect((await read("grace@globex", "")).status).toBe(403);
  expect((await read("ada@acme", "?limit=0")).status).toBe(400);
});

function mcpRequests(network: TestNetwork, id: string) {
  return network.node(id).requests.filter(({ path }) => path === "/mcp");
}

function publicKey(network: TestNetwork, organization: string) {
  const { kty, crv, x, kid } = network.issuers[organization]!;
  return { kty, crv, x, kid };
}

function modernCall(token: string, name: string): RequestInit {
  return modernRequest(token, "tools/call", { name, arguments: { text: "x" } }, {});
}

function modernRequest(
  token: string,
  method: string,
  params: Record<string, unknown>,
  meta: Record<string, unknown>,
): RequestInit {
  const envelope = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    ...meta,
  };
  const name = params["name"] ?? params["uri"];
  return {
    method: "POST",
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": method,
      ...(typeof name === "string" && { "mcp-name": name }),
    },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: { ...params, _meta: envelope } }),
  };
}

function legacyRequest(
  token: string,
  method: string,
  params: Record<string, unknown>,
  meta: Record<string, unknown>,
): RequestInit {
  return {
    method: "POST",
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": "2025-11-25",
    },
    body: JSON.stringify({
      jsonrpc: "2.0",
      id: 1,
      method,
      params: { ...params, ...(Object.keys(meta).length > 0 && { _meta: meta }) },
    }),
  };
}
