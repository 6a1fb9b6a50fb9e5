import type { Grant, Manifest, NodeId } from "../federation/manifest.ts";
import type { Kind } from "../protocol/methods.ts";
import { matchesAny } from "./pattern.ts";

/** On whose behalf a request comes. */
export interface Party {
  /** Organization of the user. */
  readonly organization: string;
  /** Every node that relayed the request. */
  readonly actors: readonly NodeId[];
}

export interface Question {
  readonly manifest: Manifest;
  /** The node that is asked. */
  readonly node: NodeId;
  readonly party: Party;
  readonly kind: Kind;
  /** Name or URI as the node's own functions give it. */
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** `grants` are those that a permission rests on, one for each foreign organization; none inside one organization. */
export type Decision =
  | { readonly allow: true; readonly grants: readonly Grant[] }
  | { readonly allow: false; readonly reason: string };

/** May the party use this one thing on this node? Denies unless every foreign organization involved holds a grant. */
export function decide({ manifest, node, party, kind, name, now }: Question): Decision {
  const foreign = foreignOrganizations(manifest, node, party);
  if ("reason" in foreign) return { allow: false, reason: foreign.reason };
  const grants: Grant[] = [];
  for (const organization of foreign.organizations) {
    const grant = grantsTo(manifest, node, organization, now)
      .filter((candidate) => matchesAny(candidate[kind], name))
      .toSorted(mostGenerousFirst)[0];
    if (!grant) return { allow: false, reason: `no grant to ${organization}` };
    grants.push(grant);
  }
  return { allow: true, grants };
}

/** Could the party use anything of this kind on that node? Decides whether asking it for a list makes sense. */
export function mayAsk(manifest: Manifest, node: NodeId, party: Party, kind: Kind, now: number): boolean {
  const foreign = foreignOrganizations(manifest, node, party);
  return (
    "organizations" in foreign &&
    foreign.organizations.every((to) => grantsTo(manifest, node, to, now).some((grant) => grant[kind].length > 0))
  );
}

function foreignOrganizations(
  manifest: Manifest,
  node: NodeId,
  party: Party,
): { readonly organizations: readonly string[] } | { readonly reason: string } {
  const own = nodeOf(manifest, node)?.organization;
  if (own === undefined) return { reason: `${node} is not in the manifest` };
  const organizations = new Set([party.organization]);
  for (const actor of party.actors) {
    const organization = nodeOf(manifest, actor)?.organization;
    if (organization === undefined) return { reason: `${actor} is not in the manifest` };
    organizations.add(organization);
  }
  organizations.delete(own);
  return { organizations: [...organizations].toSorted() };
}

function nodeOf(manifest: Manifest, node: NodeId) {
  return Object.hasOwn(manifest.nodes, node) ? manifest.nodes[node] : undefined;
}

function grantsTo(manifest: Manifest, node: NodeId, to: string, now: number): readonly Grant[] {
  const from = nodeOf(manifest, node)?.organization;
  const name = node.slice(node.indexOf("/") + 1);
  return manifest.grants.filter(
    (grant) => grant.from === from && grant.to === to && !expired(grant, now) && matchesAny(grant.nodes, name),
  );
}

/** A time that cannot be read counts as past. */
function expired(grant: Grant, now: number): boolean {
  return grant.expires !== undefined && !(Date.parse(grant.expires) > now);
}

function mostGenerousFirst(a: Grant, b: Grant): number {
  const rate = (grant: Grant) => grant.rate ?? Number.POSITIVE_INFINITY;
  if (rate(a) !== rate(b)) return rate(b) > rate(a) ? 1 : -1;
  return a.id < b.id ? -1 : 1;
}
