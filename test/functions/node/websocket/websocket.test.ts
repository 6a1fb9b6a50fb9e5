import { afterEach, describe, expect, test, vi } from "vitest";
import * as z from "zod";
import { defineFunction, tool } from "../../../../functions/node/define.ts";
import { createNode } from "../../../../functions/node/node.ts";
import { memoryState } from "../../../../functions/node/state/memory.ts";
import { TestNetwork, threeNodes, urlOf } from "../network.ts";
import type { ClientSocket } from "./memory-socket.ts";

vi.spyOn(console, "log").mockImplementation(() => undefined);
afterEach(() => void vi.useRealTimers());

const meta = {
  "io.modelcontextprotocol/protocolVersion": "2026-07-28",
  "io.modelcontextprotocol/clientCapabilities": {},
};
const aborted: string[] = [];
const slow = defineFunction({
  name: "slow",
  tools: {
    steps: tool({
      description: "Reports two steps.",
      input: z.object({}),
      async run(_, { progress }) {
        await progress(1, 2, "one");
        await progress(2, 2, "two");
        return "done";
      },
    }),
    wait: tool({
      description: "Waits until it is cancelled.",
      input: z.object({ name: z.string() }),
      async run({ name }, { signal, progress }) {
        await progress(0);
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        aborted.push(name);
        return "too late";
      },
    }),
  },
});
const plan = { ...threeNodes, nodes: { ...threeNodes.nodes, "acme/edge": [...threeNodes.nodes["acme/edge"]!, slow] } };

function request(id: unknown, method: string, params: Record<string, unknown> = {}, more: object = {}): object {
  return { jsonrpc: "2.0", id, method, params: { ...params, _meta: { ...meta, ...more } } };
}

function call(id: unknown, name: string, args: object = {}, more: object = {}): object {
  return request(id, "tools/call", { name, arguments: args }, more);
}

async function handshake(network: TestNetwork, headers: Record<string, string>, path = "/mcp"): Promise<Response> {
  return await network.request("acme/edge", path, { headers: { upgrade: "websocket", ...headers } });
}

async function open(network: TestNetwork, claims: Record<string, unknown> = {}): Promise<ClientSocket> {
  const token = await network.userToken("ada@acme", "acme/edge", claims);
  const response = await handshake(network, { authorization: `Bearer ${token}`, "sec-websocket-protocol": "mcp" });
  expect(await response.text()).toBe("upgraded");
  return network.node("acme/edge").sockets.at(-1)!;
}

const answerTo = (id: unknown) => (message: any) => message.id === id;

