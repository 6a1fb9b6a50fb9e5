import * as z from "zod";
import { describe, expect, test, vi } from "vitest";
import { defineFunction, tool } from "../../../../functions/node/define.ts";
import { stateSeal } from "../../../../functions/node/security/sealed-state.ts";
import fixture from "../../../conformance/fixture/index.ts";
import { ask, capabilities, post, read } from "../ask.ts";
import { grant, makeKey, type NetworkPlan, TestNetwork } from "../network.ts";

vi.spyOn(console, "log").mockImplementation(() => undefined);

const plan: NetworkPlan = {
  nodes: { "acme/edge": [], "acme/middle": [], "globex/compute": [fixture] },
  users: { acme: ["ada", "bob"], globex: ["grace"] },
  grants: [grant("globex", "acme")],
};
const stateful = "globex-compute.test_input_required_result_request_state";
const able = { meta: capabilities({ elicitation: {}, sampling: {}, roots: {}, extensions: { "com.example/x": {} } }) };
const inputResponses = { confirm: { action: "accept", content: { ok: true } } };

describe("a call that asks back", () => {
  test.each(["globex-compute.", "acme-middle.globex-compute."])("works through %s", async (prefix) => {
    const network = await TestNetwork.start(plan);
    const name = `${prefix}test_input_required_result_request_state`;
    const first = await ask(network, "acme/edge", "ada@acme", "tools/call", { name, arguments: {} }, able);
    expect(first.result).toMatchObject({
      resultType: "input_required",
      inputRequests: { confirm: { method: "elicitation/create" } },
    });
    const { requestState } = first.result;
    const second = { name, arguments: {}, inputResponses, requestState };
    const { result } = await ask(network, "acme/edge", "ada@acme", "tools/call", second, able);
    expect(result).toMatchObject({ resultType: "complete", content: [{ type: "text", text: "state-ok" }] });
    expect((await network.audit("globex/compute")).map(({ outcome }) => outcome)).toEqual(["input_required", "ok"]);
  });

  test("forwards what the client can do, and strips extensions", async () => {
    const network = await TestNetwork.start(plan);
    await ask(network, "acme/edge", "ada@acme", "tools/call", { name: stateful, arguments: {} }, able);
    const sent = JSON.parse(network.node("globex/compute").requests.at(-1)!.body);
    expect(sent.params._meta["io.modelcontextprotocol/clientCapabilities"]).toEqual({
      elicitation: {},
      sampling: {},
      roots: {},
    });
  });

  test("answers -32021 with HTTP 400 to a client that cannot, over two hops too", async () => {
    const network = await TestNetwork.start(plan);
    for (const prefix of ["globex-compute.", "acme-middle.globex-compute."]) {
      const params = { name: `${prefix}test_missing_capability`, arguments: {} };
      const { status, error } = await ask(network, "acme/edge", "ada@acme", "tools/call", params);
      expect({ status, code: error.code, data: error.data }).toEqual({
        status: 400,
        code: -32021,
        data: { requiredCapabilities: { sampling: {} } },
      });
    }
  });

  test("refuses a state that was changed, is another user's or another call's, without asking the peer", async () => {
    const network = await TestNetwork.start(plan);
    const call = async (user: string, params: Record<string, unknown>) =>
      await ask(network, "acme/edge", user, "tools/call", { arguments: {}, inputResponses, ...params }, able);
    const { result } = await ask(
      network,
      "acme/edge",
      "ada@acme",
      "tools/call",
      { name: stateful, arguments: {} },
      able,
    );
    const requestState = String(result["requestState"]);
    const before = network.node("globex/compute").requests.length;
    const refused = [
      await call("ada@acme", { name: stateful, requestState: `${requestState.slice(0, -2)}AA` }),
      await call("ada@acme", { name: stateful, requestState: "nonsense" }),
      await call("bob@acme", { name: stateful, requestState }),
      await call("ada@acme", { name: stateful, requestState, arguments: { x: 1 } }),
      await call("ada@acme", { name: "globex-compute.test_input_required_result_tampered_state", requestState }),
    ];
    expect(refused.map(({ error }) => error.code)).toEqual(refused.map(() => -32602));
    expect(network.node("globex/compute").requests.length).toBe(before);
    const good = await call("ada@acme", { name: stateful, requestState });
    expect(good.result["content"]).toEqual([{ type: "text", text: "state-ok" }]);
  });

  test("refuses a state after a quarter of an hour, or of another node; the order of members does not matter", async () => {
    let now = 1_000_000;
    const [seal, other] = [stateSeal(await makeKey(), () => now), stateSeal(await makeKey(), () => now)];
    const context = {
      subject: "ada@acme",
      maker: "b",
      method: "tools/call",
      params: { name: "x", arguments: { a: 1, b: [2] } },
    };
    const sealed = await seal.seal("text", context);
    const reordered = {
      ...context,
      params: { arguments: { b: [2], a: 1 }, name: "x", requestState: sealed, inputResponses: {} },
    };
    expect(await seal.open(sealed, reordered)).toBe("text");
    await expect(other.open(sealed, context)).rejects.toMatchObject({ code: -32602 });
    now += 15 * 60_000 + 1;
    await expect(seal.open(sealed, context)).rejects.toMatchObject({ code: -32602 });
    expect(sealed).not.toContain("text");
  });

  test("a peer that answers in an extension's terms is an error, not a result", async () => {
    const network = await TestNetwork.start(plan);
    network.node("globex/compute").trouble = async (request) => {
      const { id } = (await request.json()) as { id: string };
      return Response.json({ jsonrpc: "2.0", id, result: { resultType: "task", task: {} } });
    };
    const { error } = await ask(network, "acme/edge", "ada@acme", "tools/call", {
      name: "globex-compute.test_simple_text",
    });
    expect(error).toMatchObject({
      code: 502,
      message: expect.stringContaining("an extension that this node does not know"),
    });
  });
});

