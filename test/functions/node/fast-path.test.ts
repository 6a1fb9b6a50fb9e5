import { afterEach, describe, expect, test, vi } from "vitest";
import echo from "../../../functions/echo/index.ts";
import { createNode } from "../../../functions/node/node.ts";
import type { OutboundRequest, PlainResponse, PostRequest } from "../../../functions/node/platform.ts";
import { answerFast } from "../../../functions/node/protocol/fast-path.ts";
import { grant, TestNetwork, threeNodes } from "./network.ts";

vi.spyOn(console, "log").mockImplementation(() => undefined);
afterEach(() => void vi.useRealTimers());

const callIdKey = "io.github.ai-federation/callId";
const peersKey = "io.github.ai-federation/peers";
const reserved = "io.modelcontextprotocol/";

type Era = "modern" | "legacy";
type Params = Readonly<Record<string, unknown>>;

const questions: readonly (readonly [method: string, params: Params])[] = [
  ["tools/list", {}],
  ["tools/list", { cursor: "x" }],
  ["prompts/list", {}],
  ["resources/list", {}],
  ["resources/templates/list", {}],
  ["tools/call", {}],
  ["tools/call", { name: "nope" }],
  ...["", "acme-data.", "globex-compute.", "nobody."].flatMap((prefix) => [
    ["tools/call", { name: `${prefix}echo`, arguments: { text: "Grüße 👋" } }] as const,
    ["tools/call", { name: `${prefix}echo`, arguments: { text: 1 } }] as const,
    ["tools/call", { name: `${prefix}list_meetings`, arguments: {} }] as const,
    ["prompts/get", { name: `${prefix}greeting`, arguments: { name: "Ada" } }] as const,
    ["prompts/get", { name: `${prefix}meeting_summary`, arguments: { id: "none" } }] as const,
  ]),
  ...["", "globex-compute+", "acme-data+", "nobody+"].flatMap((prefix) => [
    ["resources/read", { uri: `${prefix}echo://about` }] as const,
    ["resources/read", { uri: `${prefix}meeting://none` }] as const,
  ]),
];

/** What makes a request one that only the SDK answers, and changes nothing about the answer. */
const slowly = {
  modern: { headers: {}, meta: { [`${reserved}unheardOf`]: 1 } },
  legacy: { headers: { "mcp-protocol-version": "2024-11-05" }, meta: {} },
};

interface Asked {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

function question(era: Era, token: string, method: string, params: Params, slow = false): Asked {
  const name = params["name"] ?? params["uri"];
  const extra = slow ? slowly[era] : { headers: {}, meta: {} };
  const meta = {
    ...(era === "modern" && { [`${reserved}protocolVersion`]: "2026-07-28", [`${reserved}clientCapabilities`]: {} }),
    ...extra.meta,
  };
  return {
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      ...(era === "modern"
        ? {
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": method,
            ...(typeof name === "string" && { "mcp-name": name }),
          }
        : { "mcp-protocol-version": "2025-11-25" }),
      ...extra.headers,
    },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: { ...params, _meta: meta } }),
  };
}

function posted({ headers, body }: Asked): PostRequest {
  const signal = new AbortController().signal;
  return {
    headers: new Headers(headers),
    body,
    signal,
    toRequest: () => new Request("http://acme.test/mcp", { method: "POST", headers, body, signal }),
  };
}

/** Restarts `acme/edge` on a platform that has everything a platform may have. */
function equip(network: TestNetwork): { readonly exchanged: string[]; readonly printed: string[] } {
  const exchanged: string[] = [];
  const printed: string[] = [];
  const { config, key, state } = network.node("acme/edge");
  const pending = new Set<Promise<unknown>>();
  network.node("acme/edge").node = createNode([echo])({
    config,
    key,
    state,
    fetch: async (request) => await network.fetch(request),
    async exchange({ url, headers, body }: OutboundRequest): Promise<PlainResponse | Response> {
      exchanged.push(url);
      const response = await network.fetch(new Request(url, { method: "POST", headers, body }));
      if (!response.headers.get("content-type")?.startsWith("application/json")) return response;
      return { status: response.status, headers: Object.fromEntries(response.headers), body: await response.text() };
    },
    print: (lines) => void printed.push(...lines),
    waitUntil: (work) => void pending.add(work),
  });
  const { settled } = network;
  network.settled = async () => {
    await Promise.all(pending);
    await settled.call(network);
  };
  return { exchanged, printed };
}

