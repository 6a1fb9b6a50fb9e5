import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { join } from "node:path";

/** What one run of the official suite found. */
export interface Outcome {
  /** Scenarios that decide about conformance. */
  readonly scored: number;
  readonly passed: readonly string[];
  readonly failed: readonly string[];
  /** Scenarios of extensions and drafts, which do not. */
  readonly unscored: number;
  readonly unscoredPassed: number;
}

const binary = fileURLToPath(new URL("../../node_modules/.bin/conformance", import.meta.url));
const limitMs = 240_000;

/** Runs the scenarios of a requirement set against a server; checks and the suite's words go to `dir`. */
export async function runSuite(url: string, requirements: string, dir: string): Promise<Outcome> {
  mkdirSync(dir, { recursive: true });
  const args = ["server", "--url", url, "--requirements", requirements, "-o", dir];
  const child = spawn(binary, args, { stdio: ["ignore", "pipe", "pipe"], timeout: limitMs });
  let words = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (words += chunk.toString()));
  await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  writeFileSync(join(dir, "suite.log"), words);
  return readSummary(words, join(dir, "suite.log"));
}

/** Reads the suite's summary. Throws when there is none, since a run that ended early has proven nothing. */
export function readSummary(words: string, where: string): Outcome {
  const summary = words.split("=== SUMMARY ===")[1];
  if (summary === undefined)
    throw new Error(`the conformance suite ended without a summary; its words are in ${where}`);
  const results = new Map(
    [...summary.matchAll(/^([✓✗⚠~]) (\S+): \d+ passed/gmu)].map(([, mark, name]) => [name!, mark!]),
  );
  const outside = new Set([...summary.matchAll(/^ {2}\S (\S+) \(/gmu)].map(([, name]) => name!));
  const of = (scored: boolean, good: boolean) =>
    [...results]
      .filter(([name, mark]) => outside.has(name) !== scored && (mark === "✗") !== good)
      .map(([name]) => name);
  const [passed, failed] = [of(true, true), of(true, false)];
  const unscoredPassed = of(false, true).length;
  return { scored: passed.length + failed.length, passed, failed, unscored: outside.size, unscoredPassed };
}
