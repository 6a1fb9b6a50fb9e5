import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { RuntimeSpec } from "../../../providers/local-cloud/emulator.ts";
import { processIdentity } from "../../../providers/local-cloud/process.ts";
import {
  createSupervisor,
  type Supervisor,
  type SupervisorOptions,
} from "../../../providers/local-cloud/supervisor.ts";

const script = join(import.meta.dirname, "runtime.ts");
let dir: string;
let lines: string[];
let supervisors: Supervisor[];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "supervisor-"));
  lines = [];
  supervisors = [];
});
afterEach(async () => {
  await Promise.all(supervisors.map((supervisor) => supervisor.close()));
  rmSync(dir, { recursive: true });
});

async function supervise(options: Partial<SupervisorOptions> = {}): Promise<Supervisor> {
  const supervisor = await createSupervisor({ dir, log: (line) => lines.push(line), ...options });
  supervisors.push(supervisor);
  return supervisor;
}

function spec(env: Record<string, string> = {}): RuntimeSpec {
  return { command: "node", args: (port) => [script, String(port)], env: () => env, cwd: dir, readyPath: "/" };
}

async function ask(port: number, path = "/"): Promise<string> {
  return (await fetch(`http://127.0.0.1:${port}${path}`)).text();
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 20));
}

async function gone(pid: number): Promise<void> {
  await until(async () => (await processIdentity(pid)) === undefined);
}

test("a runtime is started with nothing but PATH and its own environment", async () => {
  const supervisor = await supervise();
  const runtime = await supervisor.start("one", spec({ GREETING: "hi" }));
  expect(await ask(runtime.port)).toBe(`hi ${runtime.pid}`);
  expect(JSON.parse(await ask(runtime.port, "/env"))).toEqual({ PATH: process.env.PATH, GREETING: "hi" });
  expect(supervisor.get("one")).toEqual({ name: "one", pid: runtime.pid, port: runtime.port, restarts: 0 });
});

test("a runtime killed by force is back under a new pid, and callers can wait for it", async () => {
  const supervisor = await supervise();
  const before = await supervisor.start("one", spec());
  process.kill(before.pid, "SIGKILL");
  await until(() => supervisor.get("one") === undefined);
  const after = await supervisor.serving("one", 10_000);
  expect(after).toMatchObject({ name: "one", restarts: 1 });
  expect(await ask(after!.port)).toBe(`hello ${after!.pid}`);
  expect(after!.pid).not.toBe(before.pid);
  expect(lines).toContain("runtime one ended by SIGKILL; starting it again in 100 ms");
});

test("the wait between restarts doubles while a runtime keeps ending", async () => {
  const supervisor = await supervise();
  let runtime = await supervisor.start("one", spec());
  for (let round = 0; round < 3; round++) {
    process.kill(runtime.pid, "SIGKILL");
    await until(() => supervisor.get("one") === undefined);
    runtime = (await supervisor.serving("one", 10_000))!;
  }
  expect(lines.filter((line) => line.includes("again")).map((line) => line.replace(/.* in /, ""))).toEqual([
    "100 ms",
    "200 ms",
    "400 ms",
  ]);
  expect(runtime.restarts).toBe(3);
});

test("a spec that never serves is given up with the log's last lines", async () => {
  const supervisor = await supervise();
  const broken = { ...spec(), args: () => ["-e", "console.error('no such database'); process.exit(3)"] };
  await expect(supervisor.start("one", broken)).rejects.toThrow(
    /^runtime one ended with exit code 3; its last words:\n(.*\n)*no such database$/,
  );
  expect(supervisor.list()).toEqual([]);
});

test("a runtime that hangs is given up after the time to get ready", async () => {
  const supervisor = await supervise({ readyMs: 100 });
  await expect(supervisor.start("one", spec({ START_DELAY: "60000" }))).rejects.toThrow(
    "runtime one did not serve within 100 ms",
  );
});

