/**
 * Fuzzes a node for a while: `npm run fuzz -- --seconds 600 [--seed 42]`. Ends with status 1 and a case to keep when one is found.
 * Also ends with status 1 when the memory in use has grown by more than 64 MiB between the first minute (or tenth) and the end.
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { cases } from "./cases.ts";
import { check } from "./oracle.ts";
import { makeWorld } from "./world.ts";

const { values } = parseArgs({ options: { seconds: { type: "string", default: "60" }, seed: { type: "string" } } });
const seconds = Number(values.seconds);
if (!(seconds > 0)) throw new Error(`--seconds is ${values.seconds}; it must be a number above 0`);
setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
const say = (text: string) => process.stdout.write(`${text}\n`);

const started = Date.now();
const elapsed = () => (Date.now() - started) / 1000;
let seed = values.seed === undefined ? started % 2 ** 31 : Number(values.seed);
const world = await makeWorld();
let checked = 0;
let base: number | undefined;
while (elapsed() < seconds) {
  const result = await fc.check(
    fc.asyncProperty(cases, async (given) => {
      await check(world, given);
      checked += 1;
    }),
    {
      seed,
      numRuns: 1_000,
      interruptAfterTimeLimit: Math.max(1, (seconds - elapsed()) * 1000),
      markInterruptAsFailure: false,
    },
  );
  // Interrupted before its first case, a run counts as failed too.
  if (result.counterexample !== null) {
    say(`seed ${result.seed}, path ${result.counterexamplePath}, after ${result.numShrinks} shrinks:`);
    say(JSON.stringify(result.counterexample?.[0], null, 2));
    say(String(result.errorInstance));
    process.exit(1);
  }
  seed = (seed + 1) % 2 ** 31;
  collect();
  const heap = process.memoryUsage().heapUsed / 2 ** 20;
  if (elapsed() > Math.min(60, seconds / 10)) base ??= heap;
  say(`${Math.round(elapsed())} s: ${checked} cases, ${heap.toFixed(0)} MiB in use`);
  if (base !== undefined && heap > base + 64) {
    say(`memory grew from ${base.toFixed(0)} to ${heap.toFixed(0)} MiB`);
    process.exit(1);
  }
}
say(`${checked} cases in ${Math.round(elapsed())} s, nothing found`);
process.exit(0);