describe("a socket", () => {
  test("carries lists, calls and discovery, its node's own and its peers', each answered under its id", async () => {
    const network = await TestNetwork.start(plan);
    const socket = await open(network);
    expect(socket.subprotocol).toBe("mcp");
    socket.send(request("d", "server/discover"));
    socket.send(request("l", "tools/list"));
    socket.send(call(1, "echo", { text: "grüße" }));
    socket.send(call(2, "globex-compute.whoami"));
    socket.send(request(3, "resources/read", { uri: "globex-compute+echo://about" }));
    expect((await socket.message(answerTo("d"))).result.supportedVersions).toContain("2026-07-28");
    expect((await socket.message(answerTo("l"))).result.tools.map(({ name }: any) => name)).toContain(
      "globex-compute.echo",
    );
    expect((await socket.message(answerTo(1))).result).toMatchObject({
      resultType: "complete",
      content: [{ type: "text", text: "grüße" }],
    });
    expect((await socket.message(answerTo(2))).result.structuredContent).toMatchObject({
      caller: { subject: "ada@acme" },
      node: "globex/compute",
      via: ["acme/edge"],
    });
    expect((await socket.message(answerTo(3))).result.contents[0].text).toContain("globex/compute");
    expect((await network.audit("globex/compute")).filter(({ name }) => name === "whoami")).toHaveLength(1);
  });

  test("carries progress ahead of its answer", async () => {
    const socket = await open(await TestNetwork.start(plan));
    socket.send(call(1, "steps", {}, { progressToken: "p" }));
    await socket.message(answerTo(1));
    expect(socket.messages).toMatchObject([
      { method: "notifications/progress", params: { progressToken: "p", progress: 1, total: 2, message: "one" } },
      { method: "notifications/progress", params: { progressToken: "p", progress: 2 } },
      { id: 1, result: { content: [{ text: "done" }] } },
    ]);
  });

  test("cancels by notification, and then says no more of the call", async () => {
    aborted.length = 0;
    const socket = await open(await TestNetwork.start(plan));
    socket.send(call("a", "wait", { name: "plain" }));
    socket.send(call("b", "wait", { name: "streamed" }, { progressToken: 1 }));
    await socket.message(({ method }) => method === "notifications/progress");
    for (const requestId of ["a", "b", "unknown", null])
      socket.send({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId } });
    await vi.waitFor(() => expect(aborted.toSorted()).toEqual(["plain", "streamed"]));
    socket.send(call("c", "echo", { text: "still here" }));
    await socket.message(answerTo("c"));
    expect(socket.messages.filter(({ id }) => id !== undefined).map(({ id }) => id)).toEqual(["c"]);
  });

  test("ends what is under way when the client leaves", async () => {
    aborted.length = 0;
    const socket = await open(await TestNetwork.start(plan));
    socket.send(call("a", "wait", { name: "left" }, { progressToken: 1 }));
    await socket.message(({ method }) => method === "notifications/progress");
    socket.leave();
    await vi.waitFor(() => expect(aborted).toEqual(["left"]));
  });

  test("answers what is wrong with a message, and goes on", async () => {
    const socket = await open(await TestNetwork.start(plan));
    const wrong: [unknown, number, unknown][] = [
      ["{", -32700, null],
      [JSON.stringify([call(1, "echo")]), -32600, null],
      [{ id: 2, method: "tools/list" }, -32600, null],
      [{ jsonrpc: "2.0", id: 1.5, method: "tools/list" }, -32600, null],
      [request(4, "tools/nonsense"), -32601, 4],
      [request(5, "tools/ nonsense"), -32601, 5],
      [call(6, "no-such-tool"), -32602, 6],
      [{ jsonrpc: "2.0", id: 7, method: "tools/call", params: { name: "echo" } }, -32602, 7],
    ];
    for (const [message, code, id] of wrong) {
      const before = socket.messages.length;
      socket.send(message);
      await vi.waitFor(() => expect(socket.messages).toHaveLength(before + 1));
      expect(socket.messages.at(-1), JSON.stringify(message)).toMatchObject({ jsonrpc: "2.0", id, error: { code } });
    }
    socket.send({ jsonrpc: "2.0", method: "notifications/unheard-of" });
    socket.send({ jsonrpc: "2.0", id: 1, result: {} });
    socket.send(call(8, "echo", { text: "ok" }));
    expect((await socket.message(answerTo(8))).result.content[0].text).toBe("ok");
    expect(socket.messages).toHaveLength(wrong.length + 1);
  });

  test("runs a bounded number of calls, each under an id of its own", async () => {
    const socket = await open(await TestNetwork.start(plan));
    for (let id = 0; id < 32; id += 1) socket.send(call(id, "wait", { name: "x" }));
    socket.send(call(0, "echo", { text: "x" }));
    socket.send(call("one too many", "echo", { text: "x" }));
    expect(await socket.message(answerTo(0))).toMatchObject({ error: { code: -32600 } });
    expect(await socket.message(answerTo("one too many"))).toMatchObject({
      error: { code: 503, data: { retryable: true } },
    });
    socket.leave();
  });

  test("bounds what calls under way may weigh together", async () => {
    const socket = await open(await TestNetwork.start(plan));
    const heavy = { padding: "p".repeat(4 * 1024 * 1024 - 1000) };
    for (let id = 0; id < 5; id += 1) socket.send(call(id, "wait", { name: "heavy" }, heavy));
    expect(await socket.message(answerTo(4))).toMatchObject({ error: { code: 503 } });
    for (let id = 0; id < 4; id += 1)
      socket.send({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: id } });
    await vi.waitFor(() => {
      socket.send(call("again", "echo", { text: "x" }));
      expect(socket.messages.some(({ result }) => result?.content[0].text === "x")).toBe(true);
    });
  });

  test.each<[string, unknown, number]>([
    ["binary", new Uint8Array([123, 125]), 1003],
    ["more than 4 MiB", "x".repeat(4 * 1024 * 1024 + 1), 1009],
    ["more than 4 MiB in UTF-8", "€".repeat(1_500_000), 1009],
  ])("is closed by a message that is %s", async (_, message, code) => {
    const socket = await open(await TestNetwork.start(plan));
    socket.send(message);
    expect(await socket.closed).toMatchObject({ code });
  });

  test("takes a message of just under 4 MiB as MCP over HTTP does", async () => {
    const socket = await open(await TestNetwork.start(plan));
    const frame = call(1, "echo", { text: "x" }, { padding: "p".repeat(4 * 1024 * 1024 - 1000) });
    socket.send(frame);
    expect((await socket.message(answerTo(1))).result.content[0].text).toBe("x");
  });

  test("waits for a client that reads slowly, and leaves one that does not read", async () => {
    const socket = await open(await TestNetwork.start(plan));
    socket.bufferedAmount = 2 * 1024 * 1024;
    socket.send(call(1, "echo", { text: "later" }));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(socket.messages).toEqual([]);
    socket.bufferedAmount = 0;
    await socket.message(answerTo(1));
    socket.bufferedAmount = 17 * 1024 * 1024;
    socket.send("{");
    expect(await socket.closed).toMatchObject({ code: 1008 });
  });
});

