import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { processIdentity } from "../../../providers/local-cloud/process.ts";

let dir: string;
let children: ChildProcess[];

beforeEach(() => {
  dir = join(mkdtempSync(join(tmpdir(), "cloud-")), "cloud");
  children = [];
});
afterEach(async () => {
  await Promise.all(children.map((child) => end(child, "SIGTERM")));
  rmSync(join(dir, ".."), { recursive: true });
});

/** Starts a local cloud; answers its process and the line it says once it is ready or has failed. */
async function start(port = 0): Promise<{ child: ChildProcess; said: string }> {
  const child = spawn("node", [join(import.meta.dirname, "cloud-program.ts"), dir, String(port)], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  children.push(child);
  const said = await new Promise<string>((resolve) =>
    child.stdout!.once("data", (bytes) => resolve(String(bytes).trim())),
  );
  return { child, said };
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill(signal);
  await ended;
}

function token(): string {
  return (JSON.parse(readFileSync(join(dir, "tokens.json"), "utf8")) as { fake: string }).fake;
}

async function deploy(url: string, name: string): Promise<number> {
  const response = await fetch(`${url}/fake/${name}`, {
    method: "PUT",
    headers: { authorization: `Bearer ${token()}` },
  });
  expect(response.status).toBe(200);
  return ((await response.json()) as { pid: number }).pid;
}

test("what was deployed is back after the local cloud was killed by force, and its orphans are gone", async () => {
  const first = await start();
  const orphan = await deploy(first.said, "one");
  const before = token();
  await end(first.child, "SIGKILL");
  expect(await processIdentity(orphan)).toBeTypeOf("string");

  const second = await start();
  expect(await processIdentity(orphan)).toBeUndefined();
  expect(await (await fetch(`${second.said}/fake/run/one/`)).text()).toMatch(/^one \d+$/);
  expect(token()).toBe(before);
});

test("SIGTERM ends the runtimes and leaves the folder free", async () => {
  const first = await start();
  const pid = await deploy(first.said, "one");
  await end(first.child, "SIGTERM");
  expect(first.child.exitCode).toBe(0);
  expect(await processIdentity(pid)).toBeUndefined();
  expect((await start()).said).toMatch(/^http:/);
});

test("a folder has one local cloud at a time", async () => {
  const { child } = await start();
  expect((await start()).said).toBe(
    `LockedError: a local cloud works on ${dir} already (pid ${child.pid}): stop it with \`npx federation cloud stop\``,
  );
});

test("of many that start at once after a crash one wins", async () => {
  await end((await start()).child, "SIGKILL");
  const answers = await Promise.all(Array.from({ length: 5 }, async () => (await start()).said.replace(/:.*/s, "")));
  expect(answers.sort()).toEqual(["LockedError", "LockedError", "LockedError", "LockedError", "http"]);
});

test("a port in use names its holder and what to do, and the folder stays free", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  const { said } = await start(port);
  server.close();
  expect(said).toContain(`CloudError: port ${port} is in use by `);
  expect(said).toContain(`(pid ${process.pid})`);
  expect(said).toContain(`federation cloud start --port ${port + 10}`);
  expect((await start(port)).said).toBe(`http://127.0.0.1:${port}`);
});

test("another local cloud on the port is named by its folder", async () => {
  const { said } = await start();
  const other = dir;
  dir = join(dir, "..", "second");
  const answer = await start(Number(new URL(said).port));
  expect(answer.said).toContain(`in use by the local cloud of ${other} (pid `);
});

test("folder and tokens are the owner's alone", async () => {
  await start();
  expect(statSync(dir).mode & 0o777).toBe(0o700);
  expect(statSync(join(dir, "tokens.json")).mode & 0o777).toBe(0o600);
  expect(token()).toMatch(/^[\w-]{40}$/);
});
