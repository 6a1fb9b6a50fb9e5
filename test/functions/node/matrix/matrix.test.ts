import { readFileSync } from "node:fs";
import { afterAll, beforeEach, describe, expect, test, vi } from "vitest";
import type { Platform } from "../../../../functions/node/platform.ts";
import { httpClient } from "../../../../providers/fly/client.ts";
import echo from "../../../../functions/echo/index.ts";
import meetingInfo from "../../../../functions/meeting-info/index.ts";
import { type Behaviour, behaviours, callDeadline, listBudget, table, tool } from "./behaviours.ts";
import { type Answer, type Era, HttpNetwork, readRpc } from "./http-network.ts";

const peersKey = "io.github.ai-federation/peers";
const peer = "globex/compute";
const own = ["echo", "whoami"];
const others = ["create_meeting", "list_meetings", "get_meeting"].map((name) => `acme-data.${name}`);
const limits = { listBudget, callDeadline };
/** Milliseconds that a busy machine may add. */
const slack = 2_000;

beforeEach(() => {
  vi.spyOn(console, "log").mockImplementation(() => undefined);
  vi.spyOn(console, "error").mockImplementation(() => undefined);
});
afterAll(() => vi.restoreAllMocks());

const client = httpClient();
afterAll(() => client.close());

describe.each<{ era: Era; by: string; exchange?: Platform["exchange"] }>([
  { era: "legacy", by: "fetch" },
  { era: "modern", by: "fetch" },
  { era: "modern", by: "the client of Fly", exchange: async (request) => await client.exchange(request) },
])("a caller of the $era era, a node that asks by $by, a peer that is", ({ era, exchange }) => {
  test.concurrent.each(behaviours)("$peer", async (behaviour) => {
    const peers = { "acme/data": [meetingInfo], [peer]: behaviour.serve };
    const network = await HttpNetwork.start([echo], peers, limits, exchange);
    try {
      // Connections and keys are warm, as they are in a node that has been up for a while.
      await network.ask(era, "tools/call", { name: "acme-data.list_meetings", arguments: {} });

      const [list, beside] = await Promise.all([network.ask(era, "tools/list"), besides(network, era)]);
      checkList(behaviour, list, era);
      expect(beside.ms, "another peer, meanwhile").toBeLessThan(slack);
      const listTries = tries(network, "tools/list");

      const [call] = await Promise.all([
        network.ask(era, "tools/call", { name: "globex-compute.echo", arguments: {} }),
        besides(network, era),
      ]);
      checkCall(behaviour, call, era);
      if (behaviour.serve) expect([listTries, tries(network, "tools/call")]).toEqual(Object.values(behaviour.tries));

      for (const { text } of [list, call]) {
        expect(text, "no address, no path, no stack").not.toMatch(
          /127\.0\.0\.1|localhost|10\.0\.0|\/srv\/|\\n\s+at |TypeError/,
        );
      }
      await vi.waitFor(() => expect(network.open(peer), "requests left open at the peer").toBe(0), { timeout: 3_000 });
    } finally {
      await network.close();
    }
  });

  test("changing its tools: within five seconds the list is the last one, then the new one; what is gone is refused by the peer", async () => {
    let tools = ["old"];
    const network = await HttpNetwork.start(
      [echo],
      {
        [peer]: (incoming, outgoing) => {
          readRpc(incoming)
            .then(({ id, method, params }) => {
              const known = method === "tools/list" || tools.includes(String(params["name"]));
              const result = method === "tools/list" ? { tools: tools.map(tool) } : { content: [] };
              const error = { code: -32602, message: `Unknown tool: ${String(params["name"])}` };
              outgoing.setHeader("content-type", "application/json");
              outgoing.end(JSON.stringify({ jsonrpc: "2.0", id, ...(known ? { result } : { error }) }));
            })
            .catch(() => outgoing.writeHead(404).end());
        },
      },
      limits,
      exchange,
    );
    vi.useFakeTimers({ toFake: ["Date"] });
    try {
      const names = async () => namesOf(await network.ask(era, "tools/list")).slice(own.length);
      expect(await names()).toEqual(["globex-compute.old"]);
      tools = ["new"];
      expect(await names()).toEqual(["globex-compute.old"]);
      vi.setSystemTime(Date.now() + 5_000);
      expect(await names()).toEqual(["globex-compute.new"]);
      const gone = await network.ask(era, "tools/call", { name: "globex-compute.old", arguments: {} });
      expect(gone.message.error).toMatchObject({ code: -32602, message: "Unknown tool: old" });
    } finally {
      vi.useRealTimers();
      await network.close();
    }
  });

  test("ejected after three faults: then it answers at once, with its stale list, until when it is left alone", async () => {
    let well = true;
    const network = await HttpNetwork.start(
      [echo],
      {
        [peer]: (incoming, outgoing) => {
          readRpc(incoming)
            .then(({ id }) => {
              if (!well) return void outgoing.writeHead(500).end();
              outgoing.setHeader("content-type", "application/json");
              outgoing.end(JSON.stringify({ jsonrpc: "2.0", id, result: { tools: [tool("echo")] } }));
            })
            .catch(() => outgoing.writeHead(404).end());
        },
      },
      limits,
      exchange,
    );
    const call = async () => await network.ask(era, "tools/call", { name: "globex-compute.echo", arguments: {} });
    vi.useFakeTimers({ toFake: ["Date"] });
    try {
      await network.ask(era, "tools/list");
      vi.setSystemTime(Date.now() + 6_000);
      well = false;
      for (let n = 0; n < 3; n += 1) expect((await call()).message.error?.code).toBe(502);
      const asked = network.requests.get(peer)?.length;
      const refused = (await call()).message.error;
      expect(refused).toMatchObject({ code: 503, data: { peer, retryable: true, retryAfterSeconds: 1 } });
      expect(refused?.message).toMatch(/^globex\/compute failed repeatedly and is not asked again until .*Z \(1 s\)$/);
      const list = await network.ask(era, "tools/list");
      expect(namesOf(list)).toEqual([...own, "globex-compute.echo"]);
      expect(list.message.result?.["_meta"][peersKey]).toEqual([
        { node: peer, status: "stale", ageMs: expect.any(Number), error: refused?.message },
      ]);
      expect(network.requests.get(peer)?.length, "left alone").toBe(asked);

      well = true;
      vi.setSystemTime(Date.now() + 1_000);
      expect((await call()).message.error, "the probe").toBeUndefined();
      expect((await call()).message.error).toBeUndefined();
    } finally {
      vi.useRealTimers();
      await network.close();
    }
  });
});

