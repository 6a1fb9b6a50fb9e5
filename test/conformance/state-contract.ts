import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { logKey, maxKeyLength, maxValueBytes } from "../../functions/node/state/state.ts";
import type { Json, State } from "../../functions/node/state/state.ts";
import { StateModel } from "./state-model.ts";

const timeout = 30_000;
/** Longer than the 1 second TTLs below, with room for the clock of another process. */
const pastOneSecond = (): Promise<void> => new Promise((done) => setTimeout(done, 1150));
/** Matched by name and not by class: a store behind HTTP has its own copy of the class. */
const refusal = expect.objectContaining({ name: "StateError" });

/** Registers the contract of {@link State}. `open` answers an empty store each time; some 310 operations in all. */
export function stateContract(name: string, open: () => Promise<State>): void {
  describe(`state contract: ${name}`, { timeout }, () => {
    describe("get and put", () => {
      test("an absent key is undefined, a written one has its value and version", async () => {
        const state = await open();
        expect(await state.get("a")).toBeUndefined();
        expect(await state.put("a", { n: 1 })).toBe(1);
        expect(await state.get("a")).toEqual({ key: "a", value: { n: 1 }, version: 1 });
        const second = await state.put("a", [2]);
        expect(second).toBeGreaterThan(1);
        expect(await state.get("a")).toEqual({ key: "a", value: [2], version: second });
        expect(await state.put("A", 1), "keys are case sensitive").toBe(1);
      });

      test("every JSON value comes back as it was written", async () => {
        const state = await open();
        const scalars: Json = [null, true, false, 0, -1, 0.1, 1e300, 5e-324, Number.MAX_SAFE_INTEGER, "", [], {}];
        const texts: Json = [
          "\u0000",
          "\u001f\u007f",
          "\ud800 alone",
          "\udc00",
          "'\"\\`%_--;",
          "é ß 漢字 👩‍👩‍👧",
          "\u2028\r\n",
          "e\u0301",
        ];
        const objects: Json = { "": 1, b: { a: [[], [{}]] }, "a.b/c": null, __proto__x: 1, é: "\u0000" };
        for (const value of [null, false, scalars, texts, objects]) {
          await state.put("value", value);
          expect((await state.get("value"))?.value).toEqual(value);
        }
      });

      test("concurrent puts all count: each answers a version of its own, the highest one stays", async () => {
        const state = await open();
        const versions = await Promise.all(Array.from({ length: 6 }, (_, n) => state.put("a", n)));
        expect(new Set(versions).size).toBe(6);
        const last = Math.max(...versions);
        expect(await state.get("a")).toEqual({ key: "a", value: versions.indexOf(last), version: last });
      });
    });

    describe("limits", () => {
      test("keys of 1 to 512 allowed characters are taken, others refused by every method", async () => {
        const state = await open();
        const longest = "k".repeat(maxKeyLength);
        await state.put(longest, 1);
        await state.put("Az09._:/@-", 2);
        expect((await state.get(longest))?.value).toBe(1);
        expect((await state.list("")).entries.map((entry) => entry.key)).toEqual(["Az09._:/@-", longest]);
        for (const key of ["", `${longest}k`, "a b", "é", "a\n", "a%", "a*", "a\\", "a\u0000"]) {
          await expect(state.put(key, 1), JSON.stringify(key)).rejects.toEqual(refusal);
        }
        await expect(state.get("a b")).rejects.toEqual(refusal);
        await expect(state.cas("a b", 0, 1)).rejects.toEqual(refusal);
        await expect(state.append("a b", 1)).rejects.toEqual(refusal);
      });

      test("the whole key of an appended value counts", async () => {
        const state = await open();
        const longest = "l".repeat(maxKeyLength - logKey("", 0).length);
        expect(await state.append(longest, 1)).toHaveLength(maxKeyLength);
        await expect(state.append(`${longest}l`, 1)).rejects.toEqual(refusal);
      });

      test("values are measured in bytes of JSON text: 64 KiB is taken, one byte more is refused", async () => {
        const state = await open();
        const largest = "v".repeat(maxValueBytes - 2);
        const wide = "é".repeat(maxValueBytes / 2 - 1);
        for (const value of [largest, wide]) {
          await state.put("big", value);
          expect((await state.get("big"))?.value === value).toBe(true);
          await expect(state.put("big", `${value}v`)).rejects.toEqual(refusal);
          await expect(state.cas("none", 0, `${value}v`)).rejects.toEqual(refusal);
          await expect(state.append("log", `${value}v`)).rejects.toEqual(refusal);
        }
        expect((await state.get("big"))?.value === wide, "a refused write changes nothing").toBe(true);
        expect(await state.get("none")).toBeUndefined();
        expect((await state.list("log/")).entries).toEqual([]);
      });

      test("a TTL that is not above 0 and a page size outside 1 to 1000 are refused", async () => {
        const state = await open();
        for (const ttlSeconds of [0, Number.NaN]) {
          await expect(state.put("a", 1, { ttlSeconds })).rejects.toEqual(refusal);
          await expect(state.cas("a", 0, 1, { ttlSeconds })).rejects.toEqual(refusal);
          await expect(state.append("a", 1, { ttlSeconds })).rejects.toEqual(refusal);
        }
        for (const limit of [0, 1.5, 1001]) await expect(state.list("", { limit })).rejects.toEqual(refusal);
        expect(await state.list("", { limit: 1000 })).toEqual({ entries: [] });
      });
    });

    describe("cas", () => {
      test("writes only over the version that was expected, 0 for an absent key", async () => {
        const state = await open();
        expect(await state.cas("a", 1, "early")).toBeUndefined();
        expect(await state.get("a")).toBeUndefined();
        expect(await state.cas("a", 0, "first")).toBe(1);
        expect(await state.cas("a", 0, "again")).toBeUndefined();
        const second = (await state.cas("a", 1, "second")) ?? 0;
        expect(second).toBeGreaterThan(1);
        expect(await state.cas("a", 1, "late")).toBeUndefined();
        expect(await state.cas("a", second + 1, "ahead")).toBeUndefined();
        expect(await state.get("a")).toEqual({ key: "a", value: "second", version: second });
        await state.put("a", "put");
        expect(await state.cas("a", second, "lost"), "a put counts as a write").toBeUndefined();
      });

      test("of many at once exactly one wins, on an absent key and on a present one", async () => {
        const state = await open();
        for (let expected = 0, round = 0; round < 2; round += 1) {
          const answers = await Promise.all(Array.from({ length: 8 }, (_, n) => state.cas("a", expected, n)));
          const won = answers.flatMap((version, n) => (version === undefined ? [] : [{ key: "a", value: n, version }]));
          expect(won).toHaveLength(1);
          expect(await state.get("a")).toEqual(won[0]);
          expected = won[0]?.version ?? 0;
        }
      });
    });

    describe("appendAll", () => {
      test("appends each value in order, among others that append one by one", async () => {
        const state = await open();
        const first = await state.append("batch", "one");
        await state.appendAll("batch", ["two", { three: 3 }, "\u0000"], { ttlSeconds: 600 });
        await Promise.all([
          state.appendAll(
            "batch",
            Array.from({ length: 20 }, (_, n) => n),
          ),
          state.append("batch", "between"),
          state.appendAll(
            "batch",
            Array.from({ length: 20 }, (_, n) => n + 20),
          ),
        ]);
        const { entries } = await state.list("batch/", { limit: 1000 });
        expect(entries[0]).toEqual({ key: first, value: "one", version: 1 });
        expect(entries.slice(1, 4).map(({ value }) => value)).toEqual(["two", { three: 3 }, "\u0000"]);
        expect(entries).toHaveLength(45);
        expect(new Set(entries.map(({ key }) => key)).size).toBe(45);
        const numbers = entries.map(({ value }) => value).filter((value) => typeof value === "number");
        expect(
          numbers.filter((value) => value < 20),
          "a batch keeps its order",
        ).toEqual(Array.from({ length: 20 }, (_, n) => n));
        expect((await state.append("batch", "last")) > (entries.at(-1)?.key ?? "")).toBe(true);
      });

      test("none is appended when one cannot be", async () => {
        const state = await open();
        const tooLarge = "v".repeat(maxValueBytes);
        await expect(state.appendAll("all-or-none", [1, tooLarge])).rejects.toEqual(refusal);
        expect((await state.list("all-or-none/")).entries).toEqual([]);
      });
    });

    describe("append", () => {
      test("keys are the log's name and a growing sequence of 16 digits", async () => {
        const state = await open();
        const keys = [await state.append("log", "x"), await state.append("log", "y"), await state.append("log", "z")];
        for (const key of keys) expect(key).toMatch(/^log\/\d{16}$/);
        expect(keys.toSorted()).toEqual(keys);
        expect(new Set(keys).size).toBe(3);
        const { entries } = await state.list("log/");
        expect(entries).toEqual(keys.map((key, n) => ({ key, value: ["x", "y", "z"][n], version: 1 })));
        expect(await state.get(keys[1] ?? "")).toEqual(entries[1]);
      });

      test("logs do not mix, even where one name starts with another", async () => {
        const state = await open();
        await state.append("log", 1);
        await state.append("log-2", 2);
        await state.append("log/sub", 3);
        const values = async (prefix: string): Promise<Json[]> =>
          (await state.list(prefix)).entries.map((entry) => entry.value);
        expect(await values("log-2/")).toEqual([2]);
        expect(await values("log/sub/")).toEqual([3]);
        expect(await values("log/0")).toEqual([1]);
      });

      test("of many at once none is lost and no sequence is given twice", async () => {
        const state = await open();
        const keys = await Promise.all(Array.from({ length: 8 }, (_, n) => state.append("log", n)));
        expect(new Set(keys).size).toBe(8);
        const { entries } = await state.list("log/");
        expect(entries.map((entry) => entry.key)).toEqual(keys.toSorted());
        for (const entry of entries) expect(keys[entry.value as number]).toBe(entry.key);
        expect((await state.append("log", "last")) > (keys.toSorted().at(-1) ?? "")).toBe(true);
      });
    });

    describe("list", () => {
      test("sorts in code-unit order and takes the prefix literally", async () => {
        const state = await open();
        const sorted = ["p", "p-", "p.", "p/", "p0", "p9", "p:", "p@", "pA", "pZ", "p_", "p_a", "pa", "pz"];
        const outside = ["P", "o", "q", "P_a"];
        await Promise.all([...outside, ...sorted.toReversed()].map((key) => state.put(key, key)));
        const keys = async (prefix: string): Promise<string[]> =>
          (await state.list(prefix)).entries.map((entry) => entry.key);
        expect(await keys("p")).toEqual(sorted);
        expect(await keys("p_"), "an underscore is no wildcard").toEqual(["p_", "p_a"]);
        expect(await keys("P"), "case matters").toEqual(["P", "P_a"]);
        expect(await keys("pz/")).toEqual([]);
        expect(await keys("")).toEqual([...sorted, ...outside].toSorted((a, b) => (a < b ? -1 : 1)));
      });

      test("pages of 100 by default; `next` leads on and is absent on the last page", async () => {
        const state = await open();
        const keys = Array.from({ length: 101 }, (_, n) => `page/${String(n).padStart(3, "0")}`);
        for (let n = 0; n < keys.length; n += 10)
          await Promise.all(keys.slice(n, n + 10).map((key) => state.put(key, key)));
        await state.put("pagf", "outside");
        const first = await state.list("page/");
        expect(first.entries.map((entry) => entry.key)).toEqual(keys.slice(0, 100));
        const second = await state.list("page/", { after: first.next ?? "" });
        expect(second.entries.map((entry) => entry.key)).toEqual(keys.slice(100));
        expect(second.next).toBeUndefined();
        const whole = await state.list("page/", { limit: 101 });
        expect(whole.entries).toHaveLength(101);
        expect(whole.next, "a full page that is the last one has no next").toBeUndefined();
        expect((await state.list("page/", { limit: 100 })).next).toBe(keys[99]);
        expect(whole.entries[7]).toEqual({ key: keys[7], value: keys[7], version: 1 });
      });

      test("`after` is exclusive and need not exist", async () => {
        const state = await open();
        for (const key of ["a", "l/1", "l/3", "l/5", "z"]) await state.put(key, 0);
        const after = async (key: string): Promise<string[]> =>
          (await state.list("l/", { after: key })).entries.map((entry) => entry.key);
        expect(await after("l/1")).toEqual(["l/3", "l/5"]);
        expect(await after("l/2")).toEqual(["l/3", "l/5"]);
        expect(await after("a")).toEqual(["l/1", "l/3", "l/5"]);
        expect(await after("l/5")).toEqual([]);
        expect(await after("z")).toEqual([]);
      });
    });

    describe("expiry", () => {
      test("an expired entry is absent for every method, and its key starts anew at version 1", async () => {
        const state = await open();
        const brief = { ttlSeconds: 1 };
        await Promise.all([
          ...["t/get", "t/put", "t/cas", "t/cas-old", "t/a", "t/c"].map((key) => state.put(key, "old", brief)),
          state.cas("t/by-cas", 0, "old", brief),
          state.put("t/renewed", "old", brief),
          state.put("t/kept", "old", brief),
        ]);
        const gone = await state.append("t-log", "gone", brief);
        expect((await state.get("t/get"))?.version, "alive until then").toBe(1);
        await state.put("t/renewed", "new", { ttlSeconds: 600 });
        await state.put("t/kept", "new");
        await state.put("t/b", "new", { ttlSeconds: 600 });
        await pastOneSecond();

        expect(await state.get("t/get")).toBeUndefined();
        expect(await state.get("t/by-cas")).toBeUndefined();
        expect(await state.get(gone)).toBeUndefined();
        const page = await state.list("t/", { limit: 3 });
        expect(page.entries.map((entry) => entry.key)).toEqual(["t/b", "t/kept", "t/renewed"]);
        expect(page.next, "expired entries do not make a page").toBeUndefined();
        expect(await state.put("t/put", "again")).toBe(1);
        expect(await state.cas("t/cas-old", 1, "again"), "the old version matches no more").toBeUndefined();
        expect(await state.cas("t/cas", 0, "again")).toBe(1);
        expect(await state.get("t/cas"), "the old TTL is gone with the old entry").toEqual({
          key: "t/cas",
          value: "again",
          version: 1,
        });
        expect((await state.append("t-log", "kept")) > gone, "a sequence is not given twice, even after expiry").toBe(
          true,
        );
        expect((await state.list("t-log/")).entries.map((entry) => entry.value)).toEqual(["kept"]);
      });
    });

    test("behaves like the model under any sequence of commands", async () => {
      const state = await open();
      let runs = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(command, { minLength: 3, maxLength: 8 }), async (commands) => {
          // Each run has keys of its own, so that one store serves them all.
          const root = `run-${++runs}/`;
          const model = new StateModel();
          for (const step of commands) {
            switch (step.do) {
              case "get":
                expect(await state.get(root + step.key)).toEqual(model.get(root + step.key));
                break;
              case "put":
                model.wrote(root + step.key, step.value, await state.put(root + step.key, step.value, step.options));
                break;
              case "cas": {
                const expected = step.right
                  ? model.version(root + step.key)
                  : model.version(root + step.key) + step.off;
                const version = await state.cas(root + step.key, expected, step.value, step.options);
                expect(version !== undefined, `cas of ${step.key} expecting ${expected}`).toBe(step.right);
                if (version !== undefined) model.wrote(root + step.key, step.value, version);
                break;
              }
              case "append":
                model.appended(
                  root + step.log,
                  step.value,
                  await state.append(root + step.log, step.value, step.options),
                );
                break;
              case "list": {
                const after = step.after === undefined ? {} : { after: root + step.after };
                const options = { ...after, limit: step.limit };
                expect(await state.list(root + step.prefix, options)).toEqual(model.list(root + step.prefix, options));
              }
            }
          }
        }),
        { numRuns: 6 },
      );
    });
  });
}

const key = fc.constantFrom("a", "A", "a/b", "a-b", "a_b", "l/0000000000000000", "l:1");
const value = fc
  .jsonValue({ maxDepth: 2, noUnicodeString: false })
  .map((any) => JSON.parse(JSON.stringify(any)) as Json);
const options = fc.constantFrom(undefined, { ttlSeconds: 600 });
const command = fc.oneof(
  fc.record({ do: fc.constant("get" as const), key }),
  fc.record({ do: fc.constant("put" as const), key, value, options }),
  fc.record({
    do: fc.constant("cas" as const),
    key,
    value,
    options,
    right: fc.boolean(),
    off: fc.integer({ min: 1, max: 3 }),
  }),
  fc.record({ do: fc.constant("append" as const), log: fc.constantFrom("m", "m/n"), value, options }),
  fc.record({
    do: fc.constant("list" as const),
    prefix: fc.constantFrom("", "a", "a/", "l", "m/", "m/n/"),
    after: fc.option(key, { nil: undefined }),
    limit: fc.constantFrom(1, 2, 100),
  }),
);
