import fc from "fast-check";
import { beforeEach, expect, test, vi } from "vitest";
import { Circuits } from "../../../../functions/node/federation/circuit.ts";
import { defaultLimits } from "../../../../functions/node/federation/limits.ts";
import { PeerSlots, type Slot } from "../../../../functions/node/federation/peer-slots.ts";

const limits = { ...defaultLimits, perPeer: 2, queuePerPeer: 4, total: 3, queueTotal: 6, wait: 1_000 };
const peer = "globex/compute";
const empty = { underWay: 0, waiting: 0, lanes: 0 };
let circuits: Circuits;
let slots: PeerSlots;

beforeEach(() => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  circuits = new Circuits();
  slots = new PeerSlots(limits, circuits);
});

test("so many at once for a peer, the others in turns by subject", async () => {
  const order: string[] = [];
  const held = [await enter("ada"), await enter("ada")];
  const waiting = ["ada 1", "ada 2", "bob 1", "ada 3"].map(async (name) => {
    const slot = await enter(name.slice(0, 3));
    order.push(name);
    slots.leave(slot);
  });
  expect(slots.load).toEqual({ underWay: 2, waiting: 4, lanes: 1 });
  for (const slot of held) slots.leave(slot);
  await Promise.all(waiting);
  expect(order).toEqual(["ada 1", "bob 1", "ada 2", "ada 3"]);
  expect(slots.load).toEqual(empty);
});

test("a full queue refuses at once, but gives a greedy subject's newest place to another", async () => {
  const held = [await enter("ada"), await enter("ada")];
  const greedy = [1, 2, 3, 4].map(async () => await enter("ada"));
  const last = expect(greedy[3]).rejects.toMatchObject({
    code: 503,
    message: `${peer} is busy: others' requests go before`,
  });
  await expect(enter("ada")).rejects.toMatchObject({
    code: 503,
    message: `${peer} is busy: 4 requests wait for it already`,
    data: { peer, retryable: true },
  });
  const modest = enter("bob");
  await last;
  expect(slots.load.waiting).toBe(4);
  for (const slot of held) slots.leave(slot);
  for (const waiter of [...greedy.slice(0, 3), modest]) slots.leave(await waiter);
  expect(slots.load).toEqual(empty);
});

test("the total is bounded, and a place that falls free goes to any peer that waits", async () => {
  const held = [await enter("ada"), await enter("ada"), await enter("ada", "acme/data")];
  const waiter = enter("ada", "acme/data");
  expect(slots.load).toEqual({ underWay: 3, waiting: 1, lanes: 2 });
  slots.leave(held[0] as Slot);
  slots.leave(await waiter);
  for (const slot of held.slice(1)) slots.leave(slot);
  expect(slots.load).toEqual(empty);
});

test("where the total is the limit, peers take turns: one with many requests does not keep its places", async () => {
  const wide = new PeerSlots({ ...limits, perPeer: 3, queuePerPeer: 5, queueTotal: 9 }, circuits);
  const order: string[] = [];
  const ask = async (of: string) => await wide.enter({ peer: of, subject: "ada", deadline: 30_000 });
  const held = [await ask("slow/one"), await ask("slow/one"), await ask("slow/one")];
  const waiting = ["slow/one", "slow/one", "slow/one", "well/two", "well/two", "else/three"].map(async (of) => {
    const slot = await ask(of);
    order.push(of);
    wide.leave(slot);
  });
  wide.leave(held[0] as Slot);
  await Promise.all(waiting);
  expect(order).toEqual(["slow/one", "well/two", "else/three", "slow/one", "well/two", "slow/one"]);
  for (const slot of held.slice(1)) wide.leave(slot);
  expect(wide.load).toEqual(empty);
});

test("a request refused because everything is full leaves nothing behind", async () => {
  const tight = new PeerSlots({ ...limits, total: 1, queueTotal: 0 }, circuits);
  const held = await tight.enter({ peer, subject: "ada", deadline: 1_000 });
  await expect(tight.enter({ peer: "acme/data", subject: "ada", deadline: 1_000 })).rejects.toMatchObject({
    code: 503,
    message: "acme/data is busy: too many requests to peers wait already",
  });
  expect(tight.load.lanes).toBe(1);
  tight.leave(held);
  expect(tight.load).toEqual(empty);
});

test("who waits too long, or is cancelled, leaves the queue", async () => {
  vi.useFakeTimers();
  try {
    const held = [await enter("ada"), await enter("ada")];
    const late = expect(enter("ada")).rejects.toMatchObject({
      code: 503,
      message: `${peer} is busy: no turn within 1 s`,
    });
    const soon = expect(slots.enter({ peer, subject: "ada", deadline: 200 })).rejects.toMatchObject({
      message: `${peer} is busy: no turn within 0.2 s`,
    });
    const caller = new AbortController();
    const gone = expect(
      slots.enter({ peer, subject: "ada", deadline: 5_000, signal: caller.signal }),
    ).rejects.toMatchObject({ message: "the caller cancelled the request" });
    await expect(
      slots.enter({ peer, subject: "ada", deadline: 5_000, signal: AbortSignal.abort() }),
    ).rejects.toMatchObject({ message: "the caller cancelled the request" });
    caller.abort();
    await gone;
    await vi.advanceTimersByTimeAsync(1_000);
    await Promise.all([late, soon]);
    expect(slots.load.waiting).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
    for (const slot of held) slots.leave(slot);
    expect(slots.load).toEqual(empty);
  } finally {
    vi.useRealTimers();
  }
});

