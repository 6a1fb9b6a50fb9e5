import { afterAll, beforeAll, expect, test } from "vitest";
import type { Json, State } from "../../../functions/node/state/state.ts";
import { stateContract } from "../../conformance/state-contract.ts";
import { bundleNode, deployNode, startTestCloud } from "./local.ts";
import type { TestCloud } from "./local.ts";

/** A node that offers its state over HTTP: `POST /state` with `[method, ...arguments]`. */
const stateServer = `({ state }) => ({
  postMcp(posted) { return this.fetch(posted.toRequest()); },
  async fetch(request) {
    const [method, ...args] = await request.json();
    try {
      return Response.json({ answer: await state[method](...args) });
    } catch (error) {
      return Response.json({ error: { name: error.name, message: error.message } });
    }
  },
})`;

let cloud: TestCloud;
let code: string;
let opened = 0;

beforeAll(async () => {
  cloud = await startTestCloud();
  code = await bundleNode(stateServer);
});
afterAll(() => cloud?.close());

async function open(): Promise<State> {
  return remoteState(await deployNode(cloud, `state-${++opened}`, code));
}

function remoteState(base: string): State {
  const call = async (...request: unknown[]): Promise<any> => {
    // JSON has no NaN; the text in its place must be refused just so.
    const body = JSON.stringify(request, (_key, value) => (Number.isNaN(value) ? "NaN" : (value as unknown)));
    const response = await fetch(`${base}/state`, { method: "POST", body });
    const { answer, error } = (await response.json()) as {
      answer?: unknown;
      error?: { name: string; message: string };
    };
    if (error) throw Object.assign(new Error(error.message), { name: error.name });
    return answer;
  };
  return {
    get: (key) => call("get", key),
    put: (key, value, options) => call("put", key, value, options ?? undefined),
    cas: (key, expected, value, options) => call("cas", key, expected, value, options),
    append: (log, value: Json, options) => call("append", log, value, options),
    appendAll: async (log, values, options) => void (await call("appendAll", log, values, options ?? undefined)),
    list: (prefix, options) => call("list", prefix, options),
  };
}

stateContract("Durable Object in workerd", open);

test("state survives a restart of the local cloud and a new version of the code", async () => {
  let base = await deployNode(cloud, "lasting", code);
  await remoteState(base).put("a", 1);
  await remoteState(base).append("log", "first");
  await cloud.restart();
  base = `${cloud.url}/lasting`;
  expect(await remoteState(base).get("a")).toEqual({ key: "a", value: 1, version: 1 });
  await deployNode(cloud, "lasting", `${code}\n// changed`);
  expect(await remoteState(base).put("a", 2)).toBe(2);
  expect(await remoteState(base).append("log", "second")).toBe("log/0000000000000002");
});
