import fc from "fast-check";
import { expect, test } from "vitest";
import { page } from "../../../../functions/node/protocol/page.ts";

const parts = fc
  .uniqueArray(fc.string({ maxLength: 3 }), { maxLength: 5 })
  .chain((keys) =>
    fc.tuple(
      ...keys
        .toSorted()
        .map((key) =>
          fc
            .uniqueArray(fc.string({ maxLength: 4 }), { maxLength: 6 })
            .map((names) => ({ key, entries: names.map((name) => ({ name })) })),
        ),
    ),
  );

function walk(lists: readonly Parameters<typeof page>[1][], size: number): string[] {
  const seen: string[] = [];
  let cursor: string | undefined;
  for (let n = 0; ; n += 1) {
    const list = lists[Math.min(n, lists.length - 1)]!;
    const { entries, nextCursor } = page("tools/list", list, cursor, size);
    seen.push(...entries.map(({ name }) => String(name)));
    if (nextCursor === undefined) return seen;
    cursor = nextCursor;
  }
}

test("pages give what the list gives, in its order", () => {
  fc.assert(
    fc.property(parts, fc.integer({ min: 1, max: 4 }), (list, size) => {
      expect(walk([list], size)).toEqual(list.flatMap(({ entries }) => entries.map(({ name }) => name)));
    }),
  );
});

test("what stays is shown once, whoever comes and goes between two pages", () => {
  fc.assert(
    fc.property(parts, fc.nat(), fc.integer({ min: 1, max: 4 }), (list, which, size) => {
      const gone = list.filter((_, n) => n !== which % Math.max(1, list.length));
      for (const lists of [
        [list, gone],
        [gone, list],
      ]) {
        const seen = walk(lists, size);
        const staying = gone.flatMap(({ entries }) => entries.map(({ name }) => name));
        const counted = (names: readonly string[], name: string) => names.filter((other) => other === name).length;
        for (const name of staying) expect(counted(seen, name)).toBeGreaterThanOrEqual(counted(staying, name));
      }
    }),
  );
});

test.each(["x", "W10=", 7, {}])("the cursor %o is nobody's", (cursor) => {
  expect(() => page("tools/list", [], cursor)).toThrow("tools/list: unknown cursor");
});
