import { expect, onTestFinished, test, vi } from "vitest";
import { eventData } from "../../../../functions/node/federation/event-stream.ts";
import { textParts } from "../../../../functions/node/federation/body.ts";
import fixture from "../../../conformance/fixture/index.ts";
import { ask, post } from "../ask.ts";
import { grant, type NetworkPlan, TestNetwork } from "../network.ts";

vi.spyOn(console, "log").mockImplementation(() => undefined);

const idKey = "io.modelcontextprotocol/subscriptionId";
const plan: NetworkPlan = {
  nodes: { "acme/edge": [], "acme/middle": [], "globex/compute": [fixture] },
  users: { acme: ["ada"], globex: ["grace"] },
  grants: [grant("globex", "acme", { tools: ["test_*"], resources: ["test://watched-resource"], prompts: [] })],
};

/** Opens a subscription; answers the next message each time it is called. */
async function listen(network: TestNetwork, node: string, user: string, notifications: Record<string, unknown>) {
  const leave = new AbortController();
  onTestFinished(() => leave.abort());
  const response = await post(network, node, user, "subscriptions/listen", { notifications }, { signal: leave.signal });
  const events = eventData(textParts(response, 1_000_000));
  return {
    next: async () => JSON.parse((await events.next()).value as string) as Record<string, any>,
    leave: () => leave.abort(),
  };
}

const change = async (network: TestNetwork, name: string) =>
  await ask(network, "globex/compute", "grace@globex", "tools/call", { name, arguments: {} });

test("changes of lists and resources come from a peer's peer, renamed and under the caller's own id", async () => {
  const network = await TestNetwork.start(plan);
  const uri = "acme-middle+globex-compute+test://watched-resource";
  const { next } = await listen(network, "acme/edge", "ada@acme", {
    toolsListChanged: true,
    resourceSubscriptions: [uri],
  });
  expect(await next()).toEqual({
    jsonrpc: "2.0",
    method: "notifications/subscriptions/acknowledged",
    params: { notifications: { toolsListChanged: true, resourceSubscriptions: [uri] }, _meta: { [idKey]: 1 } },
  });
  await vi.waitFor(() => expect(network.node("globex/compute").requests.length).toBeGreaterThanOrEqual(2));
  await new Promise((resolve) => setTimeout(resolve, 100));
  await change(network, "test_trigger_tool_change");
  expect(await next()).toEqual({
    jsonrpc: "2.0",
    method: "notifications/tools/list_changed",
    params: { _meta: { [idKey]: 1 } },
  });
  await change(network, "test_trigger_prompt_change");
  await change(network, "test_update_watched_resource");
  expect(await next()).toEqual({
    jsonrpc: "2.0",
    method: "notifications/resources/updated",
    params: { uri, _meta: { [idKey]: 1 } },
  });
});

test("a resource that no grant covers is not in the acknowledgement, and nothing to hear of ends at once", async () => {
  const network = await TestNetwork.start(plan);
  const { next } = await listen(network, "globex/compute", "grace@globex", {
    resourceSubscriptions: ["test://watched-resource"],
  });
  expect((await next())["params"].notifications).toEqual({ resourceSubscriptions: ["test://watched-resource"] });
  await network.publish({ grants: [] });
  const refused = await listen(network, "acme/edge", "ada@acme", {
    resourceSubscriptions: ["globex-compute+test://watched-resource"],
  });
  expect((await refused.next())["params"].notifications).toEqual({});
  expect(await refused.next()).toMatchObject({ id: 1, result: { resultType: "complete", _meta: { [idKey]: 1 } } });
});

test("a new manifest brings and takes away: the lists changed, and the stream ends in good order", async () => {
  const network = await TestNetwork.start(plan);
  const { next } = await listen(network, "acme/edge", "ada@acme", { toolsListChanged: true, promptsListChanged: true });
  await next();
  await network.publish({ grants: [] });
  expect([(await next())["method"], (await next())["method"]]).toEqual([
    "notifications/tools/list_changed",
    "notifications/prompts/list_changed",
  ]);
  expect(await next()).toMatchObject({ id: 1, result: { resultType: "complete" } });
});

test("after a peer was away its lists count as changed", async () => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  const network = await TestNetwork.start({ ...plan, nodes: { "acme/edge": [], "globex/compute": [fixture] } });
  const peer = network.node("globex/compute");
  peer.trouble = async () => new Response("away", { status: 503 });
  const { next } = await listen(network, "acme/edge", "ada@acme", { toolsListChanged: true });
  await next();
  await vi.waitFor(() => expect(peer.requests.map(({ path }) => path)).toContain("/mcp"));
  peer.trouble = undefined;
  expect((await next())["method"]).toBe("notifications/tools/list_changed");
});

test("a malformed subscription is refused", async () => {
  const network = await TestNetwork.start(plan);
  for (const notifications of [undefined, [], { resourceSubscriptions: "x" }]) {
    const { error } = await ask(network, "acme/edge", "ada@acme", "subscriptions/listen", { notifications });
    expect(error.code).toBe(-32602);
  }
});
