import { describe, expect, test } from "vitest";
import { type ExpectedFailure, readExpected, unexpected } from "./expected.ts";
import { readSummary } from "./suite.ts";

const words = `noise
=== SUMMARY ===
✓ ping: 1 passed, 0 failed
✗ tools-list: 1 passed, 2 failed
✗ tasks-lifecycle: 0 passed, 1 failed
✓ json-schema-2020-12: 8 passed, 0 failed

Total: 10 passed, 3 failed

Not scored for 2025-11-25: 2 scenario(s) run, 1 failing. These do not affect conformance.
  ✗ tasks-lifecycle (extension)
  ✓ json-schema-2020-12 (pending)
`;
const failure = (scenario: string): ExpectedFailure => ({
  scenario,
  requirements: "2025-11-25",
  targets: ["node"],
  runtimes: ["node"],
  reason: "A reason of at least twenty characters.",
});

describe("what the suite says", () => {
  test("is read, with what counts apart from what does not", () => {
    expect(readSummary(words, "log")).toEqual({
      scored: 2,
      passed: ["ping"],
      failed: ["tools-list"],
      unscored: 2,
      unscoredPassed: 1,
    });
  });

  test("without a summary is no result", () => {
    expect(() => readSummary("crashed", "/tmp/suite.log")).toThrow(
      "ended without a summary; its words are in /tmp/suite.log",
    );
  });

  test("is held against what is expected: failures, stale entries and scenarios that did not run", () => {
    const outcome = readSummary(words, "log");
    expect(unexpected("2025-11-25", outcome, [])).toEqual(["tools-list failed", "2 scenarios ran instead of 30"]);
    expect(unexpected("2025-11-25", { ...outcome, scored: 30 }, [failure("tools-list")])).toEqual([]);
    expect(unexpected("2025-11-25", { ...outcome, scored: 30 }, [failure("tools-list"), failure("ping")])).toEqual([
      "ping passed; remove it from expected-failures.yml",
    ]);
  });

  test("is expected in a file of the right form", () => {
    expect(readExpected()).toEqual([]);
  });
});
