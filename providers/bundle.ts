import { createHash } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import type { Bundle, BundleTarget, ProviderName } from "./adapter.ts";

/** A function set to compile for one provider. */
export interface BundleRequest {
  readonly provider: ProviderName;
  readonly target: BundleTarget;
  /** Names of folders below `functions/`, sorted. */
  readonly functions: readonly string[];
}

const nodeFolder = "node";

/** Names of the functions in the project at `root`: the folders of `functions/` but the node's own. */
export function functionNames(root: string): readonly string[] {
  return readdirSync(join(root, "functions"), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== nodeFolder)
    .filter((entry) => existsSync(join(root, "functions", entry.name, "index.ts")))
    .map((entry) => entry.name)
    .sort();
}

/** Text of the module that ties a function set to a provider's bridge; its imports are relative to the project's root. */
export function entryModule({ target, functions }: BundleRequest): string {
  const call = `bridge(createNode([${functions.map((_, index) => `f${index}`).join(", ")}]))`;
  return [
    `import { bridge } from "./${target.entry}";`,
    `import { createNode } from "./functions/${nodeFolder}/node.ts";`,
    ...functions.map((name, index) => `import f${index} from "./functions/${name}/index.ts";`),
    ...(target.named.length > 0 ? [`export { ${target.named.join(", ")} } from "./${target.entry}";`] : []),
    target.start === "export" ? `export default ${call};` : `${call};`,
    "",
  ].join("\n");
}

/**
 * Compiles a function set for a provider and writes it below `.federation/bundles/` of the project at `root`.
 *
 * The file is named after its hash, so a bundle that is still in use is never overwritten.
 * Throws esbuild's error, with file and line, when a function does not compile.
 */
export async function bundle(request: BundleRequest, root: string): Promise<Bundle> {
  const code = await compile(entryModule(request), request.target, root);
  const sha256 = createHash("sha256").update(code).digest("hex");
  const path = join(".federation", "bundles", `${request.provider}-${sha256.slice(0, 16)}.js`);
  await writeOnce(join(root, path), code);
  return {
    provider: request.provider,
    functions: request.functions,
    code,
    sha256,
    path,
    bytes: Buffer.byteLength(code),
    gzipBytes: gzipSync(code).length,
  };
}

/**
 * Compiles a module, whose imports are relative to `root`, and all it imports into one.
 * The same sources give the same bytes on every machine: no absolute path, date or source map gets in.
 */
export async function compile(module: string, target: BundleTarget, root: string): Promise<string> {
  const result = await build({
    stdin: { contents: module, resolveDir: root, sourcefile: "entry.ts", loader: "ts" },
    absWorkingDir: root,
    // The project's own tsconfig.json is for its editors and its type check, and no input of the bundle.
    tsconfigRaw: {},
    bundle: true,
    write: false,
    minify: true,
    format: "esm",
    target: "es2022",
    charset: "utf8",
    legalComments: "none",
    logLevel: "silent",
    platform: target.platform,
    conditions: [...target.conditions],
    mainFields: ["module", "main"],
    external: [...target.external],
    alias: Object.fromEntries(Object.entries(target.alias ?? {}).map(([name, path]) => [name, join(root, path)])),
  });
  return result.outputFiles[0]!.text;
}

async function writeOnce(path: string, text: string): Promise<void> {
  if ((await readFile(path, "utf8").catch(() => undefined)) === text) return;
  await mkdir(join(path, ".."), { recursive: true });
  const draft = `${path}.${process.pid}`;
  await writeFile(draft, text);
  await rename(draft, path);
}
