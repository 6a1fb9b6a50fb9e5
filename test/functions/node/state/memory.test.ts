import { expect, test } from "vitest";
import { memoryState } from "../../../../functions/node/state/memory.ts";
import { scopedState } from "../../../../functions/node/state/scoped.ts";
import { stateContract } from "../../../conformance/state-contract.ts";

stateContract("memory", async () => memoryState());

test("a scope reaches nothing outside, and nothing outside reaches it by accident", async () => {
  const whole = memoryState();
  const [one, two] = [scopedState(whole, "fn/one/"), scopedState(whole, "fn/two/")];
  await whole.put("manifest", "secret");
  await one.put("a", 1);
  await two.put("a", 2);
  await two.append("log", "x");
  expect(await one.get("a")).toEqual({ key: "a", value: 1, version: 1 });
  expect((await one.list("")).entries.map(({ key }) => key)).toEqual(["a"]);
  expect((await two.list("")).entries.map(({ key }) => key)).toEqual(["a", "log/0000000000000001"]);
  expect(await one.get("../../manifest")).toBeUndefined();
  expect((await whole.list("")).entries.map(({ key }) => key)).toEqual([
    "fn/one/a",
    "fn/two/a",
    "fn/two/log/0000000000000001",
    "manifest",
  ]);
});
