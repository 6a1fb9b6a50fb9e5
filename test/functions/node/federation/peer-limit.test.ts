import { expect, test, vi } from "vitest";
import { Circuits } from "../../../../functions/node/federation/circuit.ts";
import { defaultLimits } from "../../../../functions/node/federation/limits.ts";
import { type AskPeer, PeerFailure, type PeerRequest } from "../../../../functions/node/federation/peer-client.ts";
import { limitPeers } from "../../../../functions/node/federation/peer-limit.ts";
import { PeerSlots } from "../../../../functions/node/federation/peer-slots.ts";
import { code, RpcError } from "../../../../functions/node/protocol/rpc.ts";
import { TestNetwork } from "../network.ts";

const peer = "globex/compute";

test("a flood of calls to a silent peer: 64 go out, 256 wait, the rest hears at once that it is busy", async () => {
  vi.spyOn(console, "log").mockImplementation(() => undefined);
  const network = await TestNetwork.start();
  let underWay = 0;
  let most = 0;
  let release = (): void => undefined;
  const open = new Promise<void>((resolve) => (release = resolve));
  network.node(peer).trouble = async (request, answer) => {
    if (request.method !== "POST") return await answer();
    underWay += 1;
    most = Math.max(most, underWay);
    await open;
    underWay -= 1;
    return await answer();
  };
  const token = await network.userToken("ada@acme", "acme/edge");
  const call = async () => {
    const headers = {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      accept: "application/json",
    };
    const params = { name: "globex-compute.echo", arguments: { text: "x" } };
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params });
    const response = await network.request("acme/edge", "/mcp", { method: "POST", headers, body });
    return (await response.json()) as { error?: { code: number; message: string; data: unknown } };
  };
  let refused = 0;
  const calls = Array.from({ length: 400 }, async () => {
    const answer = await call();
    if (answer.error) refused += 1;
    return answer;
  });
  await expect.poll(() => refused, { timeout: 4_000 }).toBe(400 - 64 - 256);
  await expect.poll(() => underWay).toBe(64);
  release();
  const answers = await Promise.all(calls);
  expect(most).toBe(64);
  const errors = answers.flatMap(({ error }) => (error ? [error] : []));
  expect(errors).toHaveLength(80);
  expect(errors[0]).toEqual({
    code: 503,
    message: "globex/compute is busy: 256 requests wait for it already",
    data: { peer, retryable: true, retryAfterSeconds: 1 },
  });
  await network.settled();
});

test("the time in the queue counts towards the deadline", async () => {
  let now = 0;
  const deadlines: number[] = [];
  const releases: (() => void)[] = [];
  const circuits = new Circuits();
  const slots = new PeerSlots({ ...defaultLimits, perPeer: 1 }, circuits, () => now);
  const ask = limitPeers(
    async ({ deadline }) => {
      deadlines.push(deadline);
      await new Promise<void>((resolve) => releases.push(resolve));
      return {};
    },
    { slots, circuits, now: () => now },
  );
  const both = [ask(request()), ask(request())];
  await vi.waitFor(() => expect(releases).toHaveLength(1));
  now = 400;
  releases[0]?.();
  await vi.waitFor(() => expect(releases).toHaveLength(2));
  releases[1]?.();
  await Promise.all(both);
  expect(deadlines).toEqual([1_000, 600]);
  expect(slots.load).toEqual({ underWay: 0, waiting: 0, lanes: 0 });
});

test.each<[string, () => Error, boolean, "ejected" | "kept"]>([
  ["faults of the peer", () => new PeerFailure(peer, "broke"), false, "ejected"],
  ["refusals", () => new PeerFailure(peer, "refused", { sample: "answer" }), false, "kept"],
  ["the peer's JSON-RPC errors", () => new RpcError(-32602, "no"), false, "kept"],
  ["faults of this node", () => new Error("bug"), false, "kept"],
  ["callers that left", () => new RpcError(code.peerFailed, "the caller cancelled the request"), true, "kept"],
])("after %s", async (_, fault, aborted, outcome) => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  const circuits = new Circuits();
  const slots = new PeerSlots(defaultLimits, circuits);
  const failing: AskPeer = async () => {
    throw fault();
  };
  const ask = limitPeers(failing, { slots, circuits });
  for (let n = 0; n < 5; n += 1) {
    const caller = new AbortController();
    const asked = ask(request(caller.signal));
    if (aborted) caller.abort();
    await expect(asked).rejects.toThrow();
  }
  expect(circuits.allowance(peer, Date.now()).requests).toBe(outcome === "ejected" ? 0 : Infinity);
  expect(slots.load).toEqual({ underWay: 0, waiting: 0, lanes: 0 });
});

function request(signal?: AbortSignal): PeerRequest {
  const principal = { subject: "ada@acme", organization: "acme", actors: [], via: [] };
  const held = { jws: "", digest: "", serial: 1, manifest: {} as never, peers: new Map() };
  return { peer, method: "tools/call", params: {}, held, principal, callId: "1", deadline: 1_000, signal };
}
