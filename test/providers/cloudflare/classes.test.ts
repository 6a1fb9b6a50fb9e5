import fc from "fast-check";
import { expect, test } from "vitest";
import { checkBoundClasses, nextClasses } from "../../../providers/cloudflare/emulator/classes.ts";
import type { Classes } from "../../../providers/cloudflare/emulator/classes.ts";

const none: Classes = { namespaces: [] };
const sqlite = { type: "durable-object", storage: "sqlite" };
const after = (now: Classes, metadata: object): Classes => nextClasses("w", now, metadata as Record<string, unknown>);
const names = ({ namespaces }: Classes): string[] => namespaces.map(({ className }) => className);

test("declaring the same exports again changes nothing, and other uploads leave the classes alone", () => {
  const once = after(none, { exports: { A: sqlite, B: sqlite } });
  expect(names(once)).toEqual(["A", "B"]);
  expect(after(once, { exports: { A: sqlite, B: sqlite } })).toEqual(once);
  expect(after(once, {})).toEqual(once);
  expect(after(once, { exports: { default: { type: "worker" } } })).toEqual(once);
});

test("exports rename with the stored objects, and delete only what is declared as deleted", () => {
  const once = after(none, { exports: { A: sqlite, B: sqlite } });
  const renamed = after(once, {
    exports: { A: { type: "durable-object", state: "renamed", renamed_to: "C" }, C: sqlite, B: sqlite },
  });
  expect(names(renamed)).toEqual(["C", "B"]);
  expect(renamed.namespaces[0]!.id).toBe(once.namespaces[0]!.id);
  expect(() => after(renamed, { exports: { B: sqlite } })).toThrow(/'C' has stored objects but is not in `exports`/);
  expect(names(after(renamed, { exports: { B: sqlite, C: { type: "durable-object", state: "deleted" } } }))).toEqual([
    "B",
  ]);
});

test("the kind of storage is declared and never changes", () => {
  expect(() => after(none, { exports: { A: { type: "durable-object" } } })).toThrow(/needs `storage`/);
  const once = after(none, { exports: { A: sqlite } });
  expect(() => after(once, { exports: { A: { type: "durable-object", storage: "legacy-kv" } } })).toThrow(
    /cannot be changed/,
  );
  expect(() => after(once, { exports: { A: sqlite }, migrations: { new_tag: "v1" } })).toThrow(/mutually exclusive/);
});

test("the steps of a migration apply in order", () => {
  const steps = [
    { new_sqlite_classes: ["A", "B"] },
    { renamed_classes: [{ from: "A", to: "C" }] },
    { deleted_classes: ["B"] },
  ];
  const next = after(none, { migrations: { new_tag: "v3", steps } });
  expect(names(next)).toEqual(["C"]);
  expect(next.migrationTag).toBe("v3");
});

test("a migration applies exactly when its old tag is the tag that is there", () => {
  const tag = fc.option(fc.constantFrom("v1", "v2"), { nil: undefined });
  fc.assert(
    fc.property(tag, tag, (there, old) => {
      const now: Classes = { namespaces: [], lifecycle: "migrations", ...(there && { migrationTag: there }) };
      const apply = (): Classes =>
        after(now, { migrations: { ...(old && { old_tag: old }), new_tag: "v9", new_sqlite_classes: ["A"] } });
      if (there === old) expect(apply().migrationTag).toBe("v9");
      else expect(apply).toThrow(expect.objectContaining({ status: 412, code: 10079 }));
    }),
  );
});

test("a binding needs its class", () => {
  const binding = { type: "durable_object_namespace", name: "STATE", class_name: "A" };
  expect(() => checkBoundClasses(none, [binding])).toThrow(expect.objectContaining({ code: 10061 }));
  checkBoundClasses(after(none, { exports: { A: sqlite } }), [binding]);
});
