import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, test, vi } from "vitest";
import * as z from "zod";
import { defineFunction, tool, ToolError } from "../../../../functions/node/define.ts";
import { openApiDocument } from "../../../../functions/node/protocol/rest/openapi.ts";
import { grant, type NetworkPlan, TestNetwork, threeNodes } from "../network.ts";

vi.spyOn(console, "log").mockImplementation(() => undefined);

const aborted: string[] = [];
const odd = defineFunction({
  name: "odd",
  tools: {
    fails: tool({
      description: "Fails.",
      input: z.object({}),
      run: () => {
        throw new ToolError("the disk is full");
      },
    }),
    crashes: tool({
      description: "Crashes.",
      input: z.object({}),
      run: () => {
        throw new Error("secret detail");
      },
    }),
    order: tool({
      description: "Asks before it orders.",
      input: z.object({ dish: z.string() }),
      run({ dish }, { inputs, requestState }) {
        const answer = inputs["sure"];
        if (!answer) {
          const requestedSchema = { type: "object", properties: { sure: { type: "boolean" } } };
          const params = { mode: "form", message: `Order ${dish}?`, requestedSchema };
          return { inputRequired: { sure: { method: "elicitation/create", params } }, state: { asked: dish } };
        }
        return JSON.stringify({ dish, answer, requestState });
      },
    }),
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
      input: z.object({}),
      async run(_, { signal, progress }) {
        await progress(0);
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        aborted.push("wait");
        return "";
      },
    }),
  },
});
const plan: NetworkPlan = {
  ...threeNodes,
  nodes: { ...threeNodes.nodes, "acme/edge": [...threeNodes.nodes["acme/edge"]!, odd] },
};

class Rest {
  readonly network: TestNetwork;
  readonly #authorization: string;

  private constructor(network: TestNetwork, token: string) {
    this.network = network;
    this.#authorization = `Bearer ${token}`;
  }

  static async start(change: Partial<NetworkPlan> = {}): Promise<Rest> {
    const network = await TestNetwork.start({ ...plan, ...change });
    return new Rest(network, await network.userToken("ada@acme", "acme/edge"));
  }

  async send(path: string, body?: unknown, init: RequestInit = {}): Promise<Response> {
    return await this.network.request("acme/edge", path, {
      ...(body !== undefined && { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body) }),
      ...init,
      headers: {
        authorization: this.#authorization,
        ...(body !== undefined && { "content-type": "application/json" }),
        ...init.headers,
      },
    });
  }

  /** Status and body. */
  async ask(path: string, body?: unknown, init?: RequestInit): Promise<[number, any]> {
    const response = await this.send(path, body, init);
    return [response.status, await response.json()];
  }
}

