import fc from "fast-check";
import { afterAll, beforeAll, test, vi } from "vitest";
import { cases } from "./cases.ts";
import { found } from "./found.ts";
import { check } from "./oracle.ts";
import { makeWorld, type World } from "./world.ts";

let world: World;
beforeAll(async () => {
  for (const level of ["log", "error"] as const) vi.spyOn(console, level).mockImplementation(() => undefined);
  world = await makeWorld();
});
afterAll(() => vi.restoreAllMocks());

test.each(Object.entries(found))("found before: %s", async (_, given) => await check(world, given));

test("whatever comes, the node answers and keeps its promises", async () => {
  await fc.assert(
    fc.asyncProperty(cases, async (given) => await check(world, given)),
    { numRuns: 2_000 },
  );
});
