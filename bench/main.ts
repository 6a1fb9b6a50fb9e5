import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { badPeers } from "./bad-peers.ts";
import { measure, type Sample, scenarios } from "./measure.ts";
import { BenchNetwork } from "./network.ts";
import { report } from "./report.ts";
import { startSystem, startUpstream, type System, systemNames, type SystemName } from "./systems.ts";

const usage = `Usage: npm run bench:gateway -- [options]
  --only a,b       systems to measure beside nginx: node, deno, workerd (default: all)
  --scenario a,b   of: ${scenarios.map(({ name }) => name).join(", ")} (default: all), or bad-peers
  --rounds n       interleaved rounds, of which the medians are shown (default 5)
  --seconds n      duration of one measurement (default 4)
`;

const root = join(import.meta.dirname, "..");

await main().catch((error: unknown) => {
  console.error(error instanceof Error && !process.env["DEBUG"] ? `bench: ${error.message}` : error);
  process.exitCode = 1;
});

async function main(): Promise<void> {
  const options = readOptions();
  if (!options) return;
  await install();
  const folder = mkdtempSync(join(tmpdir(), "bench-"));
  const upstream = await startUpstream(root, folder);
  const systems: System[] = [];
  try {
    const network = await BenchNetwork.make();
    for (const name of options.systems)
      systems.push(await startSystem(name, { root, folder, upstream: upstream.url, network }));
    const place = { folder, upstream: upstream.url, network };
    const samples: Sample[] = await measure(systems, options, place);
    const troubles = options.badPeers ? await badPeers(systems, place) : [];
    const date = new Date().toISOString();
    mkdirSync(join(root, "bench/results"), { recursive: true });
    const file = join(root, "bench/results", `${date.replaceAll(":", "-")}.json`);
    writeFileSync(file, `${JSON.stringify({ date, options, samples, troubles }, undefined, 1)}\n`);
    console.log(report(samples, troubles));
    console.log(`\nAll figures: ${file}`);
  } finally {
    for (const { process } of [...systems, upstream]) await process.stop();
    if (!process.env["KEEP"]) rmSync(folder, { recursive: true });
  }
}

export interface Options {
  readonly systems: readonly SystemName[];
  readonly scenarios: readonly string[];
  readonly badPeers: boolean;
  readonly rounds: number;
  readonly seconds: number;
}

function readOptions(): Options | undefined {
  const { values } = parseArgs({
    options: {
      only: { type: "string" },
      scenario: { type: "string" },
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "4" },
      help: { type: "boolean" },
    },
  });
  if (values.help) {
    console.log(usage);
    return undefined;
  }
  const only = values.only?.split(",");
  const chosen = values.scenario?.split(",");
  const known = [...scenarios.map(({ name }) => name), "bad-peers"];
  const stranger =
    only?.find((name) => !(systemNames as readonly string[]).includes(name)) ??
    chosen?.find((name) => !known.includes(name));
  if (stranger !== undefined) throw new Error(`there is no system or scenario ${stranger}\n\n${usage}`);
  const count = (name: "rounds" | "seconds") => {
    const value = Number(values[name]);
    if (!Number.isInteger(value) || value < 1 || value > 60)
      throw new Error(`--${name} must be a whole number from 1 to 60\n\n${usage}`);
    return value;
  };
  return {
    systems: systemNames.filter((name) => name === "nginx" || (only ?? systemNames).includes(name)),
    scenarios: known.filter((name) => (chosen ?? known).includes(name)),
    badPeers: (chosen ?? known).includes("bad-peers"),
    rounds: count("rounds"),
    seconds: count("seconds"),
  };
}

/** nginx and wrk from Debian, when they are missing and this may be done. */
async function install(): Promise<void> {
  const run = promisify(execFile);
  const missing: string[] = [];
  for (const [command, flag] of [
    ["nginx", "-v"],
    ["wrk", "-v"],
    ["taskset", "-V"],
  ] as const) {
    const there = await run(command, [flag]).then(
      () => true,
      (cause: { code?: unknown }) => cause.code !== "ENOENT",
    );
    if (!there) missing.push(command === "taskset" ? "util-linux" : command === "nginx" ? "nginx-light" : command);
  }
  if (missing.length === 0) return;
  const remedy = `apt-get install -y ${missing.join(" ")}`;
  if (process.platform !== "linux" || process.getuid?.() !== 0)
    throw new Error(`the benchmark needs ${missing.join(" and ")} on Linux: run \`${remedy}\` as root`);
  console.log(remedy);
  try {
    await run("apt-get", ["update"]);
    await run("apt-get", ["install", "-y", ...missing]);
  } catch (cause) {
    throw new Error(`\`${remedy}\` failed; install ${missing.join(" and ")} by other means`, { cause });
  }
}
