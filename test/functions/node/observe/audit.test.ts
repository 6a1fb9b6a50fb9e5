import { expect, test, vi } from "vitest";
import { Audit, type AuditRecord } from "../../../../functions/node/observe/audit.ts";
import { memoryState } from "../../../../functions/node/state/memory.ts";
import type { State } from "../../../../functions/node/state/state.ts";

function record(name: string): AuditRecord {
  const call = { callId: name, node: "acme/edge", direction: "out", method: "tools/call", name, subject: "ada@acme" };
  return { ...call, time: "2026-11-22T00:00:00Z", via: [], decision: "allow", outcome: "ok", ms: 1 } as AuditRecord;
}

/** An audit whose state counts writes, and takes `delay` milliseconds for each. */
function open(delay = 0, broken = false) {
  const memory = memoryState();
  const writes: number[] = [];
  const slowly = async <T>(count: number, work: () => Promise<T>): Promise<T> => {
    writes.push(count);
    await new Promise((done) => setTimeout(done, delay));
    if (broken) throw new Error("the disk is full");
    return await work();
  };
  const state: State = {
    ...memory,
    append: async (log, value, options) => await slowly(1, async () => await memory.append(log, value, options)),
    appendAll: async (log, values, options) =>
      await slowly(values.length, async () => await memory.appendAll(log, values, options)),
  };
  const printed: string[] = [];
  const work: Promise<unknown>[] = [];
  const audit = new Audit({
    state,
    waitUntil: (promise) => void work.push(promise),
    print: (lines) => void printed.push(...lines),
  });
  const names = async () =>
    (await memory.list("audit/", { limit: 1000 })).entries.map(({ value }) => (value as unknown as AuditRecord).name);
  return { audit, writes, printed, names, work };
}

test("records that nobody waits for are stored together, in order, each on a line", async () => {
  const { audit, writes, printed, names } = open();
  const expected = Array.from({ length: 50 }, (_, n) => `tool-${n}`);
  await Promise.all(expected.map(async (name) => await audit.writeLater(record(name))));
  expect(writes).toEqual([50]);
  expect(await names()).toEqual(expected);
  expect(printed.map((line) => (JSON.parse(line) as { audit: AuditRecord }).audit.name)).toEqual(expected);
});

test("a record that is waited for is stored at once, with those that wait", async () => {
  const { audit, writes, names } = open();
  const later = audit.writeLater(record("later"));
  await audit.write(record("now"));
  expect(await names()).toEqual(["later", "now"]);
  expect(writes).toEqual([2]);
  await later;
});

test("while one write is under way the next ones gather", async () => {
  const { audit, writes, names } = open(20);
  await Promise.all(Array.from({ length: 30 }, async (_, n) => await audit.write(record(String(n)))));
  expect(writes).toEqual([1, 29]);
  expect(await names()).toEqual(Array.from({ length: 30 }, (_, n) => String(n)));
});

test("a loss rejects for who waits and is logged for who does not", async () => {
  const { audit, printed } = open(0, true);
  const logged = vi.spyOn(console, "error").mockImplementation(() => undefined);
  const later = audit.writeLater(record("later"));
  await expect(audit.write(record("now"))).rejects.toThrow("the disk is full");
  await later;
  expect(logged.mock.calls.flat()).toEqual([expect.stringContaining('"callId":"later"')]);
  expect(printed, "the records themselves were printed before").toHaveLength(2);
  await expect(audit.write(record("again")), "and the next one is tried").rejects.toThrow("the disk is full");
  logged.mockRestore();
});

test("what was handed over is kept alive beyond the request that brought it", async () => {
  const { audit, work, names } = open(10);
  void audit.write(record("a")).catch(() => undefined);
  expect(work).toHaveLength(1);
  await Promise.all(work);
  expect(await names()).toEqual(["a"]);
});
