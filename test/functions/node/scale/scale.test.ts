import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { BoundedMap } from "../../../../functions/node/state/bounded-map.ts";
import { expectedNames, type LargeNetwork, largeNetwork, listAll } from "./large-network.ts";

describe("a network of 200 peers, 5 % dead, 5 % slow", () => {
  const listBudget = 3_000;
  let large: LargeNetwork;
  beforeAll(async () => {
    for (const level of ["log", "error"] as const) vi.spyOn(console, level).mockImplementation(() => undefined);
    large = await largeNetwork(200, listBudget);
    // What is fresh and who is ejected then depends on the tests alone.
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
  });
  afterAll(async () => {
    vi.useRealTimers();
    await large.network.close();
    vi.restoreAllMocks();
  });

  test("is listed whole but for the slow and dead, which are named; each peer is asked once", async () => {
    const { network, healthy, slow, dead } = large;
    const first = await listAll(network, "modern");
    expect(first.names).toEqual(expectedNames(healthy));
    expect(first.ok.length).toBe(healthy.length);
    expect(first.failed.toSorted()).toEqual([...slow, ...dead].toSorted());
    expect(asked(healthy)).toEqual({ most: 1, sum: healthy.length });
  });

  test("is not asked again within five seconds, but for those that failed, and those only until they are ejected", async () => {
    const { network, healthy, slow } = large;
    for (let n = 0; n < 4; n += 1) {
      const later = await listAll(network, "legacy");
      expect(later.names).toEqual(expectedNames(healthy));
      expect(later.cached.length + later.ok.length).toBe(healthy.length);
    }
    expect(asked(slow)).toEqual({ most: 3, sum: 3 * slow.length });
    expect(asked(healthy)).toEqual({ most: 1, sum: healthy.length });
  });

  test("is asked once more when the lists are old", async () => {
    vi.setSystemTime(Date.now() + 6_000);
    const later = await listAll(large.network, "modern");
    expect(later.names).toEqual(expectedNames(large.healthy));
    expect(later.ok.length).toBe(large.healthy.length);
    expect(asked(large.healthy)).toEqual({ most: 2, sum: 2 * large.healthy.length });
  });

  test("leaves nothing open", async () => {
    const { network, healthy, slow } = large;
    await network.settled();
    await expect.poll(() => [...healthy, ...slow].reduce((sum, id) => sum + network.open(id), 0)).toBe(0);
  });

  function asked(peers: readonly string[]) {
    const counts = peers.map(
      (id) => large.network.requests.get(id)?.filter((seen) => seen === "tools/list").length ?? 0,
    );
    return { most: Math.max(...counts), sum: counts.reduce((sum, count) => sum + count, 0) };
  }
});

test("what is kept is bounded by its weight, and what was used longest ago goes first", () => {
  const map = new BoundedMap<string, number>(10, (weight) => weight);
  for (const key of ["a", "b", "c"]) map.set(key, 3);
  map.get("a");
  map.set("d", 4);
  expect(map.keys()).toEqual(["c", "a", "d"]);
  map.set("c", 1);
  map.set("e", 2);
  expect(map.keys()).toEqual(["a", "d", "c", "e"]);
  map.set("huge", 50);
  expect(map.keys()).toEqual(["huge"]);
  map.set("f", 1);
  expect(map.keys()).toEqual(["f"]);
});