describe("REST", () => {
  test("lists what the caller may use, here and at peers", async () => {
    const rest = await Rest.start();
    const [, tools] = await rest.ask("/api/tools");
    expect(tools.tools.map(({ name }: any) => name)).toEqual(expect.arrayContaining(["echo", "globex-compute.echo"]));
    expect(tools.peers).toMatchObject([{ node: "acme/data" }, { node: "globex/compute", status: "ok" }]);
    const [, resources] = await rest.ask("/api/resources");
    expect(resources.resources.map(({ uri }: any) => uri)).toContain("globex-compute+echo://about");
    expect(resources.resourceTemplates.map(({ uriTemplate }: any) => uriTemplate)).toContain(
      "acme-data+meeting://{id}",
    );
    const [, prompts] = await rest.ask("/api/prompts");
    expect(prompts.prompts.map(({ name }: any) => name)).toContain("globex-compute.greeting");
  });

  test("calls tools, reads resources and gets prompts, here and at peers", async () => {
    const rest = await Rest.start();
    const response = await rest.send("/api/tools/echo", { text: "hi" });
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect(await response.json()).toMatchObject({ content: [{ type: "text", text: "hi" }] });
    const [record] = await rest.network.audit("acme/edge");
    expect(response.headers.get("federation-call-id")).toBe(record!["callId"]);

    const [, who] = await rest.ask("/api/tools/globex-compute.whoami", "");
    expect(who.structuredContent).toMatchObject({ node: "globex/compute", via: ["acme/edge"] });
    const [, about] = await rest.ask(`/api/resources/${encodeURIComponent("globex-compute+echo://about")}`);
    expect(about.contents).toEqual([
      { uri: "globex-compute+echo://about", mimeType: "text/plain", text: expect.stringContaining("globex/compute") },
    ]);
    const [, greeting] = await rest.ask("/api/prompts/globex-compute.greeting", { name: "Bo" });
    expect(greeting.messages[0].content.text).toContain("Greet Bo");
  });

  test.each<[string, string, unknown, RequestInit, number, object]>([
    ["an unknown tool", "/api/tools/nothing", {}, {}, 404, { detail: "Unknown tool: nothing", code: -32602 }],
    ["a tool of no peer", "/api/tools/no.thing", {}, {}, 404, {}],
    ["an unknown resource", "/api/resources/a%3Ab", undefined, {}, 404, { detail: "Unknown resource: a:b" }],
    ["an unknown prompt", "/api/prompts/nothing", {}, {}, 404, {}],
    [
      "a prompt without its argument",
      "/api/prompts/greeting",
      {},
      {},
      400,
      { detail: expect.stringContaining("name") },
    ],
    ["arguments of the wrong type", "/api/tools/echo", { text: 1 }, {}, 422, { content: [{ type: "text" }] }],
    ["a tool that fails", "/api/tools/fails", {}, {}, 422, { detail: "the disk is full" }],
    ["a tool that crashes", "/api/tools/crashes", {}, {}, 500, { detail: "Internal error" }],
    ["a body that is not JSON", "/api/tools/echo", "{", {}, 400, {}],
    ["a body that is no object", "/api/tools/echo", [], {}, 400, {}],
    ["a form", "/api/tools/echo", "text=x", { headers: { "content-type": "text/plain" } }, 415, {}],
    ["a body that is too large", "/api/tools/echo", `"${"x".repeat(4 * 1024 * 1024)}"`, {}, 413, {}],
    ["the wrong method", "/api/tools/echo", undefined, {}, 405, {}],
    ["a path that is not there", "/api/tools/echo/x", {}, {}, 404, {}],
    ["a path that is not there either", "/api/", undefined, {}, 404, {}],
    ["a broken escape", "/api/tools/%E0", {}, {}, 400, {}],
  ])("answers %s with a problem", async (_, path, body, init, status, more) => {
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    const rest = await Rest.start();
    const response = await rest.send(path, body, init);
    expect(response.headers.get("content-type")).toBe("application/problem+json");
    const problem = (await response.json()) as any;
    expect(problem).toMatchObject({
      type: "about:blank",
      title: expect.any(String),
      status,
      callId: expect.any(String),
      ...more,
    });
    expect(response.status).toBe(status);
    expect(JSON.stringify(problem)).not.toContain("secret detail");
    const audited = (await rest.network.audit("acme/edge")).map(({ callId }) => callId);
    if (audited.length > 0) expect(audited).toContain(problem.callId);
  });

  test("hands on what a tool asks back, and takes the answer", async () => {
    const rest = await Rest.start({ nodes: { ...plan.nodes, "globex/compute": [odd] } });
    for (const name of ["order", "globex-compute.order"]) {
      const [status, problem] = await rest.ask(`/api/tools/${name}`, { dish: "soup" });
      expect([status, problem.status, problem.title]).toEqual([409, 409, "Conflict"]);
      expect(problem.inputRequests.sure).toMatchObject({
        method: "elicitation/create",
        params: { message: "Order soup?" },
      });
      const inputResponses = { sure: { action: "accept", content: { sure: true } } };
      const { requestState } = problem;
      const again = { arguments: { dish: "soup" }, inputResponses, requestState };
      const [done, result] = await rest.ask(`/api/tools/${name}/inputs`, again);
      expect(done, JSON.stringify(result)).toBe(200);
      expect(JSON.parse(result.content[0].text)).toEqual({
        dish: "soup",
        answer: inputResponses.sure,
        requestState: { asked: "soup" },
      });
      const other = { ...again, arguments: { dish: "steak" } };
      expect((await rest.ask(`/api/tools/${name}/inputs`, other))[0]).toBe(400);
    }
  });

  test("says when to try again, and that a peer is away", async () => {
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    const rest = await Rest.start({ grants: [grant("globex", "acme", { rate: 1 })] });
    await rest.send("/api/tools/globex-compute.echo", { text: "x" });
    const response = await rest.send("/api/tools/globex-compute.echo", { text: "x" });
    expect(response.status).toBe(429);
    expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
    rest.network.node("globex/compute").trouble = async () => {
      throw new TypeError("connection refused");
    };
    expect(await rest.ask("/api/tools/globex-compute.echo", { text: "x" })).toMatchObject([
      502,
      { title: "Bad Gateway", data: { peer: "globex/compute", retryable: true } },
    ]);
  });

  test("streams progress to who asks for events", async () => {
    const rest = await Rest.start();
    const events = async (name: string) => {
      const response = await rest.send(`/api/tools/${name}`, {}, { headers: { accept: "text/event-stream" } });
      expect(response.headers.get("content-type")).toBe("text/event-stream");
      const text = await response.text();
      return [...text.matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data!));
    };
    expect(await events("steps")).toMatchObject([
      { progress: { progress: 1, total: 2, message: "one" } },
      { progress: { progress: 2 } },
      { result: { content: [{ text: "done" }] } },
    ]);
    expect(await events("fails")).toMatchObject([{ problem: { status: 422, detail: "the disk is full" } }]);
  });

  test("ends a call whose reader leaves", async () => {
    aborted.length = 0;
    const rest = await Rest.start();
    const response = await rest.send("/api/tools/wait", {}, { headers: { accept: "text/event-stream" } });
    const reader = response.body!.getReader();
    await reader.read();
    await reader.cancel();
    await vi.waitFor(() => expect(aborted).toEqual(["wait"]));
  });
});

