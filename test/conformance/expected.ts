import { readFileSync } from "node:fs";
import { parse } from "yaml";
import * as z from "zod";
import type { Outcome } from "./suite.ts";

const failureSchema = z.strictObject({
  scenario: z.string(),
  requirements: z.string(),
  targets: z.array(z.string()),
  runtimes: z.array(z.string()),
  /** Why it cannot pass, in one sentence. */
  reason: z.string().min(20),
});
export type ExpectedFailure = z.output<typeof failureSchema>;

/** Scenarios that count, as the suite froze them for each revision. */
const scoredScenarios: Readonly<Record<string, number>> = { "2026-07-28": 37, "2025-11-25": 30 };

export function readExpected(): readonly ExpectedFailure[] {
  const text = readFileSync(new URL("expected-failures.yml", import.meta.url), "utf8");
  return z.array(failureSchema).parse(parse(text) ?? []);
}

/** What is wrong with a run: failures that nobody expected, expectations that are out of date, scenarios that did not run. */
export function unexpected(requirements: string, outcome: Outcome, expected: readonly ExpectedFailure[]): string[] {
  const known = new Set(expected.map(({ scenario }) => scenario));
  const scored = scoredScenarios[requirements];
  return [
    ...outcome.failed.filter((name) => !known.has(name)).map((name) => `${name} failed`),
    ...outcome.passed
      .filter((name) => known.has(name))
      .map((name) => `${name} passed; remove it from expected-failures.yml`),
    ...(outcome.scored === scored ? [] : [`${outcome.scored} scenarios ran instead of ${scored}`]),
  ];
}
