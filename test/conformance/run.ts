import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { readExpected, unexpected } from "./expected.ts";
import { type FrontProxy, startFrontProxy } from "./front-proxy.ts";
import { startNetwork } from "./network.ts";
import { type RuntimeName, runtimeNames, type Runtimes, startRuntimes } from "./runtimes.ts";
import { type Outcome, runSuite } from "./suite.ts";

const targets = ["node", "chain"] as const;
type Target = (typeof targets)[number];
const requirementSets = ["2026-07-28", "2025-11-25"] as const;

interface Row extends Outcome {
  readonly cell: string;
  readonly seconds: number;
  readonly problems: readonly string[];
}

const { values } = parseArgs({
  options: {
    target: { type: "string", multiple: true, default: [...targets] },
    runtime: { type: "string", multiple: true, default: [...runtimeNames] },
    requirements: { type: "string", multiple: true, default: [...requirementSets] },
    keep: { type: "boolean", default: false },
  },
});

const dir = mkdtempSync(join(tmpdir(), "conformance-"));
const started = performance.now();
const runtimes = await startRuntimes(dir);
const rows: Row[] = [];
try {
  for (const runtime of values.runtime as RuntimeName[]) {
    for (const target of values.target as Target[]) {
      const proxy = await startFrontProxy();
      try {
        await startTarget(target, runtime, runtimes, proxy);
        for (const requirements of values.requirements) rows.push(await runCell(target, runtime, requirements, proxy));
      } finally {
        proxy.close();
      }
    }
  }
} finally {
  await runtimes.close();
  if (!values.keep) rmSync(dir, { recursive: true, force: true });
}

console.log(`\n${"target on runtime, requirements".padEnd(34)}passed/scored  unscored  seconds`);
for (const { cell, scored, passed, unscored, unscoredPassed, seconds } of rows) {
  const counts = `${passed.length}/${scored}`.padEnd(15) + `${unscoredPassed}/${unscored}`.padEnd(10);
  console.log(`${cell.padEnd(34)}${counts}${seconds.toFixed(1)}`);
}
const problems = rows.flatMap(({ cell, problems }) => problems.map((problem) => `${cell}: ${problem}`));
for (const problem of problems) console.error(problem);
console.log(
  `\n${rows.length - new Set(problems.map((line) => line.split(":")[0])).size} passed, ${new Set(problems.map((line) => line.split(":")[0])).size} failed`,
);
console.log(`${((performance.now() - started) / 1000).toFixed(0)} s${values.keep ? `; results in ${dir}` : ""}`);
process.exitCode = problems.length > 0 || rows.length === 0 ? 1 : 0;

/** Brings up what the suite will ask, and points the proxy at it. */
async function startTarget(
  target: Target,
  runtime: RuntimeName,
  { deploy }: Runtimes,
  proxy: FrontProxy,
): Promise<void> {
  const at = deploy[runtime];
  if (target === "node") {
    const [node] = await startNetwork([{ id: "suite/fixture", url: proxy.url }], at);
    return proxy.to(node!.address, node!.token);
  }
  // Another network altogether: to the chain it is a stranger's server.
  const [server] = await startNetwork([{ id: "stranger/server" }], deploy.node);
  const upstream = {
    name: "server",
    url: `${server!.address}/mcp`,
    prefix: "",
    era: "auto",
    auth: { type: "bearer" },
  } as const;
  const [edge] = await startNetwork(
    [
      { id: "here/relay", url: proxy.url },
      { id: "there/gate", prefix: "", upstreams: [upstream], secrets: { server: server!.token } },
    ],
    at,
  );
  proxy.to(edge!.address, edge!.token);
}

async function runCell(target: Target, runtime: RuntimeName, requirements: string, proxy: FrontProxy): Promise<Row> {
  const cell = `${target} on ${runtime}, ${requirements}`;
  const before = performance.now();
  const outcome = await runSuite(`${proxy.url}/mcp`, requirements, join(dir, cell.replaceAll(/[ ,]+/g, "-")));
  const seconds = (performance.now() - before) / 1000;
  const expected = readExpected().filter(
    (failure) =>
      failure.requirements === requirements && failure.targets.includes(target) && failure.runtimes.includes(runtime),
  );
  const row = { ...outcome, cell, seconds, problems: unexpected(requirements, outcome, expected) };
  console.log(`${cell}: ${outcome.passed.length}/${outcome.scored} in ${seconds.toFixed(1)} s`);
  return row;
}
