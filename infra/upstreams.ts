import type { UpstreamConfig } from "../functions/node/platform.ts";
import type { Problem } from "./errors.ts";
import type { Plan, PlannedNode } from "./plan.ts";
import type { Topology } from "./topology.ts";

type NodeSettings = Topology["organizations"][string]["nodes"][string];

/** Config key that holds the upstreams' secrets: by node (`organization/node`), by upstream. */
export const upstreamSecretsKey = "upstreamSecrets";

/** A stack's {@link upstreamSecretsKey}. */
export type UpstreamSecrets = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** A node's upstreams as the node is told about them, sorted by name. Pure. */
export function planUpstreams({ upstreams = {} }: Pick<NodeSettings, "upstreams">): readonly UpstreamConfig[] {
  return Object.entries(upstreams)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { url, prefix = name, era, auth }]) => ({
      name,
      url,
      prefix,
      era,
      auth: typeof auth === "string" ? { type: auth } : { type: "client-credentials" as const, ...auth },
    }));
}

/** Prefixes on a node that two sources would share: no name could tell them apart. Pure. */
export function upstreamProblems(nodes: readonly PlannedNode[]): Problem[] {
  return nodes.flatMap((node) => {
    const peers = nodes.filter(({ id }) => id !== node.id).map(({ id, prefix }) => [prefix, `the node ${id}`] as const);
    const taken = new Map<string, string>(peers);
    return node.upstreams.flatMap(({ name, prefix }) => {
      const other = taken.get(prefix);
      taken.set(prefix, `the upstream ${name}`);
      if (other === undefined) return [];
      return [
        {
          path: `topology.organizations.${node.organization}.nodes.${node.name}.upstreams.${name}.prefix`,
          value: prefix,
          problem: `is also the prefix of ${other}`,
          allowed: "a prefix that nothing else has on this node; the empty one counts too",
          remedy: "Give one of them another prefix.",
        },
      ];
    });
  });
}

/** Says what is wrong with the secrets, never what they are. Pure. */
export function secretProblems(plan: Plan, secrets: UpstreamSecrets): Problem[] {
  const wanted = new Map(plan.nodes.map((node) => [node.id, secretNames(node)]));
  const missing = [...wanted].flatMap(([id, names]) =>
    names
      .filter((name) => typeof secrets[id]?.[name] !== "string" || secrets[id][name] === "")
      .map((name) => ({
        path: `${upstreamSecretsKey}.${id}.${name}`,
        value: undefined,
        problem: "is missing",
        allowed: "the bearer token or client secret of the upstream, as text",
        remedy: `Run: pulumi config set --secret --path 'ai-federation:${upstreamSecretsKey}["${id}"].${name}'`,
      })),
  );
  const useless = Object.entries(secrets).flatMap(([id, names]) =>
    Object.keys(names)
      .filter((name) => !wanted.get(id)?.includes(name))
      .map((name) => ({
        path: `${upstreamSecretsKey}.${id}.${name}`,
        value: "(secret)",
        problem: "belongs to no upstream that wants a secret",
        allowed:
          [...wanted].flatMap(([node, known]) => known.map((upstream) => `${node}.${upstream}`)).join(", ") || "none",
        remedy: "Correct the name, or remove it.",
      })),
  );
  return [...missing, ...useless];
}

/** Names of a node's upstreams that want a secret. */
export function secretNames({ upstreams }: PlannedNode): string[] {
  return upstreams.filter(({ auth }) => auth.type !== "none").map(({ name }) => name);
}
