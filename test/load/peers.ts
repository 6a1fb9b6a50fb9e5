/**
 * Lists through one node with many peers, on this machine: `npm run bench:peers [-- --peers 200] [--rounds 30]`.
 * Every peer has 20 tools; 5 % of the peers are dead and 5 % slow. The peers are played by this process, so times are upper bounds.
 * Ends with status 1 when a list is not complete, or takes longer than the list budget and a half.
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { defaultLimits } from "../../functions/node/federation/limits.ts";
import { expectedNames, largeNetwork, listAll } from "../functions/node/scale/large-network.ts";

const { values } = parseArgs({
  options: { peers: { type: "string", default: "200" }, rounds: { type: "string", default: "30" } },
});
const [peers, rounds] = [Number(values.peers), Number(values.rounds)];
const { listBudget } = defaultLimits;
setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
const say = (what: string, figure: string) => process.stdout.write(`${what.padEnd(44)} ${figure}\n`);
for (const level of ["log", "error"] as const) console[level] = () => undefined;

let faults = 0;
const { network, healthy, slow, dead } = await largeNetwork(peers, listBudget);
const expected = expectedNames(healthy);
say("peers: healthy, slow, dead", `${healthy.length}, ${slow.length}, ${dead.length}`);
const before = memory();

const first = await listed("first list");
const after = memory();
say("entries, pages, size", `${first.names.length}, ${first.pages}, ${(first.size / 1024).toFixed(0)} KiB`);
await listed("second list (slow peers are asked again)");
await listed("third list (then they are ejected)");
report("later lists, cached parts", await many(rounds, 0));
report("lists after 6 s, all parts asked again", await many(3, 6_000));
const end = memory();
say(
  "memory in use: before, after the first, at the end",
  [before, after, end].map((mib) => `${mib.toFixed(1)} MiB`).join(", "),
);
await network.close();
process.exit(faults === 0 ? 0 : 1);

async function listed(what: string) {
  const list = await checked();
  say(
    what,
    `${list.ms.toFixed(0)} ms: ${list.ok.length + list.cached.length} peers listed, ${list.failed.length} failed`,
  );
  return list;
}

async function many(times: number, pause: number): Promise<number[]> {
  const took: number[] = [];
  for (let n = 0; n < times; n += 1) {
    if (pause > 0) await new Promise((done) => setTimeout(done, pause));
    took.push((await checked()).ms);
  }
  return took.toSorted((a, b) => a - b);
}

async function checked() {
  const list = await listAll(network, "modern");
  const complete = list.names.length === expected.length && list.names.every((name, n) => name === expected[n]);
  if (!complete || list.ms > listBudget * 1.5) {
    faults += 1;
    say(
      "FAULT",
      `${complete ? "complete" : `${list.names.length} of ${expected.length} entries`}, ${list.ms.toFixed(0)} ms`,
    );
  }
  return list;
}

function report(what: string, took: readonly number[]): void {
  const at = (share: number) => (took[Math.min(took.length - 1, Math.floor(took.length * share))] as number).toFixed(1);
  say(what, `median ${at(0.5)} ms, most ${at(1)} ms`);
}

function memory(): number {
  collect();
  return process.memoryUsage().heapUsed / 2 ** 20;
}