test("an ejection refuses all that wait; then one probe at a time, whatever hangs from before", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  try {
    const held = [await enter("ada"), await enter("ada")];
    const waiting = [1, 2].map(async () => await expect(enter("ada")).rejects.toMatchObject({ code: 503 }));
    for (let n = 0; n < 3; n += 1) circuits.observe(peer, 0, "fault", Date.now(), Date.now());
    slots.leave(held[0] as Slot);
    await Promise.all(waiting);
    await expect(enter("ada")).rejects.toMatchObject({ message: expect.stringContaining("not asked again until") });
    vi.setSystemTime(Date.now() + 1_000);
    const probe = await enter("ada");
    await expect(enter("bob")).rejects.toMatchObject({
      message: expect.stringContaining("until the request that probes"),
    });
    circuits.observe(peer, probe.epoch, "answer", Date.now(), Date.now());
    slots.leave(probe);
    const two = [await enter("ada"), await enter("bob")];
    for (const slot of [...two, held[1] as Slot]) slots.leave(slot);
    expect(slots.load).toEqual(empty);
  } finally {
    vi.useRealTimers();
  }
});

test("what a runtime ended without another line is taken back when its time is over: slots, places in the queue, a probe", async () => {
  let now = 1_000_000;
  const swept = new PeerSlots(limits, circuits, () => now);
  const ask = async () => await swept.enter({ peer, subject: "ada", deadline: 3_000 });
  await ask();
  await ask();
  const lost = ask().catch((cause: unknown) => cause);
  expect(swept.load).toEqual({ underWay: 2, waiting: 1, lanes: 1 });
  now += 4_100;
  const [next, other] = [await ask(), await ask()];
  expect(swept.load).toEqual({ underWay: 2, waiting: 0, lanes: 1 });
  swept.leave(next);
  swept.leave(next);
  swept.leave(other);
  expect(swept.load).toEqual(empty);

  for (let n = 0; n < 3; n += 1) circuits.observe(peer, 0, "fault", now, now);
  now += 1_000;
  await ask();
  await expect(ask()).rejects.toMatchObject({ code: 503 });
  now += 4_100;
  swept.leave(await ask());
  expect(swept.load).toEqual(empty);
  await lost;
});

test("whatever comes and goes, the bounds hold and nothing is left over", async () => {
  const peers = ["a/a", "b/b", "c/c"];
  const step = fc.oneof(
    fc.record({
      do: fc.constant("enter" as const),
      peer: fc.constantFrom(...peers),
      subject: fc.constantFrom("x", "y", "z"),
    }),
    fc.record({ do: fc.constant("leave" as const), nth: fc.nat(10) }),
    fc.record({ do: fc.constant("abort" as const), nth: fc.nat(10) }),
    fc.record({ do: fc.constant("fault" as const), peer: fc.constantFrom(...peers) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 80 }), async (steps) => {
      const tried = new PeerSlots(limits, (circuits = new Circuits()));
      const held: Slot[] = [];
      const callers = new Set<AbortController>();
      const all: Promise<void>[] = [];
      const underWay = (of: string) =>
        held.filter(({ peer, epoch }) => peer === of && epoch === circuits.allowance(of, Date.now()).epoch);
      for (const now of steps) {
        if (now.do === "enter") {
          const caller = new AbortController();
          callers.add(caller);
          const request = { peer: now.peer, subject: now.subject, deadline: 5_000, signal: caller.signal };
          all.push(
            tried
              .enter(request)
              .then(
                (slot) => void held.push(slot),
                () => undefined,
              )
              .finally(() => callers.delete(caller)),
          );
        } else if (now.do === "leave") {
          const [slot] = held.splice(now.nth % (held.length || 1), 1);
          if (slot) tried.leave(slot);
        } else if (now.do === "abort") [...callers][now.nth % (callers.size || 1)]?.abort();
        else
          circuits.observe(now.peer, circuits.allowance(now.peer, Date.now()).epoch, "fault", Date.now(), Date.now());
        for (let n = 0; n < 4; n += 1) await Promise.resolve();
        const { load } = tried;
        expect(load.underWay).toBe(held.length);
        expect(load.underWay).toBeLessThanOrEqual(limits.total);
        expect(load.waiting).toBeLessThanOrEqual(limits.queueTotal);
        for (const peer of peers) expect(underWay(peer).length).toBeLessThanOrEqual(limits.perPeer);
      }
      for (const caller of callers) caller.abort();
      while (held.length > 0) tried.leave(held.pop() as Slot);
      await Promise.all(all);
      while (held.length > 0) tried.leave(held.pop() as Slot);
      expect(tried.load).toEqual(empty);
    }),
    { numRuns: 200 },
  );
});

async function enter(subject: string, of: string = peer): Promise<Slot> {
  return await slots.enter({ peer: of, subject, deadline: 30_000 });
}
