import { readFileSync } from "node:fs";
import { parse } from "yaml";
import type { Facts } from "../../infra/plan.ts";
import { parseTopology, type Topology } from "../../infra/topology.ts";
import { adapters } from "../../providers/index.ts";

/** The value of the topology in a stack file of the project. */
export function stackConfig(stack: string): any {
  const file = parse(readFileSync(new URL(`../../stacks/Pulumi.${stack}.yaml`, import.meta.url), "utf8"));
  return file.config["ai-federation:topology"];
}

/** Parses a topology that must be valid. */
export function valid(value: unknown): Topology {
  const { topology, problems } = parseTopology(value);
  if (!topology) throw new Error(JSON.stringify(problems, null, 2));
  return topology;
}

export const facts: Facts = { adapters };
