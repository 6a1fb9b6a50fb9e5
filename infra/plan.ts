import type { NodeConfig, PublicJwk, UpstreamConfig } from "../functions/node/platform.ts";
import type { Grant, Manifest, NodeId } from "../functions/node/federation/manifest.ts";
import type { Bundle, NameRule, ProviderAdapter, ProviderName } from "../providers/adapter.ts";
import type { Problem } from "./errors.ts";
import { collisions, fits, nodeId, peerPrefix, physicalName } from "./naming.ts";
import type { Organization, Topology } from "./topology.ts";
import { planUpstreams, upstreamProblems } from "./upstreams.ts";

/** What the plan must know beside the topology. */
export interface Facts {
  readonly adapters: Readonly<Record<ProviderName, Pick<ProviderAdapter, "limits" | "names" | "urlFor">>>;
}

/** A node with everything about it that follows from the config. */
export interface PlannedNode {
  readonly id: NodeId;
  readonly organization: string;
  readonly name: string;
  readonly provider: ProviderName;
  readonly physicalName: string;
  /** Base URL without a trailing slash. */
  readonly url: string;
  readonly prefix: string;
  /** Sorted, without doubles. */
  readonly functions: readonly string[];
  readonly upstreams: readonly UpstreamConfig[];
  /** Id of its bundle in {@link Plan.bundles}. */
  readonly bundle: string;
  /** Facts of the account, as the adapter's schema produced them. */
  readonly settings: unknown;
}

/** One compilation: a function set for a provider. Nodes with the same set share it. */
export interface PlannedBundle {
  readonly id: string;
  readonly provider: ProviderName;
  readonly functions: readonly string[];
}

export interface PlannedOrganization {
  readonly name: string;
  readonly users: readonly string[];
  /** The `iss` of its users' tokens. */
  readonly issuer: string;
}

/** Everything that follows from the config alone; keys and hashes come later. Sorted by name throughout. */
export interface Plan {
  readonly network: string;
  readonly organizations: readonly PlannedOrganization[];
  readonly nodes: readonly PlannedNode[];
  readonly bundles: readonly PlannedBundle[];
  /** What the manifest says beside keys and serial. */
  readonly manifest: Pick<Manifest, "nodes" | "grants">;
  /** Things that are allowed but have no effect, one sentence each. */
  readonly notices: readonly string[];
}

/**
 * Derives the plan, or lists every name that no provider takes or two nodes would share. Pure.
 * Every reference in the topology must lead somewhere: `referenceProblems` sees to that before.
 */
export function makePlan(
  topology: Topology,
  facts: Facts,
): { plan: Plan; problems: [] } | { plan?: undefined; problems: Problem[] } {
  const organizations = sorted(topology.organizations);
  const nodes = organizations.flatMap(([name, organization]) =>
    sorted(organization.nodes).map(([nodeName, node]) =>
      planNode(topology.network, name, nodeName, node, organization, facts),
    ),
  );
  const problems = [
    ...nodes.flatMap((node) => nameProblems(node, facts.adapters[node.provider].names)),
    ...collisionProblems(nodes),
    ...upstreamProblems(nodes),
    ...nodes.flatMap((node) =>
      variableProblems(topology.network, node, facts.adapters[node.provider].limits.variableBytes),
    ),
  ];
  if (problems.length > 0) return { problems };

  const bundles = new Map(nodes.map(({ bundle: id, provider, functions }) => [id, { id, provider, functions }]));
  return {
    problems: [],
    plan: {
      network: topology.network,
      organizations: organizations.map(([name, { users }]) => ({
        name,
        users: [...new Set(users)].sort(),
        issuer: issuerOf(topology.network, name),
      })),
      nodes,
      bundles: [...bundles.values()],
      manifest: {
        nodes: Object.fromEntries(
          nodes.map(({ id, organization, provider, url, prefix, functions }) => [
            id,
            { organization, provider, url, prefix, functions },
          ]),
        ),
        grants: organizations.flatMap(([name, organization]) => effectiveGrants(name, organization, topology)),
      },
      notices: organizations.flatMap(([name, organization]) => noticesOf(name, organization, topology)),
    },
  };
}

function planNode(
  network: string,
  organization: string,
  name: string,
  node: Organization["nodes"][string],
  owner: Organization,
  facts: Facts,
): PlannedNode {
  const functions = [...new Set(node.functions)].sort();
  const physical = physicalName(network, organization, name);
  const settings = owner.providers[node.provider];
  return {
    id: nodeId(organization, name),
    organization,
    name,
    provider: node.provider,
    physicalName: physical,
    url: facts.adapters[node.provider].urlFor(physical, settings),
    prefix: node.prefix ?? peerPrefix(organization, name),
    functions,
    upstreams: planUpstreams(node),
    bundle: `${node.provider}:${functions.join("+")}`,
    settings,
  };
}