type Way = "by fetch" | "by post" | "by the SDK";

async function ask(network: TestNetwork, way: Way, era: Era, token: string, method: string, params: Params) {
  const asked = question(era, token, method, params, way === "by the SDK");
  const { node } = network.node("acme/edge");
  const response =
    way === "by post"
      ? await node.postMcp(posted(asked))
      : await network.request("acme/edge", "/mcp", { method: "POST", ...asked });
  const text = response instanceof Response ? await response.text() : textOf(response);
  const message = JSON.parse(text.startsWith("{") ? text : (/^data: (.*)$/m.exec(text)?.[1] as string)) as {
    result?: { _meta?: Record<string, unknown> };
  };
  const volatile = message.result?._meta;
  if (volatile?.[callIdKey] !== undefined) volatile[callIdKey] = "id";
  if (Array.isArray(volatile?.[peersKey]))
    volatile[peersKey] = volatile[peersKey].map(({ node }: { node: string }) => node);
  return { status: response.status, message };
}

function textOf({ body }: PlainResponse): string {
  return typeof body === "string" ? body : Buffer.concat(body).toString();
}

/** The audit of both ends without what differs from call to call. */
async function audited(network: TestNetwork): Promise<unknown> {
  const records = async (id: string) =>
    (await network.audit(id)).map(({ time: _time, callId: _id, ms: _ms, ...record }) => record);
  return {
    edge: await records("acme/edge"),
    compute: await records("globex/compute"),
    data: await records("acme/data"),
  };
}

describe.each<Era>(["modern", "legacy"])("in the %s era", (era) => {
  // Globex keeps its meetings to itself, and acme's data node is narrower for globex than for its own.
  const plan = {
    ...threeNodes,
    grants: [grant("globex", "acme", { tools: ["echo", "whoami"], prompts: ["greet*"], resources: ["echo:*"] })],
  };

  test("fetch, post and the SDK give the same answers, decisions and records", async () => {
    const outcomes: Record<string, unknown> = {};
    for (const way of ["by fetch", "by post", "by the SDK"] as const) {
      const network = await TestNetwork.start(plan);
      const equipment = way === "by post" ? equip(network) : undefined;
      const token = await network.userToken("ada@acme", "acme/edge");
      const answers = [];
      for (const [method, params] of questions)
        answers.push({ method, params, ...(await ask(network, way, era, token, method, params)) });
      outcomes[way] = { answers, audit: await audited(network) };
      if (equipment) {
        expect(equipment.exchanged.length).toBeGreaterThan(10);
        expect(equipment.printed.length, "each record is printed").toBe((await network.audit("acme/edge")).length);
      }
    }
    expect(outcomes["by post"]).toEqual(outcomes["by fetch"]);
    expect(outcomes["by the SDK"]).toEqual(outcomes["by fetch"]);
    const { answers } = outcomes["by fetch"] as { answers: { message: { error?: unknown } }[] };
    expect(answers.filter(({ message }) => message.error === undefined).length).toBeGreaterThan(10);
    expect(answers.filter(({ message }) => message.error !== undefined).length).toBeGreaterThan(10);
  });

  test.each(questions)("the slow form of %s %j is none of the fast path's", async (method, params) => {
    const network = await TestNetwork.start(plan);
    const slow = question(era, "token", method, params, true);
    const never = async () => await Promise.reject(new Error("the fast path took it"));
    const admission = { callId: "c", held: undefined as never, principal: undefined as never };
    expect(
      await answerFast(posted(slow), admission, JSON.parse(slow.body), {
        answer: never,
        listen: never,
        sessions: undefined as never,
      }),
    ).toBeUndefined();
    expect(network.manifest.serial).toBe(1);
  });
});

