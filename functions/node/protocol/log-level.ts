import type { LogLevel } from "../define.ts";

const levels: readonly LogLevel[] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

export function isLogLevel(value: unknown): value is LogLevel {
  return levels.some((level) => level === value);
}

/** True when a message of `level` is at least as severe as `wanted`. */
export function reaches(level: LogLevel, wanted: LogLevel): boolean {
  return levels.indexOf(level) >= levels.indexOf(wanted);
}
