import { randomBytes } from "node:crypto";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isCode } from "./process.ts";

/** Bearer tokens of the control planes, by provider. */
export type Tokens = Readonly<Record<string, string>>;

/** How each vendor's tokens look: clients and SDKs check it. Other providers get 40 characters of base64url. */
const shapes: Readonly<Record<string, () => string>> = {
  supabase: () => `sbp_${randomBytes(20).toString("hex")}`,
  fly: () => `fo1_${randomBytes(32).toString("base64url")}`,
};

/** The tokens kept in `dir`, made at the first call: `tokens.json`, mode 0600. */
export function tokensIn(dir: string, providers: readonly string[]): Tokens {
  const path = join(dir, "tokens.json");
  let kept: Tokens = {};
  try {
    kept = JSON.parse(readFileSync(path, "utf8")) as Tokens;
  } catch (error) {
    if (!isCode(error, "ENOENT"))
      throw new Error(`${path} cannot be read as JSON; delete it to have new tokens made`, { cause: error });
  }
  const missing = providers.filter((name) => !kept[name]);
  if (missing.length === 0) return kept;
  const made = missing.map((name) => [name, (shapes[name] ?? (() => randomBytes(30).toString("base64url")))()]);
  const tokens = { ...kept, ...Object.fromEntries(made) };
  writeFileSync(`${path}.new`, `${JSON.stringify(tokens, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
  return tokens;
}
