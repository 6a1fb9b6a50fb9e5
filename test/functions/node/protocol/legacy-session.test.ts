import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import * as z from "zod";
import { expect, onTestFinished, test, vi } from "vitest";
import { defineFunction, tool } from "../../../../functions/node/define.ts";
import fixture from "../../../conformance/fixture/index.ts";
import { ask } from "../ask.ts";
import { grant, type NetworkPlan, TestNetwork, urlOf } from "../network.ts";

vi.spyOn(console, "log").mockImplementation(() => undefined);

const plan: NetworkPlan = {
  nodes: { "acme/edge": [], "globex/compute": [fixture] },
  users: { acme: ["ada", "bob"], globex: ["grace"] },
  grants: [grant("globex", "acme")],
};

/** The official client of MCP 2025-11-25, with a user who answers. */
async function connect(network: TestNetwork, sessions: string[] = []): Promise<Client> {
  const client = new Client(
    { name: "test", version: "1" },
    { versionNegotiation: { mode: "legacy" }, capabilities: { elicitation: {} } },
  );
  client.setRequestHandler("elicitation/create", async () => ({ action: "accept", content: { name: "Ada" } }));
  const token = await network.userToken("ada@acme", "acme/edge");
  const transport = new StreamableHTTPClientTransport(new URL(`${urlOf("acme/edge")}/mcp`), {
    requestInit: { headers: { authorization: `Bearer ${token}` } },
    fetch: async (url, init) => {
      const response = await network.fetch(new Request(url, init));
      const id = response.headers.get("mcp-session-id");
      if (id !== null) sessions.push(id);
      return response;
    },
  });
  await client.connect(transport);
  onTestFinished(async () => await client.close());
  return client;
}

test("a legacy client is asked in mid-call, on behalf of a peer's tool, whichever isolate it talks to", async () => {
  const network = await TestNetwork.start(plan);
  const client = await connect(network);
  // Nothing that the node remembers is in this process's memory.
  network.restart("acme/edge", []);
  const name = "globex-compute.test_input_required_result_elicitation";
  expect((await client.callTool({ name, arguments: {} })).content).toEqual([{ type: "text", text: "Hello, Ada!" }]);
});

test("a legacy client hears of a peer's resource that it subscribed to, until it no longer wants to", async () => {
  const network = await TestNetwork.start(plan);
  const client = await connect(network);
  const uri = "globex-compute+test://watched-resource";
  const heard: string[] = [];
  client.setNotificationHandler("notifications/resources/updated", ({ params }) => void heard.push(params.uri));
  await client.subscribeResource({ uri });
  const peer = network.node("globex/compute");
  await vi.waitFor(() => expect(peer.requests.map(({ body }) => body).join()).toContain("subscriptions/listen"), 5_000);
  await new Promise((resolve) => setTimeout(resolve, 100));
  const change = async () =>
    await ask(network, "globex/compute", "grace@globex", "tools/call", {
      name: "test_update_watched_resource",
      arguments: {},
    });
  await change();
  await vi.waitFor(() => expect(heard).toEqual([uri]), 5_000);
  await client.unsubscribeResource({ uri });
  await new Promise((resolve) => setTimeout(resolve, 2_300));
  await change();
  await new Promise((resolve) => setTimeout(resolve, 2_300));
  expect(heard).toEqual([uri]);
});

test("log messages below the session's level stay away", async () => {
  const network = await TestNetwork.start(plan);
  const client = await connect(network);
  const heard: unknown[] = [];
  client.setNotificationHandler("notifications/message", ({ params }) => void heard.push(params.data));
  const call = async () => await client.callTool({ name: "globex-compute.test_logging_tool", arguments: {} });
  await call();
  await client.setLoggingLevel("error");
  await call();
  await client.setLoggingLevel("debug");
  await call();
  expect(heard).toEqual(["Logged", "Logged"]);
});

test("a legacy client that cancels ends the call on the peer", async () => {
  let ended: (() => void) | undefined;
  const over = new Promise<void>((resolve) => (ended = resolve));
  let begun: (() => void) | undefined;
  const running = new Promise<void>((resolve) => (begun = resolve));
  const wait = tool({
    description: "Waits until it is cancelled.",
    input: z.object({}),
    async run(_, { signal }) {
      begun?.();
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      ended?.();
      return "late";
    },
  });
  const slow = defineFunction({ name: "slow", tools: { wait } });
  const network = await TestNetwork.start({ ...plan, nodes: { "acme/edge": [], "globex/compute": [slow] } });
  const client = await connect(network);
  const cancel = new AbortController();
  const call = client.callTool({ name: "globex-compute.wait", arguments: {} }, { signal: cancel.signal });
  await running;
  cancel.abort();
  await expect(call).rejects.toThrow();
  await over;
});

test("a session is its user's, and a modern request has none", async () => {
  const network = await TestNetwork.start(plan);
  const sessions: string[] = [];
  await connect(network, sessions);
  const list = async (user: string, id: string) => {
    const headers = {
      authorization: `Bearer ${await network.userToken(user, "acme/edge")}`,
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-session-id": id,
    };
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list" });
    return (await network.request("acme/edge", "/mcp", { method: "POST", headers, body })).status;
  };
  expect(await list("ada@acme", sessions[0]!)).toBe(200);
  expect(await list("bob@acme", sessions[0]!)).toBe(404);
  expect(await list("ada@acme", `${sessions[0]!.slice(0, -4)}AAAA`)).toBe(404);
  const modern = await ask(network, "acme/edge", "ada@acme", "tools/list", {}, { headers: { "mcp-session-id": "x" } });
  expect(modern.status).toBe(200);
  expect(sessions.every((id) => /^[\x21-\x7e]+$/.test(id) && id.length < 1_000)).toBe(true);
});
