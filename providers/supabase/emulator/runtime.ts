import { createRequire } from "node:module";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import type { EmulatorHost, RuntimeSpec } from "../../local-cloud/emulator.ts";
import type { FunctionRecord, Project, Store } from "./store.ts";
import { writeByRename } from "./store.ts";

/**
 * What a module finds in the hosted runtime and not in Deno, or the other way round. Runs before the function's own module.
 *
 * Hosted functions have no port of their own: whatever `Deno.serve` was asked for, here it listens where the emulator looks.
 */
const preludeText = `const serve = Deno.serve.bind(Deno);
const port = Number(Deno.args[0]);
globalThis.EdgeRuntime = { waitUntil: (work) => void work };
delete globalThis.Worker;
Deno.serve = (first, second) => {
  const handler = typeof first === "function" ? first : (second ?? first.handler);
  return serve({ hostname: "127.0.0.1", port, onListen() {} }, handler);
};
`;

/** Memory of a hosted function, MiB: https://supabase.com/docs/guides/functions/limits */
const memoryMiB = 256;

/** The Deno of npm, wherever its installer put it for this platform. */
function denoCommand(): string {
  const require = createRequire(import.meta.url);
  return (require("deno/install_api.cjs") as { runInstall(): string }).runInstall();
}

/** How to run one upload of a function. */
export function functionRuntime(
  host: EmulatorHost,
  store: Store,
  project: Project,
  record: FunctionRecord,
): RuntimeSpec {
  const folder = store.uploadFolder(project.ref, record.slug, record.ezbr_sha256);
  const prelude = join(host.dir, "prelude.js");
  const main = `${folder}.js`;
  writeByRename(prelude, preludeText, 0o600);
  const modules = [prelude, join(folder, record.entrypoint_path)].map(
    (path) => `import ${JSON.stringify(pathToFileURL(path).href)};\n`,
  );
  writeByRename(main, modules.join(""), 0o600);

  // The whole environment may be read: there is nothing in it but what the function is given, and the hosted runtime answers undefined
  // for other names where Deno would throw.
  const args = ["run", "--quiet", "--no-prompt", "--no-lock", "--no-remote", "--no-npm", "--allow-net", "--allow-env"];
  args.push(`--v8-flags=--max-old-space-size=${memoryMiB}`, ...importMap(folder, record));
  if (record.static_patterns.length > 0) args.push(`--allow-read=${folder}`);
  const env = functionEnv(host, project, record);
  return {
    command: denoCommand(),
    args: (port) => [...args, main, String(port)],
    env: () => env,
    cwd: folder,
  };
}

function importMap(folder: string, { import_map_path }: FunctionRecord): string[] {
  if (!import_map_path) return ["--no-config"];
  const path = join(folder, import_map_path);
  return /^deno\.jsonc?$/.test(basename(path)) ? [`--config=${path}`] : ["--no-config", `--import-map=${path}`];
}

/** https://supabase.com/docs/guides/functions/secrets. `SUPABASE_DB_URL` is not there: the database takes no connections. */
function functionEnv(
  host: EmulatorHost,
  { ref, keys, secrets }: Project,
  record: FunctionRecord,
): Record<string, string> {
  return {
    ...Object.fromEntries(Object.entries(secrets).map(([name, { value }]) => [name, value])),
    SUPABASE_URL: `${host.url}/projects/${ref}`,
    SUPABASE_ANON_KEY: keys.anon,
    SUPABASE_SERVICE_ROLE_KEY: keys.serviceRole,
    SUPABASE_PUBLISHABLE_KEYS: JSON.stringify({ default: keys.publishable }),
    SUPABASE_SECRET_KEYS: JSON.stringify({ default: keys.secret }),
    DENO_DEPLOYMENT_ID: `${ref}_${record.id}_${record.version}`,
    SB_REGION: "local",
    DENO_DIR: join(host.dir, "deno"),
    DENO_NO_UPDATE_CHECK: "1",
    NO_COLOR: "1",
  };
}