describe("what is remembered of a user's token ends", () => {
  const echoHere = ["tools/call", { name: "echo", arguments: { text: "x" } }] as const;
  const echoThere = ["tools/call", { name: "globex-compute.echo", arguments: { text: "x" } }] as const;

  test("when the token expires, though it was used a moment before", async () => {
    const network = await TestNetwork.start();
    const now = Date.now();
    const token = await network.userToken("ada@acme", "acme/edge", { exp: Math.floor(now / 1000) + 60 });
    expect((await ask(network, "by post", "modern", token, ...echoHere)).status).toBe(200);
    vi.useFakeTimers({ toFake: ["Date"], now: now + 59_000 });
    expect((await ask(network, "by post", "modern", token, ...echoHere)).status).toBe(200);
    vi.setSystemTime(now + 67_000);
    expect((await ask(network, "by post", "modern", token, ...echoHere)).status).toBe(401);
    expect((await ask(network, "by fetch", "modern", token, ...echoHere)).status).toBe(401);
  });

  test("when a newer manifest lacks the user, or its issuer's key", async () => {
    const network = await TestNetwork.start();
    const token = await network.userToken("ada@acme", "acme/edge");
    const { acme, globex } = network.manifest.organizations as Record<string, { users: string[]; issuers: [] }>;
    expect((await ask(network, "by post", "modern", token, ...echoHere)).status).toBe(200);
    await network.publish({ organizations: { acme: { ...acme!, users: ["bob"] }, globex: globex! } });
    expect((await ask(network, "by post", "modern", token, ...echoHere)).status).toBe(401);
    await network.publish({ organizations: { acme: acme!, globex: globex! } });
    expect((await ask(network, "by post", "modern", token, ...echoHere)).status).toBe(200);
    await network.publish({ organizations: { acme: { ...acme!, issuers: [] }, globex: globex! } });
    expect((await ask(network, "by post", "modern", token, ...echoHere)).status).toBe(401);
  });

  test("with the grant that it was used under", async () => {
    const network = await TestNetwork.start();
    equip(network);
    const token = await network.userToken("ada@acme", "acme/edge");
    const answers = async () => (await ask(network, "by post", "modern", token, ...echoThere)).message;
    const names = async () =>
      JSON.stringify((await ask(network, "by post", "modern", token, "tools/list", {})).message);
    expect(await answers()).toHaveProperty("result");
    expect(await names()).toContain("globex-compute.echo");
    await network.publish({ grants: [] });
    expect(await answers()).toMatchObject({ error: { code: -32602 } });
    expect(await names()).not.toContain("globex-compute");
    const expires = new Date(Date.now() + 60_000).toISOString();
    await network.publish({ grants: [grant("globex", "acme", { expires })] });
    expect(await answers()).toHaveProperty("result");
    vi.useFakeTimers({ toFake: ["Date"], now: Date.parse(expires) + 1 });
    expect(await answers()).toMatchObject({ error: { code: -32602 } });
    expect(await names()).not.toContain("globex-compute");
  });

  test("and never serves another token or another user", async () => {
    const network = await TestNetwork.start();
    const [ada, forged] = [await network.userToken("ada@acme", "acme/edge"), "x"];
    const whoami = ["tools/call", { name: "whoami", arguments: {} }] as const;
    const subject = async (token: string) => JSON.stringify(await ask(network, "by post", "modern", token, ...whoami));
    expect(await subject(ada)).toContain("ada@acme");
    expect(await subject(await network.userToken("grace@globex", "acme/edge"))).not.toContain("ada@acme");
    const tampered = `${ada.slice(0, -4)}${ada.endsWith("AAAA") ? "BBBB" : "AAAA"}`;
    for (const token of [tampered, `${ada}${forged}`, forged])
      expect((await ask(network, "by post", "modern", token, ...whoami)).status).toBe(401);
  });
});
