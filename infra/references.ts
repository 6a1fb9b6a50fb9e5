import * as z from "zod";
import type { Problem } from "./errors.ts";

/** What a config may refer to beside its own parts. */
export interface ReferenceFacts {
  /** Names of the functions that exist. */
  readonly functions: readonly string[];
  /** Names of the providers that exist; a node with another one is the schema's to report. */
  readonly providers: readonly string[];
}

const text = z.string().catch("");
const texts = z.array(text).catch([]);

/** The parts of a topology that refer to each other, read from any value: what is malformed counts as absent, since the schema reports it. */
const draftSchema = z
  .object({
    organizations: z
      .record(
        z.string(),
        z
          .object({
            providers: z.record(z.string(), z.unknown()).catch({}),
            nodes: z
              .record(z.string(), z.object({ provider: text, functions: texts }).catch({ provider: "", functions: [] }))
              .catch({}),
            grants: z.array(z.object({ to: text, nodes: texts }).catch({ to: "", nodes: [] })).catch([]),
            accepts: texts,
          })
          .catch({ providers: {}, nodes: {}, grants: [], accepts: [] }),
      )
      .catch({}),
  })
  .catch({ organizations: {} });

type Draft = z.output<typeof draftSchema>;
type DraftOrganization = Draft["organizations"][string];

/**
 * Names in a config that lead nowhere: unknown functions, organizations and nodes, accounts that are missing.
 * Works on configs that fail the schema too, so that both kinds of mistakes are reported at once. Pure.
 */
export function referenceProblems(value: unknown, facts: ReferenceFacts): Problem[] {
  const { organizations } = draftSchema.parse(value);
  return Object.entries(organizations).flatMap(([name, organization]) => {
    const at = `topology.organizations.${name}`;
    return [
      ...accountProblems(at, name, organization, facts),
      ...functionProblems(at, organization, facts),
      ...organizationProblems(at, name, organization, Object.keys(organizations)),
      ...grantedNodeProblems(at, name, organization),
    ];
  });
}

function accountProblems(
  at: string,
  name: string,
  { nodes, providers }: DraftOrganization,
  facts: ReferenceFacts,
): Problem[] {
  const used = new Map(Object.entries(nodes).map(([node, { provider }]) => [provider, node]));
  return [...used]
    .filter(([provider]) => facts.providers.includes(provider) && providers[provider] === undefined)
    .map(([provider, node]) => ({
      path: `${at}.providers.${provider}`,
      value: undefined,
      problem: `is missing, and node "${node}" runs there`,
      allowed: `the facts of ${name}'s ${provider} account`,
      remedy: "Add them, or choose a provider that the organization has an account with.",
    }));
}

function functionProblems(at: string, { nodes }: DraftOrganization, facts: ReferenceFacts): Problem[] {
  return Object.entries(nodes).flatMap(([node, { functions }]) =>
    functions.flatMap((wanted, index) =>
      wanted === "" || facts.functions.includes(wanted)
        ? []
        : [
            {
              path: `${at}.nodes.${node}.functions.${index}`,
              value: wanted,
              problem: "is not a function of this project",
              allowed: facts.functions.join(", "),
              remedy: `Write one of these, or create functions/${wanted}/index.ts.`,
            },
          ],
    ),
  );
}

function organizationProblems(
  at: string,
  name: string,
  { grants, accepts }: DraftOrganization,
  all: readonly string[],
): Problem[] {
  const others = all.filter((other) => other !== name).sort();
  const named = [
    ...grants.map(({ to }, index) => ({ path: `grants.${index}.to`, organization: to })),
    ...accepts.map((from, index) => ({ path: `accepts.${index}`, organization: from })),
  ];
  return named
    .filter(({ organization }) => organization !== "" && !others.includes(organization))
    .map(({ path, organization }) => ({
      path: `${at}.${path}`,
      value: organization,
      problem:
        organization === name
          ? "is this organization itself, inside which everything is allowed"
          : "is not an organization of this network",
      allowed: others.length > 0 ? others.join(", ") : "none: this network has one organization",
      remedy: "Write the name of another organization, or remove the entry.",
    }));
}

function grantedNodeProblems(at: string, name: string, { grants, nodes }: DraftOrganization): Problem[] {
  const known = Object.keys(nodes).sort();
  return grants.flatMap((grant, index) =>
    grant.nodes.flatMap((pattern, position) =>
      pattern === "" || pattern.includes("*") || known.includes(pattern)
        ? []
        : [
            {
              path: `${at}.grants.${index}.nodes.${position}`,
              value: pattern,
              problem: `is not a node of ${name}`,
              allowed: [...known, "a pattern with *"].join(", "),
              remedy: "Correct the name, or remove it.",
            },
          ],
    ),
  );
}