describe("a socket's token", () => {
  test("closes it with 4401 at its end", async () => {
    const network = await TestNetwork.start(plan);
    const now = Date.now();
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date"], now });
    const socket = await open(network, { exp: Math.floor(now / 1000) + 60 });
    let closed: unknown;
    void socket.closed.then((given) => (closed = given));
    await vi.advanceTimersByTimeAsync(55_000);
    expect(closed).toBeUndefined();
    await vi.advanceTimersByTimeAsync(15_000);
    expect(closed).toEqual({ code: 4401, reason: "the token has expired" });
  });

  test("must stand in a newer manifest too: for the next message, and for what is under way", async () => {
    const network = await TestNetwork.start(plan);
    const [idle, busy] = [await open(network), await open(network)];
    aborted.length = 0;
    const now = Date.now();
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "Date"], now });
    const watched = await open(network);
    watched.send(call(1, "wait", { name: "revoked" }, { progressToken: 1 }));
    await watched.message(({ method }) => method === "notifications/progress");
    busy.send(call(1, "echo", { text: "x" }));
    await busy.message(answerTo(1));
    const { acme, ...rest } = network.manifest.organizations;
    await network.publish({ organizations: { ...rest, acme: { ...acme!, users: ["bob"] } } });
    idle.send(call(1, "echo", { text: "x" }));
    expect(await idle.closed).toEqual({ code: 4401, reason: "the token's user is not in the manifest" });
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await watched.closed).toMatchObject({ code: 4401 });
    expect(aborted).toEqual(["revoked"]);
    expect(idle.messages).toEqual([]);
  });

  test("comes from a browser as a subprotocol, which is not echoed", async () => {
    const network = await TestNetwork.start(plan);
    const token = await network.userToken("ada@acme", "acme/edge");
    const origin = new URL(urlOf("acme/edge")).origin;
    const headers = { "sec-websocket-protocol": `mcp, bearer.${token}` };
    expect((await handshake(network, { ...headers, origin })).status).toBe(200);
    const socket = network.node("acme/edge").sockets.at(-1)!;
    expect(socket.subprotocol).toBe("mcp");
    socket.send(call(1, "echo", { text: "from a page" }));
    expect((await socket.message(answerTo(1))).result.content[0].text).toBe("from a page");
    expect((await handshake(network, { ...headers, origin: "https://evil.example" })).status).toBe(403);
  });

  test.each<[string, (network: TestNetwork) => Promise<Record<string, string>>, number]>([
    ["is absent", async () => ({ "sec-websocket-protocol": "mcp" }), 401],
    ["is no token", async () => ({ "sec-websocket-protocol": "mcp", authorization: "Bearer x" }), 401],
    ["is no token, in a subprotocol", async () => ({ "sec-websocket-protocol": "mcp, bearer.x" }), 401],
    [
      "is for another node",
      async (network) => ({
        "sec-websocket-protocol": "mcp",
        authorization: `Bearer ${await network.userToken("ada@acme", "acme/data")}`,
      }),
      401,
    ],
    [
      "is good, without the subprotocol mcp",
      async (network) => ({ authorization: `Bearer ${await network.userToken("ada@acme", "acme/edge")}` }),
      400,
    ],
  ])("that %s opens nothing", async (_, headers, status) => {
    const network = await TestNetwork.start(plan);
    const response = await handshake(network, await headers(network));
    expect(response.status).toBe(status);
    expect(network.node("acme/edge").sockets).toEqual([]);
  });
});

test("a handshake elsewhere is a request like any other", async () => {
  const network = await TestNetwork.start(plan);
  expect((await handshake(network, { "sec-websocket-protocol": "mcp" }, "/health")).status).toBe(200);
  expect((await handshake(network, { "sec-websocket-protocol": "mcp" }, "/elsewhere")).status).toBe(404);
});

test("a platform without WebSockets says so", async () => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  const network = await TestNetwork.start(plan);
  const { config, key } = network.node("acme/edge");
  const node = createNode([])({ config, key, state: memoryState(), fetch, waitUntil: () => undefined });
  const put = { method: "PUT", body: await network.publish() };
  expect((await node.fetch(new Request("http://x/.well-known/federation", put))).status).toBe(200);
  const headers = {
    upgrade: "websocket",
    "sec-websocket-protocol": "mcp",
    authorization: `Bearer ${await network.userToken("ada@acme", "acme/edge")}`,
  };
  const response = await node.fetch(new Request("http://x/mcp", { headers }));
  expect(response.status).toBe(501);
  expect(await response.json()).toEqual({ error: expect.stringContaining("has no WebSocket") });
});
