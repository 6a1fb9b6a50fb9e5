import type { Trouble } from "./bad-peers.ts";
import { type Sample, scenarios } from "./measure.ts";
import { type SystemName, systemNames } from "./systems.ts";

type Figure = "requestsPerSecond" | "p50" | "p99" | "cpuPerRequest" | "memory" | "idleMemory" | "startMs";

/** Tables in Markdown: medians of the rounds, and ratios to nginx in the same run. */
export function report(samples: readonly Sample[], troubles: readonly Trouble[]): string {
  const of = (system: SystemName, scenario: string, figure: Figure) =>
    median(samples.filter((s) => s.system === system && s.scenario === scenario).map((sample) => sample[figure]));
  const rows = scenarios.flatMap(({ name }) =>
    systemNames
      .filter((system) => samples.some((sample) => sample.system === system && sample.scenario === name))
      .map((system) => {
        const rate = of(system, name, "requestsPerSecond");
        const p50 = of(system, name, "p50");
        const cells = [
          name,
          system,
          rate.toFixed(0),
          (rate / of("nginx", name, "requestsPerSecond")).toFixed(3),
          p50.toFixed(2),
          (p50 / of("nginx", name, "p50")).toFixed(2),
          of(system, name, "p99").toFixed(2),
          of(system, name, "cpuPerRequest").toFixed(0),
          (of("nginx", name, "cpuPerRequest") / of(system, name, "cpuPerRequest")).toFixed(3),
        ];
        return `| ${cells.join(" | ")} |`;
      }),
  );
  const processes = systemNames
    .filter((system) => samples.some((sample) => sample.system === system))
    .map((system) => {
      const own = samples.filter((sample) => sample.system === system);
      const memory = Math.max(...own.map((sample) => sample.memory));
      return `| ${system} | ${own[0]?.startMs.toFixed(0)} | ${own[0]?.idleMemory.toFixed(0)} | ${memory.toFixed(0)} |`;
    });
  return [
    "| scenario | system | req/s | to nginx | p50 ms | to nginx | p99 ms | CPU us/request | nginx's CPU / its CPU |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ...rows,
    "",
    "| system | start to first answer, ms | idle MB | most MB under load |",
    "| --- | --- | --- | --- |",
    ...processes,
    ...(troubles.length > 0
      ? [
          "",
          "| one of four peers | system | tools listed | first list, ms | then, ms |",
          "| --- | --- | --- | --- | --- |",
          ...troubles.map(
            ({ peer, system, tools, first, later }) =>
              `| ${peer} | ${system} | ${tools} | ${first.toFixed(0)} | ${later.toFixed(1)} |`,
          ),
        ]
      : []),
  ].join("\n");
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}
