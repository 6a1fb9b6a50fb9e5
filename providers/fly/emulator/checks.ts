import { connect } from "node:net";
import type { Check, CheckState, MachineConfig } from "../api-types.ts";

/** A check of a machine under the name that the API shows it by. */
export interface NamedCheck extends Check {
  readonly name: string;
}

export interface CheckResult {
  readonly status: CheckState;
  readonly output: string;
}

/** Between looks at a machine that has not passed yet. */
const eagerMs = 200;

/** All checks of a config: the machine's own and those of its services. */
export function checksOf({ checks = {}, services = [] }: MachineConfig): NamedCheck[] {
  const own = Object.entries(checks).map(([name, check]) => ({ ...check, name }));
  const ofServices = services.flatMap(({ checks: list = [], internal_port }, service) =>
    list.map((check) => ({
      ...check,
      name: `servicecheck-${String(service).padStart(2, "0")}-${check.type ?? "tcp"}-${check.port ?? internal_port}`,
    })),
  );
  return [...own, ...ofServices];
}

/**
 * Runs a check against a loopback port until `signal` is aborted, and reports each result. Like Fly's, it is at its interval once it passed;
 * unlike Fly's, it looks often before that, so that a deploy does not wait. Failures in the grace period are warnings.
 */
export async function watch(
  check: NamedCheck,
  port: () => number | undefined,
  report: (result: CheckResult) => void,
  signal: AbortSignal,
): Promise<void> {
  const graceUntil = Date.now() + milliseconds(check.grace_period, 0);
  const interval = milliseconds(check.interval, 15_000);
  while (!signal.aborted) {
    const result = await look(check, port(), signal);
    if (signal.aborted) return;
    const forgiven = result.status === "critical" && Date.now() < graceUntil;
    report(forgiven ? { ...result, status: "warning" } : result);
    await pause(result.status === "passing" ? interval : Math.min(interval, eagerMs), signal);
  }
}

async function look(check: NamedCheck, port: number | undefined, ended: AbortSignal): Promise<CheckResult> {
  if (port === undefined) return { status: "critical", output: "the machine's process is not up" };
  const signal = AbortSignal.any([ended, AbortSignal.timeout(milliseconds(check.timeout, 5000))]);
  try {
    if (check.type !== "http") {
      await connects(port, signal);
      return { status: "passing", output: "connected" };
    }
    const response = await fetch(`http://127.0.0.1:${port}${check.path ?? "/"}`, {
      method: (check.method ?? "GET").toUpperCase(),
      signal,
      redirect: "manual",
    });
    const text = (await response.text()).slice(0, 1000);
    return { status: response.ok ? "passing" : "critical", output: `${response.status} ${text}` };
  } catch (error) {
    const { cause, message } = error as Error & { cause?: Error };
    return { status: "critical", output: cause?.message ?? message };
  }
}

function connects(port: number, signal: AbortSignal): Promise<void> {
  return new Promise((done, fail) => {
    const socket = connect({ port, host: "127.0.0.1", signal }, () => {
      socket.destroy();
      done();
    });
    socket.once("error", fail);
  });
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(done, ms);
    timer.unref();
    signal.addEventListener("abort", () => (clearTimeout(timer), done()), { once: true });
  });
}

/** Reads a duration as Go writes it: `500ms`, `15s`, `1m30s`. */
export function milliseconds(text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  let sum = 0;
  for (const [, number, unit] of text.matchAll(/([\d.]+)(ms|s|m|h)/g)) sum += Number(number) * (units[unit ?? ""] ?? 0);
  return sum;
}