describe("while a call runs", () => {
  test("log messages and progress come over two hops, under the caller's token, for those who want them", async () => {
    const network = await TestNetwork.start(plan);
    const call = async (name: string, meta: Record<string, unknown>) =>
      (
        await ask(
          network,
          "acme/edge",
          "ada@acme",
          "tools/call",
          { name: `acme-middle.globex-compute.${name}`, arguments: {} },
          { meta },
        )
      ).notifications;
    expect(
      (await call("test_tool_with_logging", { "io.modelcontextprotocol/logLevel": "info" })).map(
        ({ params }) => params,
      ),
    ).toEqual(
      ["Tool execution started", "Tool processing data", "Tool execution completed"].map((data) => ({
        level: "info",
        logger: "conformance",
        data,
      })),
    );
    expect(await call("test_tool_with_logging", {})).toEqual([]);
    expect(await call("test_tool_with_logging", { "io.modelcontextprotocol/logLevel": "error" })).toEqual([]);
    expect((await call("test_tool_with_progress", { progressToken: 7 })).map(({ params }) => params)).toEqual(
      [0, 50, 100].map((progress) => ({ progressToken: 7, progress, total: 100 })),
    );
  });

  test("a caller that leaves ends it on the peer's peer", async () => {
    let aborted: (() => void) | undefined;
    const over = new Promise<void>((resolve) => (aborted = resolve));
    let begun: (() => void) | undefined;
    const running = new Promise<void>((resolve) => (begun = resolve));
    const slow = defineFunction({
      name: "slow",
      tools: {
        wait: tool({
          description: "",
          input: z.object({}),
          async run(_, { signal }) {
            begun?.();
            await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
            aborted?.();
            return "late";
          },
        }),
      },
    });
    const network = await TestNetwork.start({ ...plan, nodes: { ...plan.nodes, "globex/compute": [slow] } });
    const leave = new AbortController();
    const name = "acme-middle.globex-compute.wait";
    const answer = post(network, "acme/edge", "ada@acme", "tools/call", { name }, { signal: leave.signal });
    await running;
    leave.abort();
    await over;
    expect((await read(await answer)).error.code).toBe(502);
  });

  test("a path that comes back is refused", async () => {
    const network = await TestNetwork.start(plan);
    const params = { name: "acme-middle.acme-edge.test_simple_text" };
    const { error } = await ask(network, "acme/edge", "ada@acme", "tools/call", params);
    expect(error).toMatchObject({ code: 508, message: expect.stringContaining("came through acme/edge before") });
  });
});

describe("arguments that headers repeat", () => {
  test.each<[string, Record<string, string>, number | undefined]>([
    ["the same", { "mcp-param-region": "eu" }, undefined],
    ["in base64", { "mcp-param-region": "=?base64?ZXU=?=" }, undefined],
    ["none", {}, -32020],
    ["another value", { "mcp-param-region": "us" }, -32020],
    ["base64 without padding", { "mcp-param-region": "=?base64?ZXU?=" }, -32020],
  ])("%s: own, and over two hops", async (_, headers, code) => {
    const network = await TestNetwork.start(plan);
    for (const [node, user, prefix] of [
      ["globex/compute", "grace@globex", ""],
      ["acme/edge", "ada@acme", "acme-middle.globex-compute."],
    ] as const) {
      const params = { name: `${prefix}test_x_mcp_header`, arguments: { region: "eu" } };
      const { status, error } = await ask(network, node, user, "tools/call", params, { headers });
      expect({ status, code: error?.code }).toEqual({ status: code ? 400 : 200, code });
    }
  });
});

test("completions of prompts and templates, own and over two hops, under the same grants", async () => {
  const network = await TestNetwork.start(plan);
  const complete = async (ref: Record<string, unknown>, argument: Record<string, unknown>) =>
    await ask(network, "acme/edge", "ada@acme", "completion/complete", { ref, argument });
  const prompt = { type: "ref/prompt", name: "acme-middle.globex-compute.test_prompt_with_arguments" };
  expect((await complete(prompt, { name: "arg1", value: "par" })).result["completion"]).toEqual({
    values: ["paris", "park", "party"],
    total: 3,
    hasMore: false,
  });
  const template = { type: "ref/resource", uri: "globex-compute+test://template/{id}/data" };
  expect((await complete(template, { name: "id", value: "12" })).result["completion"].values).toEqual(["123", "124"]);
  expect((await complete({ type: "ref/prompt", name: "nope" }, { name: "a", value: "" })).error.code).toBe(-32602);
  expect((await complete({ type: "ref/other" }, { name: "a", value: "" })).error.code).toBe(-32602);
  await network.publish({ grants: [grant("globex", "acme", { prompts: [] })] });
  expect((await complete(prompt, { name: "arg1", value: "par" })).error.code).toBe(-32602);
});
