// Runs a local cloud with one emulator of the test's own: `node cloud-program.ts DIR PORT`.
// `PUT /fake/<name>` deploys a runtime, which `/fake/run/<name>/...` then reaches; what was deployed is on disk.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startCloud } from "../../../providers/local-cloud/cloud.ts";
import type { StartEmulator } from "../../../providers/local-cloud/emulator.ts";

const [dir, port] = process.argv.slice(2);

const fake: StartEmulator = async (host) => {
  const file = join(host.dir, "deployed.json");
  const deployed: string[] = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as string[]) : [];
  await Promise.all(deployed.map(start));
  return {
    route(path) {
      const [, runtime, rest] = /^\/run\/([^/]+)(\/.*)$/.exec(path) ?? [];
      return runtime === undefined ? undefined : { runtime, path: rest! };
    },
    async handle(request) {
      if (request.headers.get("authorization") !== `Bearer ${host.token}`) return Response.json({}, { status: 401 });
      const name = new URL(request.url).pathname.slice(1);
      const { pid } = await start(name);
      deployed.push(name);
      writeFileSync(file, JSON.stringify(deployed));
      return Response.json({ pid });
    },
  };

  function start(name: string) {
    const args = (at: number) => [join(import.meta.dirname, "runtime.ts"), String(at)];
    return host.runtimes.start(name, {
      command: "node",
      args,
      env: () => ({ GREETING: name }),
      cwd: host.dir,
      readyPath: "/",
    });
  }
};

try {
  const cloud = await startCloud({ dir: dir!, port: Number(port), emulators: { fake }, log: console.error });
  process.once("SIGTERM", () => void cloud.close().then(() => process.exit(0)));
  await cloud.ready;
  console.log(cloud.url);
} catch (error) {
  console.log(`${(error as Error).name}: ${(error as Error).message}`);
  process.exit(1);
}
