import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { RetryBudget } from "../../../../functions/node/federation/retry-budget.ts";
import { object } from "zod";
import { defineFunction, tool } from "../../../../functions/node/define.ts";
import { grant, TestNetwork } from "../network.ts";

vi.spyOn(console, "log").mockImplementation(() => undefined);
vi.spyOn(console, "error").mockImplementation(() => undefined);

const run = () => "done";
const jobs = defineFunction({
  name: "jobs",
  tools: {
    read: tool({ description: "", input: object({}), annotations: { readOnlyHint: true }, run }),
    set: tool({ description: "", input: object({}), annotations: { idempotentHint: true }, run }),
    add: tool({ description: "", input: object({}), run }),
  },
  prompts: { ask: { get: () => "?" } },
  resources: { "job://1": { name: "one", read: () => "1" } },
});
const peer = "globex/compute";

test("retries are a tenth of the requests, and at most five at once", () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 500 }), (asks) => {
      const budget = new RetryBudget();
      let earned = 0;
      let spent = 0;
      for (const earn of asks) {
        if (earn) {
          budget.earn(peer);
          earned += 1;
        } else if (budget.spend(peer)) spent += 1;
        expect(spent).toBeLessThanOrEqual(5 + earned / 10 + 1e-6);
      }
    }),
  );
});

describe("after HTTP 502, 503, 504 or no connection", () => {
  const failures: [string, () => Response][] = [
    ...[502, 503, 504].map((status): [string, () => Response] => [
      `HTTP ${status}`,
      () => new Response("bad", { status }),
    ]),
    [
      "no connection",
      () => {
        throw new TypeError("connection refused");
      },
    ],
  ];
  test.each(failures)("%s: lists and reads are tried once more, each try with its own token", async (_, fail) => {
    const { network, tries } = await failing(fail);
    const client = await network.connect("acme/edge", "ada@acme");
    expect((await client.listTools()).tools).toHaveLength(3);
    await client.readResource({ uri: "globex-compute+job://1" });
    await client.getPrompt({ name: "globex-compute.ask" });
    expect(tries()).toEqual({ "tools/list": 2, "resources/read": 2, "prompts/get": 2 });
    const tokens = network.node(peer).requests.map(({ headers }) => headers.get("authorization"));
    expect(new Set(tokens).size).toBe(tokens.length);
  });

  test("a tool is tried again only if the peer's last list says that it may be", async () => {
    const { network, tries, reset } = await failing(() => new Response("bad", { status: 502 }));
    const client = await network.connect("acme/edge", "ada@acme");
    const call = async (name: string) => await client.callTool({ name: `globex-compute.${name}`, arguments: {} });
    await expect(call("read"), "before any list").rejects.toMatchObject({ code: 502 });
    await client.listTools();
    reset();
    expect((await call("read")).content).toEqual([{ type: "text", text: "done" }]);
    reset();
    await call("set");
    reset();
    await expect(call("add")).rejects.toMatchObject({ code: 502, message: expect.stringContaining(peer) });
    expect(tries()).toEqual({ "tools/call": 1 });
  });

  test("a tool that no grant covers is not tried again, whatever the peer says of it", async () => {
    const { network, tries, reset } = await failing(() => new Response("bad", { status: 502 }), { tools: ["add"] });
    const client = await network.connect("acme/edge", "ada@acme");
    const { trouble } = network.node(peer);
    network.node(peer).trouble = async (request) => {
      const { id } = (await request.json()) as { id: string };
      const read = { name: "read", inputSchema: { type: "object" }, annotations: { readOnlyHint: true } };
      return Response.json({ jsonrpc: "2.0", id, result: { tools: [read] } });
    };
    await client.listTools();
    network.node(peer).trouble = trouble;
    reset();
    await expect(client.callTool({ name: "globex-compute.read", arguments: {} })).rejects.toMatchObject({ code: 502 });
    expect(tries()).toEqual({ "tools/call": 1 });
  });
});

test.each([
  ["HTTP 500", () => new Response("bad", { status: 500 })],
  ["HTTP 429", () => new Response("slow down", { status: 429 })],
  ["HTTP 401", () => Response.json({ error: "invalid_token" }, { status: 401 })],
  ["an answer that is not JSON", () => new Response("{", { headers: { "content-type": "application/json" } })],
])("%s is not tried again", async (_, fail) => {
  const { network, tries } = await failing(fail);
  const client = await network.connect("acme/edge", "ada@acme");
  expect((await client.listTools()).tools).toEqual([]);
  expect(tries()).toEqual({ "tools/list": 1 });
});

test("what concerns one caller alone ejects nobody", async () => {
  const { network, tries } = await failing(
    () => Response.json({ error: "invalid_token" }, { status: 401 }),
    {},
    Infinity,
  );
  const client = await network.connect("acme/edge", "ada@acme");
  for (let n = 0; n < 10; n += 1)
    await expect(client.callTool({ name: "globex-compute.add", arguments: {} })).rejects.toMatchObject({
      code: 502,
      message: expect.stringContaining("globex/compute refused this node's token"),
    });
  expect(tries()).toEqual({ "tools/call": 10 });
});

/** A network whose peer fails the first requests of each method; counts the tries. */
async function failing(fail: () => Response, grants: Parameters<typeof grant>[2] = {}, times = 1) {
  const network = await TestNetwork.start({
    nodes: { "acme/edge": [], [peer]: [jobs] },
    users: { acme: ["ada"] },
    grants: [grant("globex", "acme", grants)],
  });
  let counts: Record<string, number> = {};
  network.node(peer).trouble = async (request, answer) => {
    const method = request.headers.get("mcp-method");
    if (!method) return await answer();
    counts[method] = (counts[method] ?? 0) + 1;
    return counts[method] > times ? await answer() : fail();
  };
  return { network, tries: () => counts, reset: () => void (counts = {}) };
}
