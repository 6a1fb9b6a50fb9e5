import { cpSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import type { ProviderName } from "../../providers/adapter.ts";
import { adapters, bundle, functionNames, providerNames } from "../../providers/index.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const elsewhere = mkdtempSync(join(tmpdir(), "bundle-"));
for (const folder of ["functions", "providers"])
  cpSync(join(root, folder), join(elsewhere, folder), { recursive: true });
symlinkSync(join(root, "node_modules"), join(elsewhere, "node_modules"));
afterAll(() => rmSync(elsewhere, { recursive: true }));

/** Most bytes a bundle of all functions may have. These numbers only ever go down. */
const budgets: Record<ProviderName, { raw: number; gzip: number }> = {
  cloudflare: { raw: 450_000, gzip: 132_000 },
  supabase: { raw: 480_000, gzip: 141_000 },
  fly: { raw: 512_000, gzip: 150_000 },
};

describe.each(providerNames)("the bundle for %s", (provider) => {
  const request = { provider, target: adapters[provider].target, functions: functionNames(root) };

  it("stays within its budget", async () => {
    const { bytes, gzipBytes } = await bundle(request, root);
    console.info(`${provider}: ${bytes} bytes, ${gzipBytes} gzip`);
    expect(bytes).toBeLessThanOrEqual(budgets[provider].raw);
    expect(gzipBytes).toBeLessThanOrEqual(budgets[provider].gzip);
  });

  it("is the same bytes wherever the project is", async () => {
    const [here, there] = await Promise.all([bundle(request, root), bundle(request, elsewhere)]);
    expect(there.sha256).toBe(here.sha256);
  });
});