describe("the OpenAPI document", () => {
  test("describes what the caller, and nobody else, may call", async () => {
    const rest = await Rest.start();
    const response = await rest.send("/openapi.json");
    const document = (await response.json()) as any;
    expect(document).toMatchObject({
      openapi: "3.1.0",
      info: { title: "acme/edge", version: expect.stringMatching(/^\d+\.\d+\.\d+$/) },
      servers: [{ url: "http://acme.test/nodes/edge" }],
      security: [{ bearer: [] }],
      components: { securitySchemes: { bearer: { type: "http", scheme: "bearer" } } },
    });
    const [, { tools }] = await rest.ask("/api/tools");
    expect(Object.keys(document.paths)).toEqual(tools.map(({ name }: any) => `/api/tools/${name}`));
    for (const { name, inputSchema, outputSchema } of tools) {
      const { post } = document.paths[`/api/tools/${name}`];
      expect(post.operationId).toBe(name);
      expect(post.requestBody.content["application/json"].schema).toEqual(inputSchema);
      const answer = post.responses[200].content["application/json"].schema;
      expect(answer.properties.structuredContent).toEqual(outputSchema);
      expect(post.responses.default).toEqual({ $ref: "#/components/responses/Problem" });
    }
    const token = await rest.network.userToken("grace@globex", "acme/edge");
    const other = await rest.network.request("acme/edge", "/openapi.json", {
      headers: { authorization: `Bearer ${token}` },
    });
    expect(Object.keys(((await other.json()) as any).paths)).not.toContain("/api/tools/echo");
  });

  test("has references that lead somewhere, and operations with one id each", async () => {
    const rest = await Rest.start();
    const [, document] = await rest.ask("/openapi.json");
    const references: string[] = [];
    const ids: string[] = [];
    JSON.stringify(document, (key, value: unknown) => {
      if (key === "$ref") references.push(value as string);
      if (key === "operationId") ids.push(value as string);
      return value;
    });
    expect(references.length).toBeGreaterThan(0);
    for (const reference of references) {
      const target = reference
        .split("/")
        .slice(1)
        .reduce((at, part) => at?.[part], document);
      expect(target, reference).toBeTypeOf("object");
    }
    expect(new Set(ids).size).toBe(ids.length);
  });

  test("keeps a schema's own references its own", () => {
    const inputSchema = {
      type: "object",
      properties: { tree: { $ref: "#/$defs/tree" }, default: { $ref: "#/$defs/tree" }, again: { $ref: "#" } },
      additionalProperties: false,
      default: { $ref: "#/$defs/tree" },
      $defs: { tree: { type: "object", properties: { left: { $ref: "#/$defs/tree" } }, additionalProperties: false } },
    };
    const document = openApiDocument("acme/edge", "https://x", [{ name: "a.grow", inputSchema }]) as any;
    const schema = document.paths["/api/tools/a.grow"].post.requestBody.content["application/json"].schema;
    expect(schema).toEqual({ $ref: "#/components/schemas/a.grow.input" });
    expect(document.components.schemas["a.grow.input"].default).toEqual(inputSchema.default);
    // The whole document stands around the schema, as for a tool that reads it.
    const ajv = new Ajv2020({ strict: false, validateSchema: false });
    const validate = ajv.compile({ components: document.components, ...schema });
    expect(validate({ tree: { left: { left: {} } }, default: { left: {} }, again: { tree: {} } })).toBe(true);
    for (const bad of [{ tree: { right: {} } }, { default: { right: {} } }, { again: { right: {} } }])
      expect(validate(bad), JSON.stringify(bad)).toBe(false);
  });

  test("is made again only when the list is another one", async () => {
    const rest = await Rest.start();
    const first = await rest.send("/openapi.json");
    const etag = first.headers.get("etag")!;
    expect(etag).toMatch(/^"[0-9a-f]{32}"$/);
    expect(first.headers.get("cache-control")).toBe("private, no-cache");
    const again = async () =>
      await rest.send("/openapi.json", undefined, { headers: { "if-none-match": `W/${etag}` } });
    expect((await again()).status).toBe(304);
    await rest.network.publish({ grants: [grant("globex", "acme", { tools: ["echo"] })] });
    vi.spyOn(Date, "now").mockReturnValue(Date.now() + 10_000);
    const changed = await again();
    expect(changed.status).toBe(200);
    expect(Object.keys(((await changed.json()) as any).paths)).not.toContain("/api/tools/globex-compute.whoami");
  });
});