test("docs/resilience.md shows this table", () => {
  const page = readFileSync(new URL("../../../../docs/resilience.md", import.meta.url), "utf8");
  // The formatter pads cells and rules.
  expect(page.replace(/ +/g, " ").replace(/-{3,}/g, "---")).toContain(table());
});

function checkList({ list }: Behaviour, { status, message, ms }: Answer, era: Era): void {
  expect({ status, error: message.error }).toEqual({ status: 200, error: undefined });
  expect(namesOf({ message })).toEqual([...own, ...others, ...(list === "ok" ? ["globex-compute.echo"] : [])]);
  const reports = message.result?.["_meta"][peersKey] as readonly { error?: string }[];
  expect(reports.map((report) => (report.error ? { ...report, error: timeless(report.error) } : report))).toEqual([
    { node: "acme/data", status: "ok" },
    list === "ok"
      ? { node: peer, status: "ok" }
      : { node: peer, status: "failed", error: timeless(`${peer} ${list.failed}`) },
  ]);
  expect(message.result?.["resultType"]).toBe(era === "modern" ? "complete" : undefined);
  expect(ms).toBeLessThan(listBudget + slack);
}

function checkCall({ call }: Behaviour, { message, ms }: Answer, era: Era): void {
  expect(ms).toBeLessThan(callDeadline + slack);
  if (call === "ok") {
    expect(message.result).toMatchObject({
      content: [{ type: "text", text: "hi" }],
      _meta: { [peersKey]: [{ node: peer, status: "ok" }] },
      ...(era === "modern" && { resultType: "complete" }),
    });
  } else {
    expect({ ...message.error, message: timeless(String(message.error?.message)) }).toEqual({
      code: call.code,
      message: timeless(`${peer} ${call.message}`),
      data: { peer, retryable: true },
    });
  }
}

/** The time that a request had is its budget less what went by before it was sent. */
function timeless(text: string): string {
  return text.replace(/within [\d.]+ s/, "in time");
}

/** A call to the healthy peer while the other one does what it does. */
async function besides(network: HttpNetwork, era: Era): Promise<Answer> {
  const answer = await network.ask(era, "tools/call", { name: "acme-data.list_meetings", arguments: {} });
  expect(answer.message.result?.["structuredContent"]).toEqual({ meetings: [] });
  return answer;
}

function tries(network: HttpNetwork, method: string): number {
  return network.requests.get(peer)?.filter((seen) => seen === method).length ?? 0;
}

function namesOf({ message }: Pick<Answer, "message">): readonly string[] {
  return (message.result?.["tools"] as { name: string }[] | undefined)?.map(({ name }) => name) ?? [];
}
