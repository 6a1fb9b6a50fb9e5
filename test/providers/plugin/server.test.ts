import { spawn } from "node:child_process";
import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";

const executable = resolve(import.meta.dirname, "../../../providers/plugin/pulumi-resource-federation");

/** Starts the plugin as the engine does and answers what it said once it named its port. */
async function start(
  command: string,
  ...args: string[]
): Promise<{ said: string; milliseconds: number; kill(): void }> {
  const began = performance.now();
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
  const said = await new Promise<string>((done, failed) => {
    let text = "";
    child.once("error", failed).once("exit", (code) => failed(new Error(`it ended with ${code}`)));
    child.stdout.on("data", (data: Buffer) => {
      text += data.toString();
      if (/^\d+\n/m.test(text)) done(text);
    });
  });
  return { said, milliseconds: performance.now() - began, kill: () => child.kill("SIGKILL") };
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

describe("the plugin's process", () => {
  test("says its port and nothing else, soon", async () => {
    (await start(executable)).kill(); // fills the compile cache
    const plugin = await start(executable);
    plugin.kill();
    expect(plugin.said).toMatch(/^\d{4,5}\n$/);
    console.log(`from the start to the port: ${Math.round(plugin.milliseconds)} ms`);
    // 190 ms on a quiet machine; the limit leaves room for a busy one.
    expect(plugin.milliseconds).toBeLessThan(1500);
  });

  test("starts through a symbolic link", async () => {
    const folder = await mkdtemp(join(tmpdir(), "plugin-link-"));
    await symlink(executable, join(folder, "pulumi-resource-federation"));
    const plugin = await start(join(folder, "pulumi-resource-federation"));
    plugin.kill();
    await rm(folder, { recursive: true });
    expect(plugin.said).toMatch(/^\d+\n$/);
  });

  test("ends when the engine was killed", async () => {
    const engine = await start("sh", "-c", `"${executable}" & echo "plugin $!"; wait`);
    const pid = Number(/plugin (\d+)/.exec(engine.said)?.[1]);
    expect(isRunning(pid)).toBe(true);
    engine.kill();
    try {
      await expect.poll(() => isRunning(pid), { timeout: 5000 }).toBe(false);
    } finally {
      if (isRunning(pid)) process.kill(pid, "SIGKILL");
    }
  });
});
