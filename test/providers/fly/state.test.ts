import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { openState } from "../../../providers/fly/state.ts";
import type { SqliteState } from "../../../providers/fly/state.ts";
import { stateContract } from "../../conformance/state-contract.ts";

const folder = mkdtempSync(join(tmpdir(), "fly-state-"));
const opened: SqliteState[] = [];
let files = 0;

function open(path = join(folder, `${++files}.sqlite`)): SqliteState {
  const state = openState(path);
  opened.push(state);
  return state;
}

afterEach(() => {
  for (const state of opened.splice(0)) state.close();
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

stateContract("SQLite (Fly)", async () => open());

describe("SQLite file", () => {
  test("entries, versions and sequences survive closing", async () => {
    const path = join(folder, "kept.sqlite");
    const first = openState(path);
    await first.put("a", 1);
    await first.put("a", 2);
    const key = await first.append("log", "x");
    first.close();
    const second = open(path);
    expect(await second.get("a")).toEqual({ key: "a", value: 2, version: 2 });
    expect((await second.append("log", "y")) > key).toBe(true);
  });

  test("two processes' handles on one file see each other's writes, and one of them wins a cas", async () => {
    const path = join(folder, "shared.sqlite");
    const [a, b] = [open(path), open(path)];
    await a.put("k", "from a");
    expect((await b.get("k"))?.value).toBe("from a");
    const answers = await Promise.all([a.cas("k", 1, "a"), b.cas("k", 1, "b")]);
    expect(answers.filter((version) => version !== undefined)).toEqual([2]);
  });
});
