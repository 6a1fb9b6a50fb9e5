import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import cloudflare from "../cloudflare/emulator.ts";
import fly from "../fly/emulator.ts";
import supabase from "../supabase/emulator.ts";
import { CloudError, startCloud, type Cloud } from "./cloud.ts";
import { LockedError } from "./lock.ts";
import { openLog } from "./log-file.ts";

const usage = `usage: node providers/local-cloud/main.ts [--dir DIR] [--port PORT]

Serves the control planes of all providers on http://127.0.0.1:PORT/<provider>
and keeps what is deployed there running.

  --dir   where everything is kept (default .federation/cloud)
  --port  default 7700
`;

const { values } = parseArgs({
  options: {
    dir: { type: "string", default: join(process.cwd(), ".federation", "cloud") },
    port: { type: "string", default: "7700" },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  process.stdout.write(usage);
  process.exit(0);
}
const port = Number(values.port);
if (!Number.isInteger(port) || port < 0 || port > 65_535) {
  process.stderr.write(`--port is ${values.port}; it must be 0 to 65535 (0 = a free one)\n\n${usage}`);
  process.exit(2);
}

mkdirSync(values.dir, { recursive: true, mode: 0o700 });
const file = openLog(join(values.dir, "local-cloud.log"));
const log = (line: string) => {
  file.write(`${new Date().toISOString()} ${line}\n`);
  if (process.stdout.isTTY) console.log(line);
};
process.on("uncaughtExceptionMonitor", (error) => log(String(error.stack)));

let cloud: Cloud | undefined;
try {
  cloud = await startCloud({ dir: values.dir, port, emulators: { cloudflare, supabase, fly }, log });
  for (const name of ["SIGTERM", "SIGINT"] as const) {
    process.once(name, () => {
      log(`${name}: stopping`);
      void cloud!.close().then(() => process.exit(0));
    });
  }
  await cloud.ready;
} catch (error) {
  const known = error instanceof CloudError || error instanceof LockedError;
  const text = known ? error.message : String((error as Error).stack);
  log(text);
  process.stderr.write(`${text}\n`);
  await cloud?.close();
  process.exit(1);
}
