import { beforeEach, describe, expect, test, vi } from "vitest";
import { Circuits, ejected, type Sample } from "../../../../functions/node/federation/circuit.ts";

const peer = "globex/compute";
let circuits: Circuits;
let now: number;

beforeEach(() => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  circuits = new Circuits();
  now = 1_000_000;
});

describe("a peer is ejected", () => {
  test("after three faults in a row, not after two", () => {
    samples("fault", "fault");
    expect(requests()).toBe(Infinity);
    samples("fault");
    expect(requests()).toBe(0);
  });

  test("only when faults are half of the recent requests: a busy peer with a few is kept", () => {
    samples(...Array.from({ length: 200 }, (_, n): Sample => (n % 10 > 2 && n % 10 < 6 ? "fault" : "answer")));
    expect(requests()).toBe(Infinity);
    samples("fault", "fault", "fault");
    expect(requests(), "three after many good ones").toBe(Infinity);
    samples("fault", "fault", "fault", "fault");
    expect(requests()).toBe(0);
  });

  test("for 1 s, then twice as long each time, at most 30 s", () => {
    samples("fault", "fault", "fault");
    const pauses: number[] = [];
    for (let n = 0; n < 7; n += 1) {
      const { until } = circuits.allowance(peer, now);
      pauses.push(until - now);
      now = until;
      expect(requests()).toBe(1);
      samples("fault");
    }
    expect(pauses).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  });

  test("for silence, unless it answered somebody else meanwhile", () => {
    samples("answer");
    for (let n = 0; n < 5; n += 1) circuits.observe(peer, 0, "silence", now - 30_000, now);
    expect(requests(), "the answer came after those were sent").toBe(Infinity);
    for (let n = 0; n < 10; n += 1) circuits.observe(peer, 0, "silence", now + 1, now + 2);
    expect(requests()).toBe(0);
  });

  test("and says until when", () => {
    samples("fault", "fault", "fault");
    const { code, message, data } = ejected(peer, circuits.allowance(peer, now), now);
    expect({ code, message, data }).toEqual({
      code: 503,
      message: "globex/compute failed repeatedly and is not asked again until 1970-01-01T00:16:41.000Z (1 s)",
      data: { peer, retryable: true, retryAfterSeconds: 1 },
    });
  });
});

describe("an ejected peer", () => {
  beforeEach(() => samples("fault", "fault", "fault"));

  test("is probed by one request, then twice as many may be under way with each answer", () => {
    now += 1_000;
    const seen: number[] = [];
    for (let n = 0; n < 7; n += 1) {
      seen.push(requests());
      samples("answer");
    }
    expect(seen).toEqual([1, 2, 4, 8, 16, 32, Infinity]);
  });

  test("is ejected again by a fault on its way back, for longer", () => {
    now += 1_000;
    samples("answer", "fault");
    expect(circuits.allowance(peer, now)).toMatchObject({ requests: 0, until: now + 2_000 });
  });

  test("starts with a short pause again after a minute in good health", () => {
    now += 1_000;
    samples(...Array.from({ length: 10 }, (): Sample => "answer"));
    now += 60_000;
    samples("answer", "fault", "fault", "fault", "fault", "fault", "fault", "fault");
    expect(circuits.allowance(peer, now).until - now).toBe(1_000);
  });

  test("is not judged by requests from before", () => {
    now += 1_000;
    circuits.observe(peer, 0, "fault", 0, now);
    circuits.observe(peer, 0, "answer", 0, now);
    expect(requests()).toBe(1);
  });

  test("does not touch others", () => {
    expect(circuits.allowance("acme/data", now).requests).toBe(Infinity);
  });
});

test("the latency follows the answers", () => {
  expect(circuits.latency(peer)).toBe(0);
  circuits.observe(peer, 0, "answer", now - 100, now);
  expect(circuits.latency(peer)).toBe(100);
  circuits.observe(peer, 0, "answer", now - 300, now);
  expect(circuits.latency(peer)).toBeCloseTo(120);
});

function requests(): number {
  return circuits.allowance(peer, now).requests;
}

function samples(...given: readonly Sample[]): void {
  for (const sample of given) circuits.observe(peer, circuits.allowance(peer, now).epoch, sample, now, now);
}