/** Tokens of an organization's users carry this `iss`; a URN, since nothing is served there. */
function issuerOf(network: string, organization: string): string {
  return `urn:ai-federation:${network}:${organization}`;
}

/** Grants of an organization that the other side accepts; one that is not accepted has no effect. */
function effectiveGrants(from: string, { grants }: Organization, topology: Topology): Grant[] {
  return grants
    .map((grant, index) => ({ grant, id: `${from}:${grant.to}:${index + 1}` }))
    .filter(({ grant }) => topology.organizations[grant.to]?.accepts.includes(from))
    .map(({ grant, id }) => ({
      id,
      from,
      to: grant.to,
      nodes: grant.nodes,
      tools: grant.tools ?? [],
      resources: grant.resources ?? [],
      prompts: grant.prompts ?? [],
      ...(grant.expires === undefined ? {} : { expires: grant.expires }),
      ...(grant.rate === undefined ? {} : { rate: grant.rate }),
    }));
}

function nameProblems(node: PlannedNode, rule: NameRule): Problem[] {
  if (fits(node.physicalName, rule)) return [];
  return [
    {
      path: `topology.organizations.${node.organization}.nodes.${node.name}`,
      value: node.physicalName,
      problem: `the node's name at ${node.provider} is not valid there`,
      allowed: `${rule.words}; at most ${rule.maxLength} characters`,
      remedy: "Shorten the name of the network, the organization or the node.",
    },
  ];
}

/** What a node is told of itself, but for the root key, which is made later. */
export function nodeConfig(network: string, { id, url, upstreams }: PlannedNode): Omit<NodeConfig, "root"> {
  return { network, node: id, url, ...(upstreams.length > 0 && { upstreams }) };
}

/** Keys differ in their letters, not in their length. */
const someKey: PublicJwk = { kty: "OKP", crv: "Ed25519", x: "x".repeat(43), kid: "x".repeat(43) };

function variableProblems(network: string, node: PlannedNode, limit: number): Problem[] {
  const bytes = new TextEncoder().encode(JSON.stringify({ ...nodeConfig(network, node), root: someKey })).length;
  if (bytes <= limit) return [];
  return [
    {
      path: `topology.organizations.${node.organization}.nodes.${node.name}.upstreams`,
      value: node.upstreams.map(({ name }) => name),
      problem: `make the node's configuration ${bytes} bytes, more than a variable at ${node.provider} holds`,
      allowed: `at most ${limit} bytes`,
      remedy: "Spread the upstreams over several nodes.",
    },
  ];
}

/** Bundles that their provider would refuse. Pure. */
export function bundleProblems(
  plan: Plan,
  bundles: ReadonlyMap<string, Pick<Bundle, "bytes">>,
  adapters: Readonly<Record<ProviderName, Pick<ProviderAdapter, "limits">>>,
): Problem[] {
  return plan.nodes
    .map((node) => ({
      node,
      bytes: bundles.get(node.bundle)!.bytes,
      limit: adapters[node.provider].limits.bundleBytes,
    }))
    .filter(({ bytes, limit }) => bytes > limit)
    .map(({ node, bytes, limit }) => ({
      path: `topology.organizations.${node.organization}.nodes.${node.name}.functions`,
      value: node.functions,
      problem: `compile to ${bytes} bytes, more than ${node.provider} takes`,
      allowed: `at most ${limit} bytes`,
      remedy: "Give the node fewer functions, or make them smaller.",
    }));
}

function collisionProblems(nodes: readonly PlannedNode[]): Problem[] {
  const groups = [
    ...collisions(new Map(nodes.map(({ id, provider, physicalName: value }) => [id, `${provider}/${value}`]))),
    ...collisions(new Map(nodes.map(({ id, prefix }) => [id, `${prefix}.*`]))),
    ...collisions(new Map(nodes.map(({ id, url }) => [id, url]))),
  ];
  return groups.map(({ value, keys }) => ({
    path: keys.map((id) => `topology.organizations.${id.replace("/", ".nodes.")}`).join(" and "),
    value,
    problem: "get the same name",
    allowed:
      "names of organization and node that stay apart once joined by a dash, and prefixes that differ; one may be empty",
    remedy: "Rename one of them, or give it another prefix.",
  }));
}

function noticesOf(name: string, organization: Organization, topology: Topology): string[] {
  return [
    ...organization.grants
      .filter(({ to }) => !topology.organizations[to]?.accepts.includes(name))
      .map(
        ({ to }) => `${name} grants to ${to}, but ${to} does not accept grants of ${name}: the grant has no effect.`,
      ),
    ...organization.accepts
      .filter((from) => !topology.organizations[from]?.grants.some(({ to }) => to === name))
      .map((from) => `${name} accepts grants of ${from}, but ${from} grants nothing to ${name}.`),
  ];
}

function sorted<Value>(record: Readonly<Record<string, Value>>): [string, Value][] {
  return Object.entries(record).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}