test("a command that does not exist is named", async () => {
  const supervisor = await supervise();
  await expect(supervisor.start("one", { ...spec(), command: "no-such-runtime" })).rejects.toThrow(
    "runtime one cannot be started: spawn no-such-runtime ENOENT",
  );
});

test("a second start replaces the process; those who wait get the new one", async () => {
  const supervisor = await supervise();
  const before = await supervisor.start("one", spec({ GREETING: "old" }));
  const replaced = supervisor.start("one", spec({ GREETING: "new" }));
  await gone(before.pid);
  const waited = await supervisor.serving("one", 10_000);
  expect(await ask(waited!.port)).toBe(`new ${waited!.pid}`);
  expect(await replaced).toEqual(waited);
  expect(supervisor.list()).toHaveLength(1);
});

test("stop ends a runtime for good, by force when it does not listen", async () => {
  const supervisor = await supervise({ graceMs: 200 });
  const runtime = await supervisor.start("one", spec({ IGNORE_SIGTERM: "1" }));
  await supervisor.stop("one");
  expect(await processIdentity(runtime.pid)).toBeUndefined();
  expect(supervisor.get("one")).toBeUndefined();
  expect(await supervisor.serving("one", 5_000)).toBeUndefined();
  expect(readFileSync(join(dir, "one.log"), "utf8")).toContain("not me");
  expect(existsSync(join(dir, "one.pid"))).toBe(false);
  await supervisor.stop("one");
});

test("children of a wrapper end with it", async () => {
  const supervisor = await supervise();
  const wrapped = {
    ...spec(),
    command: "sh",
    args: (port: number) => ["-c", `node ${script} ${port} & echo $! > child; wait`],
  };
  const runtime = await supervisor.start("one", wrapped);
  const child = Number(readFileSync(join(dir, "child"), "utf8"));
  expect(child).not.toBe(runtime.pid);
  process.kill(runtime.pid, "SIGKILL");
  await gone(child);
});

test("what a killed supervisor left running is ended by the next one, and nothing else is", async () => {
  const program = `
    import { createSupervisor } from ${JSON.stringify(join(import.meta.dirname, "../../../providers/local-cloud/supervisor.ts"))};
    const supervisor = await createSupervisor({ dir: ${JSON.stringify(dir)}, log() {} });
    await supervisor.start("one", { command: "node", args: (port) => [${JSON.stringify(script)}, String(port)], env: () => ({}), cwd: ".", readyPath: "/" });
    console.log("up");
  `;
  const first = spawn("node", ["--input-type=module", "-e", program], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((resolve) => first.stdout.once("data", resolve));
  const { pid } = JSON.parse(readFileSync(join(dir, "one.pid"), "utf8")) as { pid: number };
  first.kill("SIGKILL");
  await gone(first.pid!);
  expect(await processIdentity(pid)).toBeTypeOf("string");

  // A pid that another process has by now: this test's own.
  execFileSync("sh", ["-c", `echo '{"pid":${process.pid},"identity":"an earlier boot/1"}' > other.pid`], { cwd: dir });
  await supervise();
  expect(await processIdentity(pid)).toBeUndefined();
  expect(existsSync(join(dir, "one.pid"))).toBe(false);
  expect(existsSync(join(dir, "other.pid"))).toBe(false);
});

test("logs never take more than twice their limit", async () => {
  const supervisor = await supervise({ logBytes: 4_000 });
  const { port } = await supervisor.start("a/b", spec());
  await ask(port, "/talk");
  const log = join(dir, "a%2Fb.log");
  await until(() => readFileSync(log, "utf8").includes("99 "));
  expect(statSync(log).size).toBeLessThanOrEqual(4_000);
  expect(statSync(`${log}.1`).size).toBeLessThanOrEqual(4_000);
  expect(statSync(log).mode & 0o777).toBe(0o600);
});
